import * as tf from "@tensorflow/tfjs-core";
import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, type ModelName } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { startBackend } from "../../workers/tf/backend";
import "../../workers/tf/gradients";
import { Network, picturesToTensor, sgd } from "../../workers/tf/network";
import { layOut } from "../../workers/tf/webgpu/layout";
import { hasRealGpu } from "../../workers/tf/adapter";
import { registerTrainer } from "../../workers/tf/webgpu/registry";
import { defaultTiles } from "../../workers/tf/webgpu/tiles";
import { WebGpuTrainer } from "../../workers/tf/webgpu/trainer";
import { step } from "../../workers/trainer/local-sgd";
import { chooseAnew, tilesInWords, watchTrainers } from "./watched";

const openDevice = (): GPUDevice => (tf.backend() as unknown as { device: GPUDevice }).device;

/**
 * Milliseconds of training steps on a batch of faces on WebGPU, and of predictions for one of them; the last step's loss, and
 * the tiles that were chosen.
 * @param kernels whose: our own, or tfjs's
 */
export async function steps(
  model: ModelName,
  batch: number,
  count: number,
  kernels: "own" | "tfjs",
): Promise<{ stepMs: number[]; predictMs: number[]; loss: number; tiles: Record<string, string> | null }> {
  await startBackend("webgpu");
  const seen = kernels === "own" ? watchTrainers(openDevice(), await hasRealGpu()) : {};
  if (kernels === "tfjs") registerTrainer(null);
  const network = new Network(MODELS[model]);
  network.setWeights(initializeWeights(MODELS[model], 2013));
  const random = seededRandom(48);
  const faces = {
    pixels: Uint8Array.from({ length: batch * FACE_PIXELS }, () => random() * 256),
    labels: Uint8Array.from({ length: batch }, (_, i) => i % 7),
  };
  const [stepMs, predictMs]: [number[], number[]] = [[], []];
  let loss = NaN;
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    ({ loss } = await step(network, faces, sgd(0.002), i));
    stepMs.push(performance.now() - begun);
  }
  const x = picturesToTensor(faces.pixels.subarray(0, FACE_PIXELS), MODELS[model]);
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    const probabilities = network.predict(x);
    await probabilities.data();
    probabilities.dispose();
    predictMs.push(performance.now() - begun);
  }
  x.dispose();
  const tiles = seen.own ? tilesInWords(seen.own) : null;
  network.dispose();
  return { stepMs, predictMs, loss, tiles };
}

/** Each of our kernels in a step on a batch, with the tiles that are fastest here. */
export async function profile(model: ModelName, batch: number): ReturnType<WebGpuTrainer["profile"]> {
  await startBackend("webgpu");
  const layout = layOut(MODELS[model]);
  if (!layout) throw new Error(`Our kernels do not fit ${model}.`);
  const trainer = new WebGpuTrainer(layout, openDevice(), defaultTiles(layout), chooseAnew);
  trainer.setWeights(initializeWeights(MODELS[model], 2013));
  const image = new Float32Array(batch * layout.inputs).fill(0.5);
  const labels = Uint8Array.from({ length: batch }, (_, i) => i % layout.classes);
  const lesson = { image, n: batch, labels, weightOf: () => 1 / batch, seed: 1 };
  const plan = { optimizer: "sgd", isProximal: false, isClipped: false, proximal: 0, clipNorm: 0 } as const;
  await trainer.step(
    lesson,
    { isHeadOnly: false, isFrozen: false },
    { ...plan, rate: 0.002, corrections: [1, 1] },
    0.99,
  );
  const rows = await trainer.profile(batch);
  trainer.dispose();
  return rows;
}
