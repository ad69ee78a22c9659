import * as tf from "@tensorflow/tfjs-core";
import { summarize, type LayerSpec, type ModelSpec } from "../../src/model/model";
import { descend } from "./descent";
import { convOutput, outputGradients, poolGradient, poolOutput } from "./fused";
import { emptyTensor, numbersIn, onWasm, pointerOf } from "./on-wasm";

/**
 * Steps of plain SGD of networks of convolutions, pooling and dense layers, as those for digits are, in our kernels and in place. A client
 * of the lab with a small network has so little to compute that tfjs's own work for each operation, and for its gradient, would be most of
 * its time; and in a larger one the gradient of a dense layer would be as much to write and to read as its weights.
 */

type Dense = Extract<LayerSpec, { kind: "dense" }>;
type Before = Extract<LayerSpec, { kind: "conv2d" | "maxPool" }>;

/** Examples of a batch that fit into the buffers at least: more than that a round does not ask for. */
const EXAMPLES = 512;
/** Weights of a dense layer that no longer stay in the second-level cache while one example after the other is multiplied by them. */
const WIDE = 2 ** 18;

/** The weights of one layer that has some. */
export interface LayerWeights {
  kernel: tf.Tensor;
  bias: tf.Tensor;
}

interface Buffer {
  pointer: number;
  values: () => Float32Array;
  free: () => void;
}

/** A layer before the dense ones, what went into it and came out of it, and of a pooling which of its inputs that is. */
interface Passed {
  layer: Before;
  x: tf.Tensor4D;
  y: tf.Tensor4D;
  weights?: LayerWeights;
  taps?: tf.Tensor;
}

/** Buffers for the steps of one network. */
export class PlainSteps {
  readonly #before: readonly Before[];
  readonly #dense: readonly Dense[];
  readonly #buffers: Buffer[] = [];
  /** Each dense layer's output and its gradient. */
  readonly #outputs: Buffer[];
  readonly #gradients: Buffer[];
  readonly #scratch: Buffer;
  readonly #rate: Buffer;
  /** What goes into each dense layer, and comes out of the last. */
  readonly #sizes: number[];

