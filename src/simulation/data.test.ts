import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { LabConfigError } from "./config-error";
import { clientNumbers, digestOf, testSplit } from "./data";
import { networkFor } from "./network";
import { summarize } from "../model/model";
import type { LabData } from "./pool";

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

const DATA: LabData = {
  train: { pixels: Uint8Array.of(1, 2, 3, 4), labels: Uint8Array.of(0, 1), clients: Uint32Array.of(7, 8) },
  test: { pixels: Uint8Array.of(5, 6), labels: Uint8Array.of(1) },
};
const KIND = { labels: ["cat", "dog"], input: { height: 1, width: 2, channels: 1 } };

test("a digest is of pixels, labels and clients, and of names and shape where they are the data's own", async () => {
  const owners = new Uint8Array(Uint32Array.of(7, 8).buffer);
  const parts = [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(0, 1), owners, Uint8Array.of(5, 6), Uint8Array.of(1), ""];
  const before = sha256(parts.map(sha256).join(" "));
  // As runs that were begun before there were such data have it.
  expect(await digestOf(DATA)).toBe(before);
  const own = await digestOf({ ...DATA, kind: KIND });
  expect(own).not.toBe(before);
  // In whatever order a shape's fields are said.
  const turned = { labels: KIND.labels, input: { channels: 1, width: 2, height: 1 } };
  expect(await digestOf({ ...DATA, kind: turned })).toBe(own);
  for (const kind of [
    { ...KIND, labels: ["cat", "cow"] },
    { ...KIND, input: { height: 2, width: 1, channels: 1 } },
  ]) {
    expect(await digestOf({ ...DATA, kind })).not.toBe(own);
  }
});

test("a model of the registry gets the data's own input and classes, or says which model takes them", () => {
  const kind = { labels: ["a", "b", "c"], input: { height: 32, width: 40, channels: 3 } };
  const { inputs, classes, tensors } = summarize(networkFor({ model: "compact" }, kind));
  expect([inputs, classes, tensors[0]?.shape]).toEqual([3840, 3, [3, 3, 3, 16]]);
  const small = { ...kind, input: { height: 20, width: 20, channels: 1 } };
  expect(() => networkFor({ model: "compact" }, small)).toThrow(LabConfigError);
  expect(() => networkFor({ model: "compact" }, small)).toThrow("These do: mnist-2nn, mnist-cnn, mnist-lenet.");
  expect(networkFor({ model: "compact" }, undefined)).toBe(networkFor({ model: "compact" }, undefined));
  const normalization = { mean: [0.5], std: [0.25] };
  expect(networkFor({ model: "mnist-2nn", normalization }, small).normalization).toEqual(normalization);
  expect(() => networkFor({ model: "compact", normalization }, kind)).toThrow("these pictures have 3 channels");
});

/** The places of those that test, of examples that do not say what they are for. */
function tested(labels: readonly number[]): number[] {
  const isTest = testSplit();
  return labels.flatMap((label, i) => (isTest(null, label) ? [i] : []));
}

test("every label has a tenth of its examples in the test, in whatever order the labels come", () => {
  const cycle = Array.from({ length: 2000 }, (_, i) => i % 10);
  const sorted = cycle.toSorted((a, b) => a - b);
  for (const labels of [cycle, sorted, cycle.toReversed()]) {
    const found = tested(labels).map((i) => labels[i]);
    expect(Array.from({ length: 10 }, (_, label) => found.filter((one) => one === label).length)).toEqual(
      Array(10).fill(20),
    );
  }
  // No period in which the data may have been collected, either: of every tenth, seventh or second place it has its share.
  for (const period of [2, 7, 10]) {
    const places = tested(Array<number>(7000).fill(0));
    for (let rest = 0; rest < period; rest++) {
      const share = places.filter((place) => place % period === rest).length / places.length;
      // Four standard deviations of 700 draws.
      expect(Math.abs(share - 1 / period)).toBeLessThan(4 * Math.sqrt(((1 / period) * (1 - 1 / period)) / 700));
    }
  }
});

test("a small data set has a test, the same data have the same, and what the data say holds", () => {
  for (let label = 0; label < 64; label++) expect(tested(Array<number>(10).fill(label))).toHaveLength(1);
  expect(tested(Array.from({ length: 10 }, (_, i) => i)).length).toBeGreaterThan(0);
  for (let first = 0; first < 60; first++) {
    expect(tested([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6].map((label) => label + first)).length).toBeGreaterThan(0);
  }
  // Of labels with few examples each it is a tenth, too, and not one of each.
  const few = tested(Array.from({ length: 640 }, (_, i) => i % 128)).length;
  // Four standard deviations of a binomial draw of 640 by 1 in 10.
  expect(Math.abs(few - 64)).toBeLessThan(4 * Math.sqrt(640 * 0.1 * 0.9));
  const labels = Array.from({ length: 300 }, (_, i) => (i * i) % 7);
  expect(tested(labels)).toEqual(tested(labels));
  const isTest = testSplit();
  expect(Array.from({ length: 20 }, () => isTest("train", 0))).toEqual(Array(20).fill(false));
  expect(Array.from({ length: 20 }, () => isTest("test", 0))).toEqual(Array(20).fill(true));
  // What says nothing is split as if it were alone.
  const [first] = tested(Array<number>(10).fill(0));
  expect(Array.from({ length: 10 }, () => isTest(null, 0)).indexOf(true)).toBe(first);
});

test("clients are numbered in their order, and an example without one is nobody's", () => {
  expect(clientNumbers(["b", null, "a", "b"])).toEqual(Uint32Array.of(1, 0, 2, 1));
  expect(clientNumbers([null, null])).toBeNull();
});
