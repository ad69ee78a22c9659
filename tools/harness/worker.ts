import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import * as Comlink from "comlink";
import { FACE_PIXELS } from "../../src/model/expressions";
import { sha256Hex } from "../../src/base/digest";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize, type ModelName } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { Activations } from "../../workers/tf/activations";
import { startBackend, startWasm } from "../../workers/tf/backend";
import "../../workers/tf/gradients";
import {
  convRelu,
  convReluAffine,
  convReluNorm,
  denseRelu,
  foldBlock,
  maxPool,
  scaleShift,
} from "../../workers/tf/fused";
import { faces, oracle, start } from "./oracle";
import { measureGpu, modelErrors, settledVariants } from "./webgpu";
import { picturesToTensor, Network, sgd } from "../../workers/tf/network";
import { layers } from "./layers";

/** What tests ask of a backend, in a worker: the numbers behind the network, which the app itself never shows. */

/** Trains twice from the same seed, dropout on, first on every thread and then on one; gives both results' weights as hashes. */
async function repeat(steps: number): Promise<string[]> {
  const { pool } = await startWasm();
  await startBackend("wasm");
  const hashes: string[] = [];
  for (const threads of [pool.threads, 1]) {
    pool.active = threads;
    const network = new Network(MODELS.seed);
    network.setWeights(initializeWeights(MODELS.seed, 2013));
    const { pixels, labels } = faces(4);
    const x = picturesToTensor(pixels, MODELS.seed);
    for (let step = 0; step < steps; step++) await network.step({ x, labels }, sgd(0.02), step);
    hashes.push(await sha256Hex(new Uint8Array((await network.getWeights()).buffer)));
    network.dispose();
    x.dispose();
  }
  return hashes;
}

interface Shape {
  N: number;
  H: number;
  W: number;
  I: number;
  O: number;
  padding: "same" | "valid";
  /** Of the filter, and of the pooling's window. */
  size: 3 | 5;
  window: 2 | 3;
}

