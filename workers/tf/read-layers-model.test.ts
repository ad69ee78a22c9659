import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import { seededRandom } from "../../src/base/random";
import { toLayersModel } from "../../src/model/layers-model";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS } from "../../src/model/model";
import { LayersModelError, readLayersModel, type WeightFile } from "../../src/model/read-layers-model";
import { Network } from "./network";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

/** What tfjs's own `save` writes of a model. */
async function saved(model: tf.LayersModel): Promise<{ json: string; bytes: Uint8Array; files: WeightFile[] }> {
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
  return { ...files, files: [{ name: "weights.bin", bytes: files.bytes }] };
}

/** The same layers as a model with an input and an output. */
function functional(layers: tf.layers.Layer[]): tf.LayersModel {
  const inputs = tf.input({ shape: image });
  let outputs = inputs;
  for (const layer of layers) {
    if (layer.getClassName() !== "InputLayer") outputs = layer.apply(outputs) as tf.SymbolicTensor;
  }
  return tf.model({ inputs, outputs });
}

/** As Keras's converter writes what tfjs writes by itself. */
function converted(json: string): string {
  const { modelTopology, ...file } = JSON.parse(json) as { modelTopology: object };
  return JSON.stringify({
    ...file,
    modelTopology: { keras_version: "2.15.0", backend: "tensorflow", model_config: modelTopology },
  });
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
  [
    "normalization before the ReLU, with constants of its own",
    () => [
      tf.layers.conv2d({ inputShape: image, filters: 8, kernelSize: 3, useBias: false }),
      tf.layers.batchNormalization({ epsilon: 1e-5, momentum: 0.5 }),
      tf.layers.reLU(),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 8, kernelSize: 3, padding: "same" }),
      tf.layers.batchNormalization(),
      tf.layers.activation({ activation: "relu" }),
      tf.layers.conv2d({ filters: 8, kernelSize: 3, activation: "relu" }),
      tf.layers.batchNormalization(),
      tf.layers.flatten(),
      tf.layers.dense({ units: 6, useBias: false }),
      tf.layers.batchNormalization({ epsilon: 0.1 }),
      tf.layers.reLU(),
      tf.layers.dense({ units: 3, activation: "softmax" }),
    ],
  ],
  ["dense layers alone", () => [tf.layers.flatten({ inputShape: image }), tf.layers.dense({ units: 5, activation: "softmax" })]],
]; // prettier-ignore

test.each(
  NETWORKS.flatMap(([name, layers]) => [
    { name, model: () => tf.sequential({ layers: layers() }), write: (json: string) => json },
    { name: `${name}, with an input and an output, converted`, model: () => functional(layers()), write: converted },
  ]),
)("a model that tfjs has saved says here what it says there: $name", async ({ model: make, write }) => {
  const model = make();
  // Statistics and constants of batch normalization that would be seen where they were left out.
  const random = seededRandom(11);
  model.setWeights(
    model.getWeights().map((one) =>
      tf.tensor(
        Float32Array.from({ length: one.size }, () => (one.rank > 1 ? random() - 0.5 : 0.1 + random() / 3)),
        one.shape,
      ),
    ),
  );
  const { json, files } = await saved(model);
  const { spec, weights } = readLayersModel(write(json), files);
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

/** What Keras 3.15.1 wrote of a Functional model (`to_json`), without initializers, regularizers and types. */
const KERAS_3 = {
  class_name: "Functional",
  config: {
    name: "chain",
    layers: [
      {"class_name": "InputLayer", "config": {"batch_shape": [null, 6, 6, 1], "name": "picture"}, "name": "picture", "inbound_nodes": []},
      {"class_name": "Conv2D", "config": {"name": "c1", "filters": 8, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1, "activation": "linear", "use_bias": false}, "name": "c1", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 6, 6, 1], "keras_history": ["picture", 0, 0]}}], "kwargs": {}}]},
      {"class_name": "BatchNormalization", "config": {"name": "n1", "axis": -1, "momentum": 0.9, "epsilon": 1e-05, "center": true, "scale": true}, "name": "n1", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 4, 4, 8], "keras_history": ["c1", 0, 0]}}], "kwargs": {"mask": null}}]},
      {"class_name": "ReLU", "config": {"name": "r1", "max_value": null, "negative_slope": 0.0, "threshold": 0.0}, "name": "r1", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 4, 4, 8], "keras_history": ["n1", 0, 0]}}], "kwargs": {}}]},
      {"class_name": "MaxPooling2D", "config": {"name": "p1", "pool_size": [2, 2], "padding": "valid", "strides": [2, 2], "data_format": "channels_last"}, "name": "p1", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 4, 4, 8], "keras_history": ["r1", 0, 0]}}], "kwargs": {}}]},
      {"class_name": "Flatten", "config": {"name": "f", "data_format": "channels_last"}, "name": "f", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 2, 2, 8], "keras_history": ["p1", 0, 0]}}], "kwargs": {}}]},
      {"class_name": "Dense", "config": {"name": "o", "units": 2, "activation": "softmax", "use_bias": true}, "name": "o", "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 32], "keras_history": ["f", 0, 0]}}], "kwargs": {}}]},
    ],
    input_layers: ["picture", 0, 0],
    output_layers: ["o", 0, 0],
  },
}; // prettier-ignore
/** Its weights, in its order, of which each got sin(i), i its place among all of them, those of normalization 0.6 + 0.5 sin(i). */
const KERAS_3_WEIGHTS: [string, number[]][] = [
  ["c1/kernel", [3, 3, 1, 8]],
  ["n1/gamma", [8]],
  ["n1/beta", [8]],
  ["n1/moving_mean", [8]],
  ["n1/moving_variance", [8]],
  ["o/kernel", [32, 2]],
  ["o/bias", [2]],
];
/** What it says of a picture whose level i is cos(i). */
const KERAS_3_SAYS = [0.9682132005691528, 0.03178677707910538];

