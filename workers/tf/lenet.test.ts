import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import { seededRandom } from "../../src/base/random";
import { initializeWeights } from "../../src/model/initialize";
import { toLayersModel } from "../../src/model/layers-model";
import { MODELS } from "../../src/model/model";
import { Network, picturesToTensor, sgd } from "./network";

test("a step of mnist-lenet, whose 5 x 5 convolutions are not padded, is that of tfjs", async () => {
  await makeWorker().startBackend("wasm");
  const spec = MODELS["mnist-lenet"];
  const weights = initializeWeights(spec, 4);
  const random = seededRandom(3);
  const pixels = Uint8Array.from({ length: 6 * 784 }, () => Math.floor(random() * 256));
  const labels = Uint8Array.from({ length: 6 }, (_, i) => i);
  const network = new Network(spec);
  network.setWeights(weights.slice());
  const x = picturesToTensor(pixels, spec);
  const inputs = await x.data();
  await network.step({ x, labels }, sgd(0.1), null);
  const ours = await network.getWeights();

  await tf.setBackend("cpu");
  const files = toLayersModel(spec, weights);
  const { modelTopology, weightsManifest } = JSON.parse(files.json) as {
    modelTopology: object;
    weightsManifest: { weights: tf.io.WeightsManifestEntry[] }[];
  };
  const weightSpecs = weightsManifest[0]?.weights ?? [];
  const model = await tf.loadLayersModel({
    load: () => Promise.resolve({ modelTopology, weightSpecs, weightData: files.weights.buffer }),
  });
  model.compile({ optimizer: tf.train.sgd(0.1), loss: "categoricalCrossentropy" });
  await model.trainOnBatch(tf.tensor(inputs, [6, 28, 28, 1]), tf.oneHot(tf.tensor1d([...labels], "int32"), 10));
  let at = 0;
  for (const one of model.getWeights()) {
    const theirs = await one.data<"float32">();
    const own = ours.subarray(at, at + theirs.length);
    const largest = (other: Float32Array): number =>
      theirs.reduce((most, value, i) => Math.max(most, Math.abs(value - (other[i] ?? NaN))), 0);
    expect(largest(own)).toBeLessThan(1e-6);
    expect(largest(weights.subarray(at, at + theirs.length))).toBeGreaterThan(1e-3);
    at += theirs.length;
  }
  expect(at).toBe(ours.length);
});