/** The largest relative error, in norm, of each result of our kernels against tfjs's own operations on its cpu backend. */
async function kernelErrors(
  { N, H, W, I, O, padding, size, window }: Shape,
  seed: number,
): Promise<Record<string, number>> {
  const random = seededRandom(seed);
  const draw = (...shape: number[]): { shape: number[]; values: Float32Array } => ({
    shape,
    values: Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => random() * 2 - 1),
  });
  const x = draw(N, H, W, I);
  const parameters = { kernel: draw(size, size, I, O), bias: draw(O), gamma: draw(O), beta: draw(O) };
  const lost = padding === "valid" ? size - 1 : 0;
  const weights = draw(N, H - lost, W - lost, O);
  const mean = draw(O);
  const variance = { shape: [O], values: draw(O).values.map((value) => value * value) };
  const pooled = draw(N, Math.floor((H - window) / 2) + 1, Math.floor((W - window) / 2) + 1, O);
  const poolInput = draw(N, H, W, O);
  // Numbers in and out that are a multiple of eight, and others.
  const columns = 8 * W + (N % 2);
  const [rows, matrix, rowWeights] = [draw(N * H, columns), draw(columns, O), draw(N * H, O)];

  const results = async (backend: "wasm" | "cpu"): Promise<Record<string, Float32Array>> => {
    await start(backend);
    const tensor = ({ shape, values }: { shape: number[]; values: Float32Array }): tf.Tensor =>
      tf.tensor(values, shape);
    const all: Record<string, tf.Tensor> = {};
    tf.tidy(() => {
      const keep = (name: string, value: tf.Tensor): void => {
        all[name] = tf.keep(value.clone());
      };
      const of = (kernel: tf.Tensor, bias: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) => ({
        kernel: kernel as tf.Tensor4D,
        bias: bias as tf.Tensor1D,
        gamma: gamma as tf.Tensor1D,
        beta: beta as tf.Tensor1D,
      });
      const { kernel, bias, gamma, beta } = parameters;
      const inputs = [x, kernel, bias, gamma, beta].map(tensor);
      const [image] = inputs as [tf.Tensor4D];
      // A picture's few channels are a network's own input: nothing is differentiated with respect to it.
      const isInput = I <= 4;
      const activations = new Activations();
      const place = { padding, isInput, activations };
      const f = (x: tf.Tensor, ...block: tf.Tensor[]): tf.Tensor =>
        convReluNorm(
          x as tf.Tensor4D,
          of(...(block as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor])),
          place,
          (mean, variance) => {
            keep("mean", mean);
            keep("variance", variance);
            tf.dispose([mean, variance]);
          },
        );
      keep("convReluNorm", f(image, ...inputs.slice(1)));
      const weighted = (value: tf.Tensor): tf.Tensor => tf.sum(tf.mul(value, tensor(weights)));
      const names = ["dx", "dKernel", "dBias", "dGamma", "dBeta"];
      const gradients = isInput
        ? tf.grads((...block) => weighted(f(image, ...block)))(inputs.slice(1))
        : tf.grads((x, ...block) => weighted(f(x, ...block)))(inputs);
      names.slice(isInput ? 1 : 0).forEach((name, i) => keep(name, gradients[i] as tf.Tensor));
      const [, plainKernel, plainBias] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor];
      const h = (x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor): tf.Tensor =>
        convRelu(x as tf.Tensor4D, { kernel: kernel as tf.Tensor4D, bias: bias as tf.Tensor1D }, place);
      keep("convRelu", h(image, plainKernel, plainBias));
      const plainGradients = isInput
        ? tf.grads((kernel, bias) => weighted(h(image, kernel, bias)))([plainKernel, plainBias])
        : tf.grads((...values) => weighted(h(...(values as [tf.Tensor, tf.Tensor, tf.Tensor]))))([
            ...[image, plainKernel, plainBias],
          ]);
      const plainNames = ["convReluDx", "convReluDKernel", "convReluDBias"];
      plainNames.slice(isInput ? 1 : 0).forEach((name, i) => keep(name, plainGradients[i] as tf.Tensor));
      const [input, ...block] = inputs as [tf.Tensor4D, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const statistics = [tensor(mean), tensor(variance)] as [tf.Tensor1D, tf.Tensor1D];
      const folded = foldBlock(of(...block), ...statistics, { shape: input.shape, padding });
      keep("convReluAffine", convReluAffine(input, folded, padding));
      const constants = [block[2], block[3]] as [tf.Tensor1D, tf.Tensor1D];
      const affine = (value: tf.Tensor): tf.Tensor => scaleShift(value as tf.Tensor4D, ...constants, activations);
      keep("scaleShift", affine(tensor(weights)));
      const affineGradient = tf.grad((value) => tf.sum(tf.mul(affine(value), tensor(weights))));
      keep("scaleShiftGradient", affineGradient(tensor(weights)));
      const dense = [rows, matrix, parameters.bias].map(tensor) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
      const g = (x: tf.Tensor, k: tf.Tensor, b: tf.Tensor): tf.Tensor =>
        denseRelu(x as tf.Tensor2D, k as tf.Tensor2D, b as tf.Tensor1D, false);
      keep("denseRelu", g(...dense));
      const denseGradients = tf.grads((...values) =>
        tf.sum(tf.mul(g(...(values as [tf.Tensor, tf.Tensor, tf.Tensor])), tensor(rowWeights))),
      )(dense);
      ["denseDx", "denseDKernel", "denseDBias"].forEach((name, i) => keep(name, denseGradients[i] as tf.Tensor));
      const picture = tensor(poolInput) as tf.Tensor4D;
      keep("maxPool", maxPool(picture, window));
      const poolGradient = tf.grad((value) => tf.sum(tf.mul(maxPool(value as tf.Tensor4D, window), tensor(pooled))));
      keep("maxPoolGradient", poolGradient(picture));
      activations.dispose();
    });
    const values: Record<string, Float32Array> = {};
    for (const [name, result] of Object.entries(all)) values[name] = (await result.data()) as Float32Array;
    tf.dispose(Object.values(all));
    return values;
  };
  const ours = await results("wasm");
  const theirs = await results("cpu");
  return Object.fromEntries(
    Object.entries(theirs).map(([name, expected]) => {
      const found = ours[name] ?? new Float32Array();
      const norm = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0));
      const error = Math.sqrt(expected.reduce((sum, value, i) => sum + (value - (found[i] ?? NaN)) ** 2, 0));
      // Where normalization cancels everything, as over a single pixel, only rounding is left of the numbers: they are of
      // the order of 1 otherwise, so an error counts against at least a hundredth for each.
      return [name, error / Math.max(norm, 0.01 * Math.sqrt(expected.length))];
    }),
  );
}

