import type * as tf from "@tensorflow/tfjs-core";
import { onWasm, pointerOf } from "./on-wasm";

/**
 * SGD's step in one pass over the weights, in place and on every thread: tfjs writes the scaled gradient out, and then the weights anew,
 * on one.
 */

const running = (): NonNullable<ReturnType<typeof onWasm>> => {
  const found = onWasm();
  if (!found) throw new Error("Our kernels do not run.");
  return found;
};

/** Whether our kernels step by themselves here. */
export const canDescend = (): boolean => onWasm() !== undefined;

/** The sum of the squares of all numbers of some tensors, summed in float64. */
export function squaredNorm(tensors: Iterable<tf.Tensor>): number {
  const here = running();
  const { backend, pool } = here;
  let sum = 0;
  for (const tensor of tensors) {
    const sums = backend.makeOutput([pool.sizeOf("squaresSize", tensor.size)], "float32");
    pool.run("squares", pointerOf(here, tensor), pointerOf(here, sums), tensor.size);
    const { buffer, byteOffset, byteLength } = backend.typedArrayFromHeap(sums);
    for (const part of new Float64Array(buffer, byteOffset, byteLength / 8)) sum += part;
    backend.disposeData(sums.dataId);
  }
  return sum;
}

/** `weights -= rate * gradient`, in place. */
export function descend(weights: tf.Tensor, gradient: tf.Tensor, rate: number): void {
  const here = running();
  const [bits = 0] = new Int32Array(Float32Array.of(rate).buffer);
  here.pool.run("descend", pointerOf(here, weights), pointerOf(here, gradient), bits, weights.size);
}
