import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { seededRandom } from "../../src/base/random";
import { sha256Hex } from "../../src/base/digest";
import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize, type ModelName, type ModelSpec } from "../../src/model/model";
import { hasRealGpu } from "../../workers/tf/adapter";
import { startBackend } from "../../workers/tf/backend";
import "../../workers/tf/gradients";
import { Network, picturesToTensor, sgd, type Batch, type StepPlan } from "../../workers/tf/network";
import { layOut, type Layout } from "../../workers/tf/webgpu/layout";
import { registerTrainer } from "../../workers/tf/webgpu/registry";
import { startKernels } from "../../workers/tf/webgpu/start";
import type { Tile } from "../../workers/tf/webgpu/product";
import { defaultTiles, suited, tileKey, type Abilities, type Tiles } from "../../workers/tf/webgpu/tiles";
import { WebGpuTrainer } from "../../workers/tf/webgpu/trainer";
import { countTraffic, type Traffic } from "./traffic";
import { watchTrainers } from "./watched";

/** What tests and benchmarks ask of our kernels on WebGPU. */

interface Trial {
  plan: StepPlan;
  /** Inputs, those of them with a label, and whether a teacher speaks. */
  N: number;
  labelled: number;
  isTaught: boolean;
  /** Of the dropout masks. */
  dropout: number | null;
  /** Whether a hook changes the gradients. */
  isHooked: boolean;
  /** Whether the first step looks for the fastest tiles. */
  isTuning: boolean;
  /** Which of those that suit each product, the first again behind the last; null for what the app would choose. */
  tile: number | null;
  /** Of all tiles; else plain ones, or those that were found. */
  variant?: Abilities;
  /** Of weights and inputs. */
  seed: number;
}

const openDevice = (): GPUDevice => (tf.backend() as unknown as { device: GPUDevice }).device;

/** Has models that are made from now on take these tiles. */
function useTiles(tilesOf: (layout: Layout) => Tiles): void {
  registerTrainer((spec) => {
    const layout = layOut(spec);
    return layout && new WebGpuTrainer(layout, openDevice(), tilesOf(layout));
  });
}

/** The tiles of a software adapter in a variant. */
const variedTiles = (layout: Layout, variant: Abilities): Tiles =>
  Object.fromEntries(Object.entries(defaultTiles(layout, true)).map(([key, one]) => [key, { ...one, ...variant }]));

/** Has models that are made from now on take their tiles in a variant. */
export function useVariant(variant: Abilities): void {
  useTiles((layout) => variedTiles(layout, variant));
}

/** The same one of the tiles that suit each product. */
function numberedTiles({ convs }: Layout, number: number): Tiles {
  const tiles: Record<string, Tile> = {};
  for (const layer of convs) {
    for (const name of ["forward", "input", "filter"] as const) {
      const some = suited(name, layer);
      tiles[tileKey(name, layer)] = some[number % some.length] as Tile;
    }
  }
  return tiles;
}

interface Outcome {
  numbers: Record<string, Float32Array>;
  hash: string;
}

