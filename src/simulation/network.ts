import type { PictureKind } from "../data/own-labels";
import { fit } from "../federation/tasks/network";
import { MODEL_NAMES, MODELS, type ModelName, type ModelSpec } from "../model/model";
import { whyUntrainable } from "../model/trainable";
import type { LabConfig } from "./config";
import { LabConfigError } from "./config-error";

/**
 * The network of a run: that of the registry, or its layers for the pictures and labels of somebody's own data.
 * @throws LabConfigError where those pictures are too small or too large for it, or have other channels than are normalized
 */
export function networkFor(
  { model, normalization }: Pick<LabConfig, "model"> & Partial<Pick<LabConfig, "normalization">>,
  kind: PictureKind | undefined,
): ModelSpec {
  if (!kind) return MODELS[model];
  const why = (name: ModelName): string | undefined =>
    whyUntrainable(fit({ model: name, ...kind }), kind.labels.length);
  const problem = why(model);
  const { channels } = kind.input;
  if (normalization && normalization.mean.length !== channels) {
    throw new LabConfigError(
      `normalization: these pictures have ${channels === 1 ? "1 channel" : `${channels} channels`}, and it has a mean and a std for ${normalization.mean.length}.`,
    );
  }
  if (problem === undefined) return fit({ model, ...kind, ...(normalization && { normalization }) });
  const { height, width } = kind.input;
  const others = MODEL_NAMES.filter((name) => why(name) === undefined);
  throw new LabConfigError(
    `The model ${model} does not take these pictures of ${width} x ${height}. ${problem} ` +
      (others.length > 0 ? `These do: ${others.join(", ")}.` : "None does: choose another size."),
  );
}
