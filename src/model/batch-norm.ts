import type { ModelSummary, TensorSpec } from "./model";

/**
 * A client's own batch normalization (FedBN, Li et al. 2021, arXiv 2102.07623, algorithm 1): gamma, beta and both moving
 * statistics of every layer stay on the device, all else is federated.
 */

/** Whether a tensor belongs to a batch normalization of the model. */
export function isNorm({ layers }: ModelSummary, { name }: TensorSpec): boolean {
  const owner = name.split("/")[0];
  return layers.some((layer) => layer.kind === "batchNorm" && layer.name === owner);
}

const normTensors = (model: ModelSummary): TensorSpec[] => model.tensors.filter((tensor) => isNorm(model, tensor));

/** The batch normalization of some weights, one tensor after the other. */
export function takeNorms(model: ModelSummary, weights: Float32Array): Float32Array<ArrayBuffer> {
  const parts = normTensors(model).map(({ offset, size }) => weights.subarray(offset, offset + size));
  const norms = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    norms.set(part, at);
    at += part.length;
  }
  return norms;
}

/** Puts what {@link takeNorms} took into other weights of the same model. */
export function putNorms(model: ModelSummary, weights: Float32Array, norms: Float32Array): void {
  let at = 0;
  for (const { offset, size } of normTensors(model)) {
    weights.set(norms.subarray(at, at + size), offset);
    at += size;
  }
}
