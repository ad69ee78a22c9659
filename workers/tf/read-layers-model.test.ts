import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import { seededRandom } from "../../src/base/random";
import { toLayersModel } from "../../src/model/layers-model";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS } from "../../src/model/model";
import { LayersModelError, readLayersModel } from "../../src/model/read-layers-model";
import { Network } from "./network";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

/** What tfjs's own `save` writes of a model. */
async function saved(model: tf.LayersModel): Promise<{ json: string; bytes: Uint8Array }> {
  let files: { json: string; bytes: Uint8Array } | undefined;
  await model.save(
    tf.io.withSaveHandler((artifacts) => {
      const { modelTopology, weightSpecs, weightData } = artifacts;
      const weightsManifest = [{ paths: ["./weights.bin"], weights: weightSpecs }];
      const json = JSON.stringify({ format: "layers-model", modelTopology, weightsManifest });
      files = { json, bytes: new Uint8Array(weightData as ArrayBuffer) };
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } });
    }),
  );
  if (!files) throw new Error("Nothing was saved.");
  return files;
}

const image = [20, 20, 1];
/** Networks as tfjs's users write them. */
const NETWORKS: [string, () => tf.layers.Layer[]][] = [
  [
    "activations in the layers",
    () => [
      tf.layers.conv2d({ inputShape: image, filters: 8, kernelSize: 5, activation: "relu", padding: "same" }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 16, kernelSize: 3, activation: "relu" }),
      tf.layers.batchNormalization(),
      tf.layers.maxPooling2d({ poolSize: 3, strides: 2 }),
      tf.layers.dropout({ rate: 0.25 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 12, activation: "relu" }),
      tf.layers.dense({ units: 4, activation: "softmax" }),
    ],
  ],
  [
    "activations as layers, and an input of its own",
    () => [
      tf.layers.inputLayer({ inputShape: image }),
      tf.layers.conv2d({ filters: 8, kernelSize: [3, 3], strides: [1, 1], name: "1st.conv" }),
      tf.layers.reLU(),
      tf.layers.batchNormalization({ axis: -1 }),
      tf.layers.maxPooling2d({ poolSize: [2, 2], strides: [2, 2] }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 6 }),
      tf.layers.activation({ activation: "relu" }),
      tf.layers.dense({ units: 3 }),
      tf.layers.softmax(),
    ],
  ],
  ["dense layers alone", () => [tf.layers.flatten({ inputShape: image }), tf.layers.dense({ units: 5, activation: "softmax" })]],
]; // prettier-ignore

test.each(NETWORKS)("a model that tfjs has saved says here what it says there: %s", async (_, layers) => {
  const model = tf.sequential({ layers: layers() });
  // Statistics and constants of batch normalization that would be seen where they were left out.
  const random = seededRandom(11);
  model.setWeights(
    model.getWeights().map((one) =>
      tf.tensor(
        Float32Array.from({ length: one.size }, () => 0.1 + random() / 3),
        one.shape,
      ),
    ),
  );
  const { json, bytes } = await saved(model);
  const { spec, weights } = readLayersModel(json, bytes);
  const network = new Network(spec);
  network.setWeights(weights);
  const x = tf.tensor<tf.Rank.R4>(
    Float32Array.from({ length: 3 * 400 }, () => random()),
    [3, 20, 20, 1],
  );
  const [ours, theirs] = [network.predict(x).dataSync(), (model.predict(x) as tf.Tensor).dataSync()];
  expect(theirs.length).toBe(3 * spec.layers.reduce((last, layer) => (layer.kind === "dense" ? layer.units : last), 0));
  theirs.forEach((value, i) => expect(ours[i]).toBeCloseTo(value, 5));
});

test("what a checkpoint is exported as is read as it was", () => {
  const weights = initializeWeights(MODELS.compact, 3);
  const { json, weights: bytes } = toLayersModel(MODELS.compact, weights);
  const read = readLayersModel(json, bytes);
  expect(read.weights).toEqual(weights);
  expect(read.spec).toEqual(MODELS.compact);
});

const conv = (config: object = {}): tf.layers.Layer =>
  tf.layers.conv2d({ inputShape: image, filters: 8, kernelSize: 3, activation: "relu", ...config });
const end = (): tf.layers.Layer[] => [tf.layers.flatten(), tf.layers.dense({ units: 3, activation: "softmax" })];
test.each<[string, () => tf.layers.Layer[], RegExp]>([
  ["stride 2", () => [conv({ strides: 2 }), ...end()], /conv2d.*strides is 2/],
  ["a filter of 7 x 7", () => [conv({ kernelSize: 7 }), ...end()], /kernel_size is 7/],
  ["no bias", () => [conv({ useBias: false }), ...end()], /use_bias is false/],
  ["another activation", () => [conv({ activation: "tanh" }), ...end()], /activation is "tanh"/],
  ["seven filters", () => [conv({ filters: 7 }), ...end()], /7 filters, which is no multiple of 8/],
  ["average pooling", () => [conv(), tf.layers.averagePooling2d({}), ...end()], /AveragePooling2D.*not known/],
  ["normalization before the ReLU", () => [conv({ activation: "linear" }), tf.layers.batchNormalization(), tf.layers.reLU(), ...end()], /right behind a convolution/],
  ["another epsilon", () => [conv(), tf.layers.batchNormalization({ epsilon: 1e-5 }), ...end()], /epsilon is 0.00001/],
  ["no softmax", () => [conv(), tf.layers.flatten(), tf.layers.dense({ units: 3 })], /activation is "linear"; known is "softmax"/],
  ["a bounded ReLU", () => [conv({ activation: "linear" }), tf.layers.reLU({ maxValue: 6 }), ...end()], /only a plain ReLU/],
])("what cannot be read is named: %s", async (_, layers, message) => {
  const { json, bytes } = await saved(tf.sequential({ layers: layers() }));
  expect(() => readLayersModel(json, bytes)).toThrow(LayersModelError);
  expect(() => readLayersModel(json, bytes)).toThrow(message);
}); // prettier-ignore

test("a file that is none, a model that is no sequence, and weights that do not fit are named", async () => {
  const { json, bytes } = await saved(tf.sequential({ layers: [conv(), ...end()] }));
  expect(() => readLayersModel("{", bytes)).toThrow(/no JSON/);
  expect(() => readLayersModel("{}", bytes)).toThrow(/no model.json/);
  expect(() => readLayersModel(json, bytes.slice(4))).toThrow(/end before/);
  expect(() => readLayersModel(json, Uint8Array.of(...bytes, 0))).toThrow(/behind the last/);
  const broken = bytes.slice();
  new DataView(broken.buffer).setFloat32(8, NaN, true);
  expect(() => readLayersModel(json, broken)).toThrow(/not finite/);
  const input = tf.input({ shape: image });
  const flat = tf.layers.flatten().apply(input) as tf.SymbolicTensor;
  const functional = await saved(tf.model({ inputs: input, outputs: flat }));
  expect(() => readLayersModel(functional.json, functional.bytes)).toThrow(/only a Sequential one/);
});
