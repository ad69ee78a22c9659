import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import { seededRandom } from "../../src/base/random";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, type ModelSpec } from "../../src/model/model";
import { canDescend, descend, squaredNorm } from "./descent";
import { Network, picturesToTensor, sgd } from "./network";

beforeAll(async () => {
  await makeWorker().startBackend("wasm");
  expect(canDescend()).toBe(true);
});

const random = seededRandom(5);
const draw = (length: number): Float32Array => Float32Array.from({ length }, () => random() * 2 - 1);

test.each([1, 3, 4, 4095, 4096, 4097, 10_001])(
  "the squares and the step of %i numbers are those in float64",
  (size) => {
    const [weights, gradient] = [draw(size), draw(size)];
    const [w, g] = [tf.tensor1d(weights.slice()), tf.tensor1d(gradient.slice())];
    const sum = gradient.reduce((all, value) => all + value * value, 0);
    expect(Math.abs(squaredNorm([g]) / sum - 1)).toBeLessThan(1e-7);
    expect(Math.abs(squaredNorm([g, g]) / (2 * sum) - 1)).toBeLessThan(1e-7);
    descend(w, g, 0.3);
    const found = w.dataSync();
    weights.forEach((value, i) => {
      expect(Math.abs((found[i] ?? NaN) - (value - Math.fround(0.3) * (gradient[i] ?? NaN)))).toBeLessThan(1.2e-7);
    });
    expect(g.dataSync()).toEqual(gradient);
    tf.dispose([w, g]);
  },
);

test("large numbers do not drown small ones in the sum of squares", () => {
  const values = new Float32Array(100_000).fill(1);
  values[0] = 1e4;
  const tensor = tf.tensor1d(values);
  // In float32 some ten thousand ones beside a hundred million are lost.
  expect(squaredNorm([tensor])).toBe(1e8 + 99_999);
  tensor.dispose();
});

/** Its hidden layer is one that our kernels leave to tfjs. */
const ODD: ModelSpec = {
  name: "odd",
  inputShape: [28, 28, 1],
  layers: [
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "dense1", units: 12, activation: "relu" },
    { kind: "dense", name: "last", units: 10, activation: "softmax" },
  ],
};

test.each([
  { spec: MODELS["mnist-2nn"], clipNorm: 0 },
  { spec: MODELS["mnist-2nn"], clipNorm: 1 },
  { spec: MODELS["mnist-cnn"], clipNorm: 0 },
  { spec: ODD, clipNorm: 0 },
  { spec: ODD, clipNorm: 1 },
])(
  "after steps of $spec.name with clip $clipNorm in place, a network predicts what a fresh one does",
  async ({ spec, clipNorm }) => {
    const network = new Network(spec);
    network.setWeights(initializeWeights(spec, 4));
    const pixels = Uint8Array.from({ length: 5 * 784 }, () => random() * 256);
    const x = picturesToTensor(pixels, spec);
    const labels = Uint8Array.from({ length: 5 }, (_, i) => i);
    const logits = async (of: Network): Promise<Float32Array> => of.logits(x).data<"float32">();
    // It has been asked before it learned.
    const before = await logits(network);
    for (let i = 0; i < 3; i++) await network.step({ x, labels }, { ...sgd(0.05), clipNorm }, null);
    const fresh = new Network(spec);
    fresh.setWeights(await network.getWeights());
    const after = await logits(network);
    expect(after).toEqual(await logits(fresh));
    expect(after).not.toEqual(before);
  },
);
