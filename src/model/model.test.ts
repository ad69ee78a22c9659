import { expect, test } from "vitest";
import { initializeWeights } from "./initialize";
import { MODELS, summarize } from "./model";

const summary = summarize(MODELS.seed);

test("the seed CNN has the notebook's parameter count", () => {
  expect(summary.parameters).toBe(5_102_791);
  expect(summary.parameters - summary.trainableParameters).toBe(3_840);
});

test("the seed CNN costs 332 million multiply-adds a face", () => {
  expect(summary.multiplyAdds / 1e6).toBeCloseTo(332, 0);
});

test("the compact model fits a phone", () => {
  const { parameters, multiplyAdds } = summarize(MODELS.compact);
  expect(parameters).toBe(328_439);
  expect(multiplyAdds).toBeLessThan(30e6);
});

test("every layer of the seed CNN has the shape of the notebook's summary", () => {
  const shapes = summary.layers
    .filter(({ kind }) => kind === "conv2d" || kind === "maxPool" || kind === "dense" || kind === "flatten")
    .map(({ outputShape }) => outputShape.join("x"));
  expect(shapes).toEqual([
    ...["46x46x64", "46x46x64", "22x22x64"],
    ...["22x22x128", "22x22x128", "10x10x128"],
    ...["10x10x256", "10x10x256", "4x4x256"],
    ...["4x4x512", "4x4x512", "1x1x512"],
    ...["512", "512", "256", "64", "7"],
  ]);
});

test("initial weights are Glorot uniform, and the same for the same seed", () => {
  const weights = initializeWeights(MODELS.seed, 7);
  // Buffer.equals, because toEqual takes seconds over five million numbers.
  const same = (seed: number): boolean =>
    Buffer.from(initializeWeights(MODELS.seed, seed).buffer).equals(Buffer.from(weights.buffer));
  expect(same(7)).toBe(true);
  expect(same(8)).toBe(false);
  const kernel = summary.tensors.find(({ name }) => name === "block4_conv2/kernel");
  if (!kernel) throw new Error("the kernel is missing");
  const values = weights.subarray(kernel.offset, kernel.offset + kernel.size);
  const limit = Math.sqrt(6 / (9 * 512 + 9 * 512));
  let largest = 0;
  let squares = 0;
  for (const value of values) {
    largest = Math.max(largest, Math.abs(value));
    squares += value * value;
  }
  expect(largest).toBeLessThanOrEqual(limit);
  expect(largest).toBeGreaterThan(limit * 0.999);
  // The variance of U[-l, l] is l^2 / 3.
  expect(squares / values.length / (limit ** 2 / 3)).toBeCloseTo(1, 2);
});

test("McMahan's models for MNIST have the paper's parameter counts", () => {
  expect(summarize(MODELS["mnist-2nn"]).parameters).toBe(199_210);
  expect(summarize(MODELS["mnist-cnn"]).parameters).toBe(1_663_370);
  expect(summarize(MODELS["mnist-cnn"])).toMatchObject({ inputs: 784, classes: 10 });
});

test("NIID-Bench's network has, with six filters, the weights of its model.py", () => {
  const lenet = MODELS["mnist-lenet"];
  const six = lenet.layers.map((layer) => (layer.name === "conv1" ? { ...layer, filters: 6 } : layer));
  expect(summarize({ ...lenet, layers: six }).parameters).toBe(44_426);
  expect(summarize(lenet).parameters).toBe(45_278);
});
