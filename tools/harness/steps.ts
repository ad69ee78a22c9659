import * as tf from "@tensorflow/tfjs-core";
import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, type ModelName } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { startBackend } from "../../workers/tf/backend";
import "../../workers/tf/gradients";
import { Network, picturesToTensor, sgd } from "../../workers/tf/network";
import { layOut } from "../../workers/tf/webgpu/layout";
import { registerTrainer } from "../../workers/tf/webgpu/registry";
import { WebGpuTrainer } from "../../workers/tf/webgpu/trainer";
import { step } from "../../workers/trainer/local-sgd";

/**
 * Milliseconds of training steps on a batch of faces on WebGPU, and of predictions for one of them; the last step's loss.
 * @param kernels whose: our own, or tfjs's
 */
export async function steps(
  model: ModelName,
  batch: number,
  count: number,
  kernels: "own" | "tfjs",
): Promise<{ stepMs: number[]; predictMs: number[]; loss: number }> {
  await startBackend("webgpu");
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
  const x = picturesToTensor(faces.pixels.subarray(0, FACE_PIXELS), MODELS[model].inputShape);
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    const probabilities = network.predict(x);
    await probabilities.data();
    probabilities.dispose();
    predictMs.push(performance.now() - begun);
  }
  x.dispose();
  network.dispose();
  return { stepMs, predictMs, loss };
}

/** Each of our kernels in a step on a batch, with the tiles that are fastest here. */
export async function profile(model: ModelName, batch: number): ReturnType<WebGpuTrainer["profile"]> {
  await startBackend("webgpu");
  const layout = layOut(MODELS[model]);
  if (!layout) throw new Error(`Our kernels do not fit ${model}.`);
  const { device } = tf.backend() as unknown as { device: GPUDevice };
  const trainer = new WebGpuTrainer(layout, device);
  trainer.setWeights(initializeWeights(MODELS[model], 2013));
  await trainer.tune(batch);
  const rows = await trainer.profile(batch);
  trainer.dispose();
  return rows;
}
