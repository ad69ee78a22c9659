import { MODELS, type ModelSpec } from "../../model/model";
import { taskNamed, type TaskName } from "./registry";
import type { TaskDescription } from "./task";

/** One network for one description, so that what follows from it is computed once. */
const fitted = new WeakMap<TaskDescription, ModelSpec>();

/**
 * The network that learns a task: that of the registry where input and classes are its own, else the same layers for the task's input,
 * whose last one has a unit for each label.
 * @throws UnknownTaskError
 */
export function networkOf(task: TaskName): ModelSpec {
  const description = taskNamed(task);
  let network = fitted.get(description);
  if (!network) fitted.set(description, (network = fit(description)));
  return network;
}

/** The same of a description that nobody has noted yet. */
export function fit({
  normalization,
  ...task
}: Pick<TaskDescription, "model" | "input" | "labels" | "normalization">): ModelSpec {
  const spec = layersFor(task);
  return normalization ? { ...spec, normalization } : spec;
}

function layersFor({ model, input, labels }: Pick<TaskDescription, "model" | "input" | "labels">): ModelSpec {
  if (typeof model !== "string") return model;
  const spec: ModelSpec = MODELS[model];
  const inputShape = [input.height, input.width, input.channels] as const;
  const last = spec.layers.at(-1);
  const isOwn = last?.kind === "dense" && last.units === labels.length;
  if (isOwn && inputShape.every((size, i) => size === spec.inputShape[i])) return spec;
  const layers = spec.layers.map((layer) =>
    layer === last && layer.kind === "dense" ? { ...layer, units: labels.length } : layer,
  );
  return { ...spec, inputShape, layers };
}
