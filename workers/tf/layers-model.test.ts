import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import { toLayersModel } from "../../src/model/layers-model";
import { MODELS, summarize } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { Network } from "./network";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

test.each(["compact", "mnist-2nn", "mnist-cnn"] as const)(
  "%s as a Layers model predicts what our network does",
  async (name) => {
    const spec = MODELS[name];
    const { parameters, tensors, inputs } = summarize(spec);
    const random = seededRandom(7);
    const weights = new Float32Array(parameters);
    for (const { name, offset, size, shape } of tensors) {
      const scale = 1 / Math.sqrt(shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b, 1) : 4);
      // A variance is positive.
      for (let i = offset; i < offset + size; i++)
        weights[i] = name.endsWith("variance") ? 0.5 + random() : (random() - 0.5) * 2 * scale;
    }
    const network = new Network(spec);
    network.setWeights(weights);
    const files = toLayersModel(spec, weights);
    const { modelTopology, weightsManifest } = JSON.parse(files.json) as {
      modelTopology: object;
      weightsManifest: { weights: tf.io.WeightsManifestEntry[] }[];
    };
    const model = await tf.loadLayersModel({
      load: () =>
        Promise.resolve({
          modelTopology,
          weightSpecs: weightsManifest[0]?.weights ?? [],
          weightData: files.weights.buffer,
        }),
    });
    const input = tf.tensor<tf.Rank.R4>(Float32Array.from({ length: 2 * inputs }, random), [2, ...spec.inputShape]);
    const [ours, theirs] = [network.predict(input), model.predict(input) as tf.Tensor].map((one) => [
      ...one.dataSync(),
    ]);
    theirs?.forEach((value, i) => expect(ours?.[i]).toBeCloseTo(value, 5));
  },
);
