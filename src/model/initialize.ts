import { summarize, type ModelSpec } from "./model";
import { seededRandom } from "../base/random";

/**
 * The first weights of a model as one flat vector: kernels Glorot uniform (Glorot and Bengio 2010, equation 16:
 * U[-l, l] with l = sqrt(6 / (fan_in + fan_out))), gamma and moving variance 1, all else 0, as in Keras.
 * The same seed gives the same bits everywhere.
 */
export function initializeWeights(model: ModelSpec, seed: number): Float32Array<ArrayBuffer> {
  const { tensors, parameters } = summarize(model);
  const weights = new Float32Array(parameters);
  const random = seededRandom(seed);
  for (const tensor of tensors) {
    const values = weights.subarray(tensor.offset, tensor.offset + tensor.size);
    if (tensor.name.endsWith("/kernel")) {
      const outputs = tensor.shape.at(-1) ?? 1;
      const inputs = tensor.shape.at(-2) ?? 1;
      const receptiveField = tensor.size / (inputs * outputs);
      const limit = Math.sqrt(6 / (receptiveField * (inputs + outputs)));
      for (let i = 0; i < values.length; i++) values[i] = (random() * 2 - 1) * limit;
    } else if (tensor.name.endsWith("/gamma") || tensor.name.endsWith("/moving_variance")) {
      values.fill(1);
    }
  }
  return weights;
}
