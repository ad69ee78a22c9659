import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "./fused";
import type { KernelPool } from "./kernels/pool";

/**
 * SGD's step in one pass over the weights, in place and on every thread: tfjs writes the scaled gradient out, and then the weights anew,
 * on one.
 */

let place: { backend: WasmBackend; pool: KernelPool } | undefined;

/** Lets weights descend in our kernels, where tfjs's wasm backend runs. */
export function useForDescent(backend: WasmBackend, pool: KernelPool): void {
  place = { backend, pool };
}

const running = (): NonNullable<typeof place> => {
  if (!place) throw new Error("Our kernels do not run.");
  return place;
};

/** Whether our kernels step by themselves here. */
export const canDescend = (): boolean => place !== undefined && tf.getBackend() === "wasm";

const pointerOf = ({ dataId }: tf.Tensor): number => running().backend.dataIdMap.get(dataId).memoryOffset;

/** The sum of the squares of all numbers of some tensors, summed in float64. */
export function squaredNorm(tensors: Iterable<tf.Tensor>): number {
  const { backend, pool } = running();
  let sum = 0;
  for (const tensor of tensors) {
    const sums = backend.makeOutput([pool.sizeOf("squaresSize", tensor.size)], "float32");
    pool.run("squares", pointerOf(tensor), backend.dataIdMap.get(sums.dataId).memoryOffset, tensor.size);
    const { buffer, byteOffset, byteLength } = backend.typedArrayFromHeap(sums);
    for (const part of new Float64Array(buffer, byteOffset, byteLength / 8)) sum += part;
    backend.disposeData(sums.dataId);
  }
  return sum;
}

/** `weights -= rate * gradient`, in place. */
export function descend(weights: tf.Tensor, gradient: tf.Tensor, rate: number): void {
  const [bits = 0] = new Int32Array(Float32Array.of(rate).buffer);
  running().pool.run("descend", pointerOf(weights), pointerOf(gradient), bits, weights.size);
}