/** The message of the error that a convolution outside what our kernels take ends in. */
async function refusal(I: number, O: number): Promise<string> {
  await startBackend("wasm");
  try {
    const x = tf.zeros<tf.Rank.R4>([1, 5, 5, I]);
    const vector = tf.zeros<tf.Rank.R1>([O]);
    const kernel = tf.zeros<tf.Rank.R4>([3, 3, I, O]);
    const parameters = { kernel, bias: vector, gamma: vector, beta: vector };
    const block = foldBlock(parameters, vector, vector, { shape: x.shape, padding: "same" });
    convReluAffine(x, block, "same");
    return "none";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Where the time of a training step and of a prediction goes on WASM: milliseconds by kernel, and of all that is not ours. */
async function profile(count: number, steps: number): Promise<Record<"step" | "predict", Record<string, number>>> {
  const { pool } = await startWasm();
  await startBackend("wasm");
  const network = new Network(MODELS.seed);
  network.setWeights(initializeWeights(MODELS.seed, 2013));
  const { pixels, labels } = faces(count);
  const x = picturesToTensor(pixels, MODELS.seed);
  const one = picturesToTensor(pixels.subarray(0, FACE_PIXELS), MODELS.seed);
  const measure = async (times: number, work: () => Promise<unknown>): Promise<Record<string, number>> => {
    for (let i = 0; i < 2; i++) await work();
    const before = { ...pool.spent };
    const begun = performance.now();
    for (let i = 0; i < times; i++) await work();
    const total = (performance.now() - begun) / times;
    const kernels = Object.entries(pool.spent)
      .map(([name, ms]) => [name, (ms - (before[name] ?? 0)) / times] as const)
      .filter(([, ms]) => ms > 0);
    const other = total - kernels.reduce((sum, [, ms]) => sum + ms, 0);
    return { total, ...Object.fromEntries(kernels), other };
  };
  return {
    step: await measure(steps, () => network.step({ x, labels }, sgd(0.0001), 1)),
    predict: await measure(20, async () => {
      const y = network.predict(one);
      await y.data();
      y.dispose();
    }),
  };
}

/** Tensors alive after each of `epochs` epochs over eight faces in batches of four. */
async function tensorsByEpoch(epochs: number): Promise<number[]> {
  await startBackend("wasm");
  const network = new Network(MODELS.compact);
  network.setWeights(initializeWeights(MODELS.compact, 2013));
  const { pixels, labels } = faces(8);
  const counts: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const from of [0, 4]) {
      const x = picturesToTensor(pixels.subarray(from * FACE_PIXELS, (from + 4) * FACE_PIXELS), MODELS.compact);
      await network.step({ x, labels: labels.subarray(from, from + 4) }, sgd(0.0001), epoch);
      x.dispose();
    }
    counts.push(tf.memory().numTensors);
  }
  return counts;
}

/** Milliseconds of one training step on tfjs's own cpu backend, plain JavaScript. */
async function cpuStep(count: number): Promise<number> {
  await start("cpu");
  const network = new Network(MODELS.seed);
  network.setWeights(initializeWeights(MODELS.seed, 2013));
  const { pixels, labels } = faces(count);
  const x = picturesToTensor(pixels, MODELS.seed);
  const begun = performance.now();
  await network.step({ x, labels }, sgd(0.0001), 1);
  return performance.now() - begun;
}

let classifier: Network | undefined;

/** Takes a checkpoint for {@link classify}. */
async function load(model: ModelName, checkpoint: Uint8Array<ArrayBuffer>): Promise<void> {
  await startBackend("wasm");
  classifier?.dispose();
  classifier = new Network(MODELS[model]);
  classifier.setWeights(decodeCheckpoint(checkpoint, summarize(MODELS[model])));
}

/** Probabilities of each of some faces, and the milliseconds that they took. */
async function classify(pixels: Uint8Array): Promise<{ probabilities: number[][]; ms: number }> {
  if (!classifier) throw new Error("Load a checkpoint first.");
  const begun = performance.now();
  const x = picturesToTensor(pixels, MODELS.seed);
  const y = classifier.predict(x);
  const probabilities = await y.array();
  tf.dispose([x, y]);
  return { probabilities, ms: performance.now() - begun };
}

const api = {
  layers,
  modelErrors,
  settledVariants,
  measureGpu,
  cpuStep,
  tensorsByEpoch,
  load,
  classify,
  profile,
  oracle,
  repeat,
  kernelErrors,
  refusal,
};
export type HarnessWorker = typeof api;
Comlink.expose(api);
