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
import { layOut } from "../../workers/tf/webgpu/layout";
import { registerTrainer } from "../../workers/tf/webgpu/registry";
import { startKernels } from "../../workers/tf/webgpu/start";
import { defaultTiles } from "../../workers/tf/webgpu/tiles";
import { WebGpuTrainer } from "../../workers/tf/webgpu/trainer";
import { countTraffic, type Traffic } from "./traffic";

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
  /** Of weights and inputs. */
  seed: number;
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
  const x = picturesToTensor(pixels, spec.inputShape);
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
 * The relative error, in norm, of all that our kernels give of a model, against tfjs's own operations on its cpu backend; and whether
 * they give the same bits again.
 */
export async function modelErrors(
  spec: ModelSpec,
  trial: Trial,
): Promise<{ errors: Record<string, number>; isRepeated: boolean }> {
  const ours = await outcome("webgpu", spec, trial);
  const again = await outcome("webgpu", spec, trial);
  const theirs = await outcome("cpu", spec, trial);
  const errors = Object.entries(theirs.numbers).map(([name, expected]) => {
    const found = ours.numbers[name] ?? new Float32Array();
    const norm = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0));
    const error = Math.sqrt(expected.reduce((sum, value, i) => sum + (value - (found[i] ?? NaN)) ** 2, 0));
    return [name, error / Math.max(norm, 1e-4 * Math.sqrt(expected.length))] as const;
  });
  return { errors: Object.fromEntries(errors), isRepeated: ours.hash === again.hash };
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
  const made = (spec: ModelSpec): WebGpuTrainer | null => {
    const layout = layOut(spec);
    return (
      layout && new WebGpuTrainer(layout, device, defaultTiles(layout, !isReal), isReal ? (find) => find() : undefined)
    );
  };
  const seen: { own?: WebGpuTrainer | null } = {};
  // As it was registered, and seen.
  registerTrainer(kernels === "own" ? (spec) => (seen.own = made(spec)) : null);
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
    const x = picturesToTensor(pixels, MODELS[model].inputShape);
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