/** What a model makes of two steps on a backend, its gradients before them, and what it predicts after them. */
async function outcome(backend: "webgpu" | "cpu", spec: ModelSpec, trial: Trial): Promise<Outcome> {
  if (backend === "cpu") await tf.setBackend("cpu");
  else {
    await startBackend(backend);
    const { adapterInfo, device } = tf.backend() as unknown as { adapterInfo: GPUAdapterInfo; device: GPUDevice };
    startKernels(device, trial.isTuning ? adapterInfo : null);
    const { tile } = trial;
    if (tile !== null) useTiles((layout) => numberedTiles(layout, tile));
    if (trial.variant) useVariant(trial.variant);
  }
  const { tensors, parameters, classes, inputs } = summarize(spec);
  const random = seededRandom(trial.seed);
  const begin = new Float32Array(parameters);
  for (const { name, offset, size, shape } of tensors) {
    const scale = shape.length > 1 ? 2 / Math.sqrt(shape.slice(0, -1).reduce((a, b) => a * b, 1)) : 1;
    // A variance is positive.
    for (let i = offset; i < offset + size; i++)
      begin[i] = name.endsWith("variance") ? 0.5 + random() : (random() * 2 - 1) * scale;
  }
  const network = new Network(spec);
  network.setWeights(begin);
  network.setAnchor(begin.map((value) => value * 0.5));
  const pixels = Uint8Array.from({ length: trial.N * inputs }, () => random() * 256);
  const x = picturesToTensor(pixels, spec);
  const labels = Uint8Array.from({ length: trial.labelled }, () => random() * classes);
  const batch: Batch = { x, labels };
  if (trial.isTaught) {
    const logits = Float32Array.from({ length: trial.N * classes }, () => random() * 4 - 2);
    const weights = Float32Array.from({ length: trial.N }, () => (random() < 0.3 ? 0 : random()));
    batch.taught = { logits: tf.tensor2d(logits, [trial.N, classes]), weights: tf.tensor1d(weights) };
  }
  const { loss, gradients } = await network.differentiate(batch, trial.plan, trial.dropout);
  const numbers: Record<string, Float32Array> = { loss: Float32Array.of(loss) };
  for (const [name, gradient] of gradients) numbers[`gradient of ${name}`] = gradient.slice();
  for (const step of [0, 1]) {
    const hook = trial.isHooked
      ? (gradient: Float32Array, weights: Float32Array): void =>
          gradient.forEach((value, i) => (gradient[i] = 0.5 * value + 0.01 * (weights[i] ?? NaN)))
      : undefined;
    const result = await network.step(batch, trial.plan, trial.dropout === null ? null : trial.dropout + step, hook);
    numbers[`step ${step}`] = Float32Array.of(result.loss, result.accuracy);
  }
  const end = await network.getWeights();
  for (const { name, offset, size } of tensors)
    numbers[`change of ${name}`] = end
      .slice(offset, offset + size)
      .map((value, i) => value - (begin[offset + i] ?? NaN));
  const { first } = await network.getOptimizer();
  if (first) numbers["moments"] = first;
  const said = network.predict(x);
  numbers["prediction"] = (await said.data()) as Float32Array;
  tf.dispose([said, x, ...(batch.taught ? [batch.taught.logits, batch.taught.weights] : [])]);
  network.dispose();
  return { numbers, hash: await sha256Hex(new Uint8Array(end.buffer)) };
}

/**
 * The relative error, in norm, of all that our kernels give of a model, against tfjs's own operations on its cpu backend; whether
 * they give the same bits again, and, where a variant of the tiles was asked for, the bits of the plain ones.
 */
export async function modelErrors(
  spec: ModelSpec,
  { variant, ...plain }: Trial,
): Promise<{ errors: Record<string, number>; isRepeated: boolean; isPlain: boolean }> {
  const trial: Trial = variant ? { ...plain, variant } : plain;
  const ours = await outcome("webgpu", spec, trial);
  const again = await outcome("webgpu", spec, trial);
  const unvaried = variant ? await outcome("webgpu", spec, plain) : ours;
  const theirs = await outcome("cpu", spec, trial);
  const errors = Object.entries(theirs.numbers).map(([name, expected]) => {
    const found = ours.numbers[name] ?? new Float32Array();
    const norm = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0));
    const error = Math.sqrt(expected.reduce((sum, value, i) => sum + (value - (found[i] ?? NaN)) ** 2, 0));
    return [name, error / Math.max(norm, 1e-4 * Math.sqrt(expected.length))] as const;
  });
  return {
    errors: Object.fromEntries(errors),
    isRepeated: ours.hash === again.hash,
    isPlain: ours.hash === unvaried.hash,
  };
}

/** A change of a shader's text. */
type Fault = readonly [from: string, to: string];

/** Two convolutions without normalization, which would make up for weights of another size. */
const SMALL: ModelSpec = {
  name: "small",
  inputShape: [9, 8, 1],
  layers: [
    { kind: "conv2d", name: "a", filters: 8, size: 3, padding: "same" },
    { kind: "conv2d", name: "b", filters: 16, size: 3, padding: "same" },
    { kind: "maxPool", name: "pool", window: 2 },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "last", units: 3, activation: "softmax" },
  ],
};

