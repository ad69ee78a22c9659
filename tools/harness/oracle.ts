import * as tf from "@tensorflow/tfjs-core";
import { seededRandom } from "../../src/base/random";
import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize } from "../../src/model/model";
import { startBackend } from "../../workers/tf/backend";
import { picturesToTensor, Network, sgd, type Batch, type StepPlan } from "../../workers/tf/network";
import type { Abilities } from "../../workers/tf/webgpu/tiles";
import { useVariant } from "./webgpu";

/** What a backend makes of the batch of tools/oracle.py. */

/** The batch of tools/oracle.py. */
const FACES = 3;
const RATES = { sgd: 0.0001, momentum: 0.0001, adam: 1e-6, careful: 0.0001 };
/** Of careful SGD: faces with a label, and the weight of the teacher's answers. */
const [LABELLED, DISTILL] = [2, 0.5];
const SAMPLES = 128;

export function faces(count: number): { pixels: Uint8Array; labels: Uint8Array } {
  const random = seededRandom(48);
  return {
    pixels: Uint8Array.from({ length: count * FACE_PIXELS }, () => random() * 256),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 7),
  };
}

export async function start(backend: "wasm" | "webgpu" | "cpu"): Promise<void> {
  if (backend === "cpu") await tf.setBackend("cpu");
  else await startBackend(backend);
}

/** The norm, and the values at evenly spaced places, as `summary` of tools/oracle.py takes them. */
function sample(values: Float32Array): number[] {
  const count = Math.min(SAMPLES, values.length);
  const at = (i: number): number => (count === 1 ? 0 : Math.floor((i * (values.length - 1)) / (count - 1)));
  const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return [norm, ...Array.from({ length: count }, (_, i) => values[at(i)] ?? NaN)];
}

/**
 * Losses of `steps` steps on the oracle's batch, gradients of the first, changes of the weights after the last.
 * @param variant of our tiles on WebGPU; else what the app would choose there
 */
export async function oracle(
  backend: "wasm" | "webgpu" | "cpu",
  model: "seed" | "compact",
  steps: number,
  optimizer: keyof typeof RATES,
  variant?: Abilities,
) {
  await start(backend);
  if (variant) useVariant(variant);
  const isCareful = optimizer === "careful";
  const plan: StepPlan = isCareful
    ? { ...sgd(RATES.careful), batchNorm: "frozen" }
    : { ...sgd(RATES[optimizer]), optimizer };
  const { tensors, classes } = summarize(MODELS[model]);
  const begin = initializeWeights(MODELS[model], 2013);
  const random = seededRandom(7);
  if (isCareful) {
    for (const { name, offset, size, trainable } of tensors) {
      if (trainable) continue;
      const least = name.endsWith("variance") ? 0.5 : 0;
      for (let i = offset; i < offset + size; i++) begin[i] = random() * 0.5 + least;
    }
  }
  const network = new Network(MODELS[model]);
  network.setWeights(begin);
  const { pixels, labels } = faces(FACES);
  const batch: Batch = { x: picturesToTensor(pixels, MODELS[model]), labels };
  if (isCareful) {
    batch.labels = labels.subarray(0, LABELLED);
    const logits = Float32Array.from({ length: FACES * classes }, () => random() * 4 - 2);
    const weights = new Float32Array(FACES).fill(DISTILL / FACES);
    batch.taught = { logits: tf.tensor2d(logits, [FACES, classes]), weights: tf.tensor1d(weights) };
  }
  const losses: number[] = [];
  const gradients: Record<string, number[]> = {};
  for (let step = 0; step < steps; step++) {
    if (step === 0) {
      const result = await network.differentiate(batch, plan, null);
      for (const [name, gradient] of result.gradients) gradients[name] = sample(gradient);
      losses.push(result.loss);
      if (steps === 1) break;
    }
    const { loss } = await network.step(batch, plan, null);
    losses[step] = loss;
  }
  const end = await network.getWeights();
  const changes = Object.fromEntries(
    tensors.map(({ name, offset, size }) => [
      name,
      sample(end.slice(offset, offset + size).map((value, i) => value - (begin[offset + i] ?? NaN))),
    ]),
  );
  return { losses, gradients, changes };
}

export type Optimizer = keyof typeof RATES;
export type OracleResult = Awaited<ReturnType<typeof oracle>>;