test("a Functional model of Keras 3, with a convolution, a normalization and then its ReLU, says here what it says there", () => {
  const sizes = KERAS_3_WEIGHTS.map(([, shape]) => shape.reduce((a, b) => a * b, 1));
  const numbers = Float32Array.from({ length: sizes.reduce((a, b) => a + b, 0) }, (_, i) => {
    const isOfNorm = i >= 72 && i < 72 + 32;
    return isOfNorm ? 0.6 + 0.5 * Math.sin(i) : Math.sin(i);
  });
  const manifest = KERAS_3_WEIGHTS.map(([name, shape]) => ({ name, shape, dtype: "float32" }));
  const json = JSON.stringify({
    format: "layers-model",
    modelTopology: { keras_version: "3.15.1", backend: "jax", model_config: KERAS_3 },
    weightsManifest: [{ paths: ["group1-shard1of1.bin"], weights: manifest }],
  });
  const bytes = new Uint8Array(numbers.buffer);
  const { spec, weights, folded } = readLayersModel(json, [{ name: "group1-shard1of1.bin", bytes }]);
  expect(spec.layers.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
    ...["conv2d c1", "maxPool p1", "flatten f", "dense o"],
  ]);
  expect(folded).toEqual(["n1"]);
  const network = new Network(spec);
  network.setWeights(weights);
  const picture = tf.tensor<tf.Rank.R4>(
    Float32Array.from({ length: 36 }, (_, i) => Math.cos(i)),
    [1, 6, 6, 1],
  );
  const said = network.predict(picture).dataSync();
  expect(said).toHaveLength(2);
  KERAS_3_SAYS.forEach((value, i) => expect(said[i]).toBeCloseTo(value, 5));
});