interface Settling {
  spec?: ModelSpec;
  /** The first; else they are drawn, and `scale` is what those are multiplied by. */
  weights?: Float32Array;
  scale?: number;
  isFrozen?: boolean;
  /** Is put into every shader that has such a text. */
  fault?: Fault;
}

/** Which variants a training settles for whose GPU found a variant of all tiles fastest, and its first loss. */
export async function settledVariants(
  variant: Abilities,
  { spec = SMALL, weights, scale = 1, isFrozen = false, fault }: Settling = {},
): Promise<{ forward: Abilities; input: Abilities; filter: Abilities; loss: number; faults: number }> {
  await startBackend("webgpu");
  const device = openDevice();
  let faults = 0;
  const faulty = new Proxy(device, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "createShaderModule" && fault)
        return ({ code }: GPUShaderModuleDescriptor) => {
          if (code.includes(fault[0])) faults++;
          return target.createShaderModule({ code: code.replaceAll(...fault) });
        };
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
  });
  const layout = layOut(spec);
  if (!layout) throw new Error("no kernels");
  const trainer = new WebGpuTrainer(layout, faulty, defaultTiles(layout, true), (_, settle) =>
    settle(variedTiles(layout, variant)),
  );
  const [random, n] = [seededRandom(5), 3];
  trainer.setWeights(weights ?? Float32Array.from({ length: layout.parameters }, () => (random() - 0.5) * scale));
  const image = Float32Array.from({ length: n * layout.inputs }, () => random());
  const lesson = { image, n, labels: Uint8Array.from([0, 1, 2]), weightOf: () => 1 / n, seed: null };
  const still = { optimizer: "sgd", isProximal: false, isClipped: false, rate: 0, proximal: 0, clipNorm: 0 } as const;
  const scope = { isHeadOnly: false, isFrozen };
  const { loss } = await trainer.step(lesson, scope, { ...still, corrections: [1, 1] }, 1);
  const of = (name: string): Abilities => {
    const { halves, quads } = trainer.tiles[`${name} 1`] ?? { halves: false, quads: false };
    return { halves, quads };
  };
  trainer.dispose();
  return { forward: of("forward"), input: of("input"), filter: of("filter"), loss, faults };
}

/** Milliseconds of training steps on WebGPU without the first, which compiles, and what the last of them moved. */
export async function measureGpu(
  model: ModelName,
  batch: number,
  steps: number,
  kernels: "own" | "tfjs",
): Promise<Traffic & { flop: number | null; stepMs: number[]; loss: number; adapter: string }> {
  await startBackend("webgpu");
  const { adapterInfo, device } = tf.backend() as unknown as { adapterInfo: GPUAdapterInfo; device: GPUDevice };
  const isReal = await hasRealGpu();
  const seen = kernels === "own" ? watchTrainers(device, isReal) : {};
  if (kernels === "tfjs") registerTrainer(null);
  const network = new Network(MODELS[model]);
  network.setWeights(initializeWeights(MODELS[model], 2013));
  const random = seededRandom(48);
  const pixels = Uint8Array.from({ length: batch * FACE_PIXELS }, () => random() * 256);
  const labels = Uint8Array.from({ length: batch }, (_, i) => i % 7);
  const stepMs: number[] = [];
  let loss = NaN;
  const traffic = countTraffic();
  for (let i = 0; i < steps + 1; i++) {
    traffic.reset();
    if (seen.own) seen.own.device.account = { dispatches: 0, bytes: 0, flop: 0 };
    const begun = performance.now();
    const x = picturesToTensor(pixels, MODELS[model]);
    ({ loss } = await network.step({ x, labels }, sgd(0.002), i));
    x.dispose();
    if (i > 0) stepMs.push(performance.now() - begun);
  }
  // Our buffers hold many tensors each, and a kernel that binds one moves a part of it: it says itself which.
  if (seen.own) traffic.counted.bytes = seen.own.device.account.bytes;
  network.dispose();
  return {
    flop: seen.own?.device.account.flop ?? null,
    ...traffic.counted,
    stepMs,
    loss,
    adapter: adapterInfo.architecture || adapterInfo.vendor,
  };
}