  private constructor(
    readonly place: NonNullable<ReturnType<typeof onWasm>>,
    { before, dense, inputs }: { before: readonly Before[]; dense: readonly Dense[]; inputs: number },
    /** The most that a batch may have. */
    readonly examples: number,
  ) {
    const { pool } = place;
    this.#before = before;
    this.#dense = dense;
    this.#sizes = [inputs, ...dense.map(({ units }) => units)];
    this.#outputs = dense.map(({ units }) => this.#buffer(examples * units));
    this.#gradients = dense.map(({ units }) => this.#buffer(examples * units));
    const scratch = Math.max(2 * Math.max(examples, ...this.#sizes), pool.sizeOf("denseProductScratch"));
    this.#scratch = this.#buffer(scratch * pool.threads);
    this.#rate = this.#buffer(1);
  }

  /**
   * For a network on our kernels that has nothing but convolutions and poolings, and then dense layers; null for all others.
   * @param examples that a batch may have at least
   */
  static for(spec: ModelSpec, examples = 0): PlainSteps | null {
    const place = onWasm();
    if (!place) return null;
    const { layers } = spec;
    const flat = layers.findIndex(({ kind }) => kind === "flatten");
    const before = layers.slice(0, flat).filter((layer) => layer.kind === "conv2d" || layer.kind === "maxPool");
    const dense = layers.slice(flat + 1).filter((layer) => layer.kind === "dense");
    if (flat < 0 || dense.length === 0 || before.length + 1 + dense.length < layers.length) return null;
    // ReLUs between the layers, and the softmax at the end.
    if (dense.some(({ activation }, i) => activation !== (i === dense.length - 1 ? "softmax" : "relu"))) return null;
    const [inputs = 0] = summarize(spec).layers[flat]?.outputShape ?? [];
    return new PlainSteps(place, { before, dense, inputs }, Math.max(EXAMPLES, examples));
  }

  /**
   * One step on the mean cross-entropy of a batch; the weights change in place.
   * @param x N x height x width x channels, N at most `examples`
   * @param weights of the layers that have some, in their order
   * @param labelWeights of each label; 1 where there are none
   * @returns mean loss, and how many examples had their label first
   */
  step(
    x: tf.Tensor4D,
    labels: Uint8Array,
    weights: readonly LayerWeights[],
    learningRate: number,
    labelWeights?: readonly number[],
  ): { loss: number; hits: number } {
    const engine = tf.engine();
    // Whatever ends it, no tensor of it stays.
    engine.startScope();
    try {
      const convolutions = this.#before.filter(({ kind }) => kind === "conv2d").length;
      const passed = this.#through(x, weights.slice(0, convolutions));
      const end = passed.at(-1)?.y;
      const from = end && (emptyTensor(this.place, end.shape) as tf.Tensor4D);
      const given = { x: end ?? x, dx: from && pointerOf(this.place, from), labels, labelWeights };
      const result = this.#stepDense(given, weights.slice(convolutions), learningRate);
      if (from) this.#back(passed, from, learningRate);
      return result;
    } finally {
      engine.endScope();
    }
  }

  /** Takes pictures through the layers before the dense ones. */
  #through(input: tf.Tensor4D, weights: readonly LayerWeights[]): Passed[] {
    const passed: Passed[] = [];
    let [x, next] = [input, 0];
    for (const layer of this.#before) {
      if (layer.kind === "maxPool") {
        const [y, taps] = poolOutput(x, layer.window);
        passed.push({ layer, x, y, taps });
      } else {
        const own = weights[next++] as LayerWeights;
        passed.push({ layer, x, y: convOutput(x, own, layer.padding), weights: own });
      }
      x = (passed.at(-1) as Passed).y;
    }
    return passed;
  }

  /** Takes the gradient of what the last of these layers gave, which is used up, back to the first, and steps. */
  #back(passed: readonly Passed[], gradient: tf.Tensor4D, learningRate: number): void {
    let dy: tf.Tensor4D | undefined = gradient;
    for (const [i, { layer, x, y, weights, taps }] of [...passed.entries()].toReversed()) {
      const of: tf.Tensor4D = dy as tf.Tensor4D;
      if (layer.kind === "maxPool") dy = poolGradient(of, taps as tf.Tensor, x.shape, layer.window);
      else {
        const { kernel, bias } = weights as LayerWeights;
        const { dx, dKernel, dBias } = outputGradients({ x, y, dy: of, kernel }, layer.padding, i > 0);
        descend(kernel, dKernel, learningRate);
        descend(bias, dBias, learningRate);
        tf.dispose([dKernel, dBias]);
        dy = dx;
      }
      of.dispose();
    }
    dy?.dispose();
  }

  /** The dense layers' step. @param given `dx`: where the gradient of x goes, if it is wanted */
  #stepDense(
    {
      x,
      dx,
      labels,
      labelWeights,
    }: { x: tf.Tensor; dx: number | undefined; labels: Uint8Array; labelWeights: readonly number[] | undefined },
    weights: readonly LayerWeights[],
    learningRate: number,
  ): { loss: number; hits: number } {
    const { pool } = this.place;
    const N = labels.length;
    const last = this.#dense.length - 1;
    const pointers = weights.map(({ kernel, bias }) => ({
      w: pointerOf(this.place, kernel),
      b: pointerOf(this.place, bias),
    }));
    const inputs = [pointerOf(this.place, x), ...this.#outputs.map(({ pointer }) => pointer)];
    const scratch = this.#scratch.pointer;
    const each = (layer: number): [number, number, number] => [
      N,
      this.#sizes[layer] as number,
      this.#sizes[layer + 1] as number,
    ];
    pointers.forEach(({ w, b }, layer) => {
      const [, I, O] = each(layer);
      const isWide = I * O >= WIDE && I % 8 === 0 && O % 8 === 0;
      const [from, to] = [inputs[layer] as number, inputs[layer + 1] as number];
      pool.run(isWide ? "denseProduct" : "denseForward", from, w, b, to, Number(layer < last), scratch, N, I, O);
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
      const to = layer > 0 ? (this.#gradients[layer - 1] as Buffer).pointer : dx;
      // The gradient goes on through the weights as they were. What comes out of the layers before is a ReLU's, as between these.
      if (to !== undefined) pool.run("denseBackward", from, w, dy, to, ...each(layer));
      pool.run("denseDescend", from, dy, w, b, this.#rate.pointer, scratch, ...each(layer));
    }
    return result;
  }

  dispose(): void {
    for (const { free } of this.#buffers) free();
  }

  #buffer(size: number): Buffer {
    const { backend } = this.place;
    const info = backend.makeOutput([size], "float32");
    const buffer = {
      pointer: pointerOf(this.place, info),
      values: () => numbersIn(this.place, info),
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
