import * as tf from "@tensorflow/tfjs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { decodeCheckpoint } from "../../../src/model/checkpoint";
import { decodeDreams } from "../../../src/model/dreams";
import { MODELS, summarize, type ModelSpec } from "../../../src/model/model";
import { seededRandom } from "../../../src/base/random";
import { Network, picturesToTensor } from "../network";
import { Forward, type WeightSource } from "./forward";

const models = join(import.meta.dirname, "../../../public/models");
const kernels = new WebAssembly.Module(readFileSync(join(import.meta.dirname, "kernels-simd-single.wasm")));

beforeAll(async () => {
  await tf.setBackend("cpu");
});

/** Gives tensors in the model's order only, as a file that is read once does. */
function inOrder(model: ModelSpec, weights: Float32Array): WeightSource {
  const { tensors } = summarize(model);
  let next = 0;
  return (tensor) => {
    const spec = tensors[next++];
    if (spec?.name !== tensor) throw new Error(`${tensor} was asked for in the place of ${spec?.name}.`);
    return Promise.resolve(weights.subarray(spec.offset, spec.offset + spec.size));
  };
}

/** The largest distance of our probabilities from those of tfjs's own operations in plain JavaScript. */
async function distance(spec: ModelSpec, weights: Float32Array, pixels: Uint8Array): Promise<number> {
  const { classes } = summarize(spec);
  const logits = await new Forward(kernels).logits(spec, inOrder(spec, weights), pixels);
  const network = new Network(spec);
  network.setWeights(weights);
  const theirs = await network.predict(picturesToTensor(pixels, spec)).data<"float32">();
  const ours = await tf.softmax(tf.tensor2d(logits, [logits.length / classes, classes])).data<"float32">();
  network.dispose();
  expect(ours.length).toBe(theirs.length);
  return theirs.reduce((most, value, i) => Math.max(most, Math.abs(value - (ours[i] as number))), 0);
}

test.each([
  // More than go through a block together.
  ["compact", 30],
  ["seed", 2],
] as const)("the shipped %s model says of dreamed faces what it says in tfjs", async (name, pictures) => {
  const summary = summarize(MODELS[name]);
  const file = new Uint8Array(readFileSync(join(models, name, "initial.safetensors")));
  const weights = decodeCheckpoint(file, summary);
  const dreams = await decodeDreams(new Uint8Array(readFileSync(join(models, "dreams.u8.gz"))), 48 * 48);
  expect(await distance(MODELS[name], weights, dreams.subarray(0, pictures * summary.inputs))).toBeLessThan(1e-5);
});

test.each<[string, ModelSpec]>([
  ["mnist-2nn", MODELS["mnist-2nn"]],
  ["mnist-cnn", MODELS["mnist-cnn"]],
  // A picture of no square, in colour, whose numbers fill no panel.
  ["mnist-2nn of 9 x 11 in colour", { ...MODELS["mnist-2nn"], inputShape: [9, 11, 3] }],
  ["mnist-cnn of 20 x 13 in colour", { ...MODELS["mnist-cnn"], inputShape: [20, 13, 3] }],
  ["compact of 33 x 40 in colour", { ...MODELS.compact, inputShape: [33, 40, 3] }],
  // The largest that a task may be.
  ["compact of 96 x 96 in colour", { ...MODELS.compact, inputShape: [96, 96, 3] }],
])("%s with any weights says what it says in tfjs", async (_name, spec) => {
  const { parameters, tensors, inputs } = summarize(spec);
  const random = seededRandom(7);
  const weights = new Float32Array(parameters);
  for (const { offset, size, shape, trainable } of tensors) {
    const scale = 1 / Math.sqrt(shape.slice(0, -1).reduce((a, b) => a * b, 1));
    for (let i = offset; i < offset + size; i++) weights[i] = (random() - 0.5) * 4 * scale;
    if (!trainable) weights.subarray(offset, offset + size).fill(0.5);
  }
  const pixels = Uint8Array.from({ length: 3 * inputs }, () => Math.floor(random() * 256));
  expect(await distance(spec, weights, pixels)).toBeLessThan(1e-5);
});

test("a second inference finds all that the first one took", async () => {
  const spec = MODELS.compact;
  const { parameters, inputs } = summarize(spec);
  const forward = new Forward(kernels);
  const pixels = new Uint8Array(4 * inputs);
  const run = () => forward.logits(spec, inOrder(spec, new Float32Array(parameters)), pixels);
  await run();
  const { bytes } = forward;
  await run();
  expect(forward.bytes).toBe(bytes);
  const weights = inOrder(spec, new Float32Array(parameters));
  let left = 10;
  const breakingOff: WeightSource = (tensor) => (left-- > 0 ? weights(tensor) : Promise.reject(new Error("gone")));
  await expect(forward.logits(spec, breakingOff, pixels)).rejects.toThrow("gone");
  await run();
  expect(forward.bytes).toBe(bytes);
});
