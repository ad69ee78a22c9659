import type { PictureKind } from "../data/own-labels";
import { fit } from "../federation/tasks/network";
import { MODEL_NAMES, MODELS, type ModelName, type ModelSpec } from "../model/model";
import { whyUntrainable } from "../model/trainable";
import { LabConfigError } from "./config-error";

/**
 * The network of a run: that of the registry, or its layers for the pictures and labels of somebody's own data.
 * @throws LabConfigError where those pictures are too small or too large for it
 */
export function networkFor(model: ModelName, kind: PictureKind | undefined): ModelSpec {
  if (!kind) return MODELS[model];
  const why = (name: ModelName): string | undefined =>
    whyUntrainable(fit({ model: name, ...kind }), kind.labels.length);
  const problem = why(model);
  if (problem === undefined) return fit({ model, ...kind });
  const { height, width } = kind.input;
  const others = MODEL_NAMES.filter((name) => why(name) === undefined);
  throw new LabConfigError(
    `The model ${model} does not take these pictures of ${width} x ${height}. ${problem} ` +
      (others.length > 0 ? `These do: ${others.join(", ")}.` : "None does: choose another size."),
  );
}
