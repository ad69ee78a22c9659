import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, type ModelName } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { startBackend } from "../../workers/tf/backend";
import "../../workers/tf/gradients";
import { Network, picturesToTensor, sgd } from "../../workers/tf/network";
import { step } from "../../workers/trainer/local-sgd";

/** Milliseconds of training steps on a batch of faces on WebGPU, and of predictions for one of them; the last step's loss. */
export async function steps(
  model: ModelName,
  batch: number,
  count: number,
): Promise<{ stepMs: number[]; predictMs: number[]; loss: number }> {
  await startBackend("webgpu");
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
