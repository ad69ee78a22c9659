import * as tf from "@tensorflow/tfjs-core";
import type { LayerSpec, ModelSpec } from "../../src/model/model";
import type { WasmBackend } from "./fused";
import type { KernelPool } from "./kernels/pool";

/**
 * Steps of plain SGD of networks that have dense layers only, in our kernels and in place. A client of the lab with a small network has
 * so little to compute that tfjs's own work for each operation, and for its gradient, would be most of its time.
 */

type Dense = Extract<LayerSpec, { kind: "dense" }>;

/** Examples of a batch that fit into the buffers. */
const MOST_EXAMPLES = 512;

interface Place {
  backend: WasmBackend;
  pool: KernelPool;
}
let place: Place | undefined;

/** Lets dense networks step in these kernels, where tfjs's wasm backend runs. */
export function useForDense(backend: WasmBackend, pool: KernelPool): void {
  place = { backend, pool };
}

/** The weights of one layer. */
export interface DenseWeights {
  kernel: tf.Tensor;
  bias: tf.Tensor;
}

interface Buffer {
  pointer: number;
  values: () => Float32Array;
  free: () => void;
}

/** Buffers for the steps of one network. */
export class DenseSteps {
  readonly #layers: readonly Dense[];
  readonly #buffers: Buffer[] = [];
  /** Each layer's output and its gradient. */
  readonly #outputs: Buffer[];
  readonly #gradients: Buffer[];
  readonly #scratch: Buffer;
  readonly #rate: Buffer;
  readonly #sizes: number[];

  private constructor(
    readonly place: Place,
    layers: readonly Dense[],
    inputs: number,
  ) {
    this.#layers = layers;
    this.#sizes = [inputs, ...layers.map(({ units }) => units)];
    this.#outputs = layers.map(({ units }) => this.#buffer(MOST_EXAMPLES * units));
    this.#gradients = layers.map(({ units }) => this.#buffer(MOST_EXAMPLES * units));
    this.#scratch = this.#buffer(2 * Math.max(MOST_EXAMPLES, ...this.#sizes) * place.pool.threads);
    this.#rate = this.#buffer(1);
  }

  /** For a network of dense layers behind a flattening, on our kernels; null for all others. */
  static for({ layers, inputShape }: ModelSpec): DenseSteps | null {
    if (!place || tf.getBackend() !== "wasm") return null;
    const dense = layers.filter((layer): layer is Dense => layer.kind === "dense");
    if (layers.some(({ kind }) => kind !== "dense" && kind !== "flatten") || dense.length === 0) return null;
    // ReLUs between the layers, and the softmax at the end.
    if (dense.some(({ activation }, i) => activation !== (i === dense.length - 1 ? "softmax" : "relu"))) return null;
    return new DenseSteps(
      place,
      dense,
      inputShape.reduce((a, b) => a * b, 1),
    );
  }

  /**
   * One step on the mean cross-entropy of a batch; the weights change in place.
   * @param x N x inputs, N at most 512
   * @param labelWeights of each label; 1 where there are none
   * @returns mean loss, and how many examples had their label first
   */
  step(
    x: tf.Tensor,
    labels: Uint8Array,
    weights: readonly DenseWeights[],
    learningRate: number,
    labelWeights?: readonly number[],
  ): { loss: number; hits: number } {
    const { pool } = this.place;
    const N = labels.length;
    const last = this.#layers.length - 1;
    const pointers = weights.map(({ kernel, bias }) => ({ w: this.#pointer(kernel), b: this.#pointer(bias) }));
    const inputs = [this.#pointer(x), ...this.#outputs.map(({ pointer }) => pointer)];
    const scratch = this.#scratch.pointer;
    const each = (layer: number): [number, number, number] => [
      ...([N, this.#sizes[layer], this.#sizes[layer + 1]] as [number, number, number]),
    ];
    pointers.forEach(({ w, b }, layer) => {
      const [from, to] = [inputs[layer] as number, inputs[layer + 1] as number];
      pool.run("denseForward", from, w, b, to, Number(layer < last), scratch, ...each(layer));
    });
    const result = softmaxGradient(
      (this.#outputs[last] as Buffer).values(),
      (this.#gradients[last] as Buffer).values(),
      ...([labels, this.#sizes[last + 1] as number, labelWeights] as const),
    );
    this.#rate.values()[0] = -learningRate;
    for (let layer = last; layer >= 0; layer--) {
      const { w, b } = pointers[layer] as { w: number; b: number };
      const from = inputs[layer] as number;
      const dy = (this.#gradients[layer] as Buffer).pointer;
      // The gradient goes on through the weights as they were.
      if (layer > 0) {
        pool.run("denseBackward", from, w, dy, (this.#gradients[layer - 1] as Buffer).pointer, ...each(layer));
      }
      pool.run("denseDescend", from, dy, w, b, this.#rate.pointer, scratch, ...each(layer));
    }
    return result;
  }

  dispose(): void {
    for (const { free } of this.#buffers) free();
  }

  #pointer({ dataId }: tf.Tensor): number {
    return this.place.backend.dataIdMap.get(dataId).memoryOffset;
  }

  #buffer(size: number): Buffer {
    const { backend } = this.place;
    const info = backend.makeOutput([size], "float32");
    const buffer = {
      pointer: backend.dataIdMap.get(info.dataId).memoryOffset,
      // Read anew each time: a memory that has grown is another array.
      values: () => backend.typedArrayFromHeap(info) as Float32Array,
      free: () => backend.disposeData(info.dataId),
    };
    this.#buffers.push(buffer);
    return buffer;
  }
}

/** Writes the gradient of the mean cross-entropy behind a softmax, `weight (p - truth) / N`; gives the mean loss and the hits. */
function softmaxGradient(
  logits: Float32Array,
  gradient: Float32Array,
  labels: Uint8Array,
  classes: number,
  labelWeights?: readonly number[],
): { loss: number; hits: number } {
  let [loss, hits] = [0, 0];
  labels.forEach((label, n) => {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    const largest = Math.max(...row);
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - largest);
    const weight = labelWeights?.[label] ?? 1;
    loss += (weight * (largest + Math.log(sum) - (row[label] as number))) / labels.length;
    hits += Number(row.indexOf(largest) === label);
    for (let c = 0; c < classes; c++) {
      const p = Math.exp((row[c] as number) - largest) / sum;
      gradient[n * classes + c] = (weight * (p - Number(c === label))) / labels.length;
    }
  });
  return { loss, hits };
}