test("what a checkpoint is exported as is read as it was", () => {
  const weights = initializeWeights(MODELS.compact, 3);
  const { json, weights: bytes } = toLayersModel(MODELS.compact, weights);
  const read = readLayersModel(json, [{ name: "weights.bin", bytes }]);
  expect(read.folded).toEqual([]);
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
  ["normalization without a ReLU behind it", () => [conv({ activation: "linear", name: "bare" }), tf.layers.batchNormalization(), ...end()], /bare \(Conv2D\): activation is "linear"; known is "relu"/],
  ["normalization before the ReLU, of another axis", () => [conv({ activation: "linear" }), tf.layers.batchNormalization({ axis: 1 }), tf.layers.reLU(), ...end()], /axis is not the last/],
  ["normalization before the ReLU, without gamma", () => [conv({ activation: "linear" }), tf.layers.batchNormalization({ scale: false }), tf.layers.reLU(), ...end()], /no beta or no gamma/],
  ["a ReLU behind a pooling", () => [conv({ activation: "linear" }), tf.layers.maxPooling2d({}), tf.layers.reLU({ name: "late" }), ...end()], /late: an activation goes right behind/],
  ["another momentum", () => [conv(), tf.layers.batchNormalization({ momentum: 0.5 }), ...end()], /momentum is 0.5; known is 0.99/],
  ["another epsilon", () => [conv(), tf.layers.batchNormalization({ epsilon: 1e-5 }), ...end()], /epsilon is 0.00001/],
  ["no softmax", () => [conv(), tf.layers.flatten(), tf.layers.dense({ units: 3 })], /activation is "linear"; known is "softmax"/],
  ["a bounded ReLU", () => [conv({ activation: "linear" }), tf.layers.reLU({ maxValue: 6 }), ...end()], /only a plain ReLU/],
])("what cannot be read is named: %s", async (_, layers, message) => {
  const { json, files } = await saved(tf.sequential({ layers: layers() }));
  expect(() => readLayersModel(json, files)).toThrow(LayersModelError);
  expect(() => readLayersModel(json, files)).toThrow(message);
}); // prettier-ignore

/** What is wrong with a model, sentence by sentence. */
function problemsOf(json: string, files: readonly WeightFile[]): readonly string[] {
  try {
    readLayersModel(json, files);
    return [];
  } catch (error) {
    if (error instanceof LayersModelError) return error.problems;
    throw error;
  }
}

test("all that is wrong with a model is told at once", async () => {
  const layers = [
    conv({ kernelSize: 7, strides: 2, filters: 12, name: "first" }),
    tf.layers.batchNormalization({ momentum: 0.5, epsilon: 1e-5, name: "norm" }),
    tf.layers.averagePooling2d({ name: "middle" }),
    tf.layers.flatten(),
    tf.layers.dense({ units: 3, name: "last" }),
  ];
  const { json, bytes } = await saved(tf.sequential({ layers }));
  const half = json.replace(/"dtype":"float32"(?=\}\]\}\]\}$)/, '"dtype":"float16"');
  expect(problemsOf(half, [{ name: "other.bin", bytes }])).toEqual([
    "first (Conv2D): kernel_size is 7; known is 3 or 5.",
    "first (Conv2D): strides is 2; known is 1.",
    "norm (BatchNormalization): epsilon is 0.00001; known is 0.001.",
    "norm (BatchNormalization): momentum is 0.5; known is 0.99.",
    expect.stringMatching(/^middle \(AveragePooling2D\): this layer is not known/),
    'last (Dense): activation is "linear"; known is "softmax".',
    "Layer 1, first: it has 12 filters, which is no multiple of 8.",
    "weights.bin is missing among the files.",
    "other.bin is none of the model's files, which are weights.bin.",
    expect.stringMatching(/ is float16: float32 is read\.$/),
  ]);
  // Of what a network is as a whole too, and of weights that are not its own.
  const loose = [conv({ filters: 12 }), tf.layers.dense({ units: 4, activation: "relu", name: "early" }), ...end()];
  const odd = await saved(tf.sequential({ layers: loose }));
  expect(problemsOf(odd.json, odd.files)).toEqual([
    expect.stringMatching(/12 filters/),
    "Layer 2, early: a dense layer needs a flatten before it.",
    expect.stringMatching(/flattened/),
  ]);
  const fine = await saved(tf.sequential({ layers: [conv({ name: "c" }), ...end()] }));
  const renamed = fine.json.replace('"name":"c/kernel"', '"name":"d/kernel"').replace('"shape":[8]', '"shape":[4,2]');
  expect(problemsOf(renamed, fine.files)).toEqual([
    "d/kernel belongs to no layer of the model.",
    "c/bias is 4 x 2, where its layer has 8.",
  ]);
});

