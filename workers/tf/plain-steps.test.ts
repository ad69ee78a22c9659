import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import { seededRandom } from "../../src/base/random";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS } from "../../src/model/model";
import { Network, picturesToTensor, sgd, type StepPlan } from "./network";
import { PlainSteps } from "./plain-steps";

const PLAIN = ["mnist-2nn", "mnist-cnn"] as const;

beforeAll(async () => {
  await makeWorker().startBackend("wasm");
  // Else both would be tfjs's.
  for (const name of PLAIN) expect(PlainSteps.for(MODELS[name]), name).not.toBeNull();
  expect(PlainSteps.for(MODELS.compact)).toBeNull();
});

/** Pictures that are dark for the most part, as digits are. */
function batch(count: number, seed: number): { pixels: Uint8Array; labels: Uint8Array } {
  const random = seededRandom(seed);
  const pixels = Uint8Array.from({ length: count * 784 }, () => (random() < 0.8 ? 0 : Math.floor(random() * 256)));
  return { pixels, labels: Uint8Array.from({ length: count }, () => Math.floor(random() * 10)) };
}

/** Weights after some steps, and what each step said. */
async function train(model: (typeof PLAIN)[number], plan: StepPlan, sizes: readonly number[]) {
  const spec = MODELS[model];
  const network = new Network(spec);
  network.setWeights(initializeWeights(spec, 4));
  const said: number[] = [];
  for (const [i, size] of sizes.entries()) {
    const { pixels, labels } = batch(size, i);
    const x = picturesToTensor(pixels, spec);
    const { loss, accuracy } = await network.step({ x, labels }, plan, i);
    said.push(loss, accuracy);
    x.dispose();
  }
  const weights = await network.getWeights();
  network.dispose();
  return { weights, said };
}

/** A gradient clip that is never reached has tfjs differentiate and step, where plain SGD has kernels of its own. */
test.each([
  ["batches of ten and a small last one", "mnist-2nn", sgd(0.1), [10, 10, 10, 3, 1]],
  ["a whole client's examples at once", "mnist-2nn", sgd(0.5), [512, 512]],
  ["more than the buffers began with, and fewer again", "mnist-2nn", sgd(0.5), [10, 600, 1500, 10]],
  ["convolutions of as many", "mnist-cnn", sgd(1), [600]],
  [
    "labels that weigh",
    "mnist-2nn",
    { ...sgd(0.1), labelWeights: Array.from({ length: 10 }, (_, i) => 0.2 * i) },
    [10, 7],
  ],
  ["convolutions", "mnist-cnn", sgd(0.1), [10, 10, 3, 1]],
] as [string, (typeof PLAIN)[number], StepPlan, number[]][])(
  "steps in our own kernels are tfjs's: %s",
  async (_name, model, plan, sizes) => {
    const ours = await train(model, plan, sizes);
    const theirs = await train(model, { ...plan, clipNorm: 1e6 }, sizes);
    ours.said.forEach((value, i) => expect(value).toBeCloseTo(theirs.said[i] ?? NaN, 4));
    let [worst, moved] = [0, 0];
    const start = initializeWeights(MODELS[model], 4);
    ours.weights.forEach((w, i) => {
      worst = Math.max(worst, Math.abs(w - (theirs.weights[i] ?? NaN)));
      moved = Math.max(moved, Math.abs(w - (start[i] ?? NaN)));
    });
    expect(moved).toBeGreaterThan(0.01);
    expect(worst / moved).toBeLessThan(1e-4);
  },
);

test("a step leaves no tensor behind", async () => {
  const spec = MODELS["mnist-cnn"];
  const network = new Network(spec);
  network.setWeights(initializeWeights(spec, 4));
  const { pixels, labels } = batch(10, 1);
  const x = picturesToTensor(pixels, spec);
  await network.step({ x, labels }, sgd(0.1), 0);
  const { numTensors, numDataBuffers } = tf.memory();
  await network.step({ x, labels }, sgd(0.1), 0);
  expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
  x.dispose();
  network.dispose();
});