test("the files of weights are read in the order of the manifest, whatever their names are and however they come", async () => {
  const { json, bytes } = await saved(tf.sequential({ layers: [conv(), ...end()] }));
  const paths = ["shards/part_b.bin", "shards/part_a.bin"];
  const split = json.replace('["./weights.bin"]', JSON.stringify(paths));
  const [b, a] = [bytes.slice(0, 40), bytes.slice(40)];
  const expected = readLayersModel(json, [{ name: "weights.bin", bytes }]).weights;
  for (const files of [
    [
      { name: "part_a.bin", bytes: a },
      { name: "part_b.bin", bytes: b },
    ],
    [
      { name: "part_b.bin", bytes: b },
      { name: "part_a.bin", bytes: a },
    ],
  ]) {
    expect(readLayersModel(split, files).weights).toEqual(expected);
  }
  expect(problemsOf(split, [{ name: "part_b.bin", bytes }])).toEqual(["part_a.bin is missing among the files."]);
  const twice = split.replace("shards/part_a", "others/part_b");
  expect(problemsOf(twice, [{ name: "part_b.bin", bytes: b }])).toEqual([
    "Two files of weights are called part_b.bin.",
  ]);
  // Each group of the manifest has files of its own.
  const file = JSON.parse(json) as { weightsManifest: [{ weights: unknown[] }] };
  const [{ weights }] = file.weightsManifest;
  const size = 3 * 3 * 8 * 4;
  const groups = [
    { paths: ["rest.bin"], weights: weights.slice(1) },
    { paths: ["kernel.bin"], weights: weights.slice(0, 1) },
  ];
  const grouped = JSON.stringify({ ...file, weightsManifest: groups });
  const files = [
    { name: "kernel.bin", bytes: bytes.slice(0, size) },
    { name: "rest.bin", bytes: bytes.slice(size) },
  ];
  expect(readLayersModel(grouped, files).weights).toEqual(expected);
});

test("what is no chain of layers is told, with what of it is not", async () => {
  const input = tf.input({ shape: image });
  const first = conv({ name: "first" }).apply(input) as tf.SymbolicTensor;
  const branches = ["left", "right"].map(
    (name) => tf.layers.conv2d({ filters: 8, kernelSize: 3, name }).apply(first) as tf.SymbolicTensor,
  );
  const sum = tf.layers.add({ name: "sum" }).apply(branches) as tf.SymbolicTensor;
  const [flat, out] = end() as [tf.layers.Layer, tf.layers.Layer];
  const output = out.apply(flat.apply(sum)) as tf.SymbolicTensor;
  const { json, files } = await saved(tf.model({ inputs: input, outputs: output }));
  for (const text of [json, converted(json)]) {
    expect(problemsOf(text, files)).toEqual([
      "The layers of this Functional model do not follow one another: left, right take what comes of first; " +
        "sum takes what comes of left, right.",
    ]);
  }
  const two = await saved(tf.model({ inputs: input, outputs: [output, flat.output as tf.SymbolicTensor] }));
  expect(problemsOf(two.json, two.files).join()).toMatch(/ends with .*dense.*flatten/);
  const subclassed = json.replace('"class_name":"Model"', '"class_name":"MyModel"');
  expect(problemsOf(converted(subclassed), files).join()).toMatch(/^It is a MyModel model: a Sequential one/);
  const graph = JSON.stringify({ format: "graph-model", modelTopology: { node: [] }, weightsManifest: [] });
  expect(problemsOf(graph, []).join()).toMatch(/tfjs_layers_model/);
});

test("a file that is none, and weights that do not fit, are named", async () => {
  const { json, bytes } = await saved(tf.sequential({ layers: [conv(), ...end()] }));
  const read = (text: string, weights = bytes): unknown =>
    readLayersModel(text, [{ name: "weights.bin", bytes: weights }]);
  expect(() => read("{")).toThrow(/no JSON/);
  expect(() => read("{}")).toThrow(/no model.json/);
  expect(() => read(json, bytes.slice(4))).toThrow(/end before/);
  expect(() => read(json, Uint8Array.of(...bytes, 0))).toThrow(/behind the last/);
  const broken = bytes.slice();
  new DataView(broken.buffer).setFloat32(8, NaN, true);
  expect(() => read(json, broken)).toThrow(/not finite/);
});
