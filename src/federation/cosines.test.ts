import { expect, test } from "vitest";
import { Cosines } from "./cosines";
import oracle from "./strategies/oracle.json";
import { expectClose } from "./strategies/testing";

const rows = oracle.deltas.map((row) => Float32Array.from(row));
const mean = Float64Array.from(oracle.linear.results.fedavg);
const LENGTH = mean.length;
/** The fifth and the sixth number are batch-norm statistics. */
const model = {
  tensors: [
    { name: "a/kernel", shape: [4], size: 4, offset: 0, trainable: true },
    { name: "a_norm1/moving_mean", shape: [2], size: 2, offset: 4, trainable: false },
    { name: "b/kernel", shape: [LENGTH - 6], size: LENGTH - 6, offset: 6, trainable: true },
  ],
};

function cosines(updates: readonly Float32Array[], average: Float64Array, piece: number, kept = ""): (number | null)[] {
  const found = new Cosines(model, updates.length, ({ name }) => name === kept);
  for (let start = 0; start < LENGTH; start += piece) {
    const part = average.slice(start, start + piece);
    found.addMean(start, part);
    updates.forEach((update, k) => found.addUpdate(k, start, part, update.slice(start, start + piece)));
  }
  return found.values;
}

test.each([1, 4, 5, LENGTH])("cosines to the mean are NumPy's, however the numbers come: %s at once", (piece) => {
  expectClose(
    Float64Array.from(cosines(rows, mean, piece), (value) => value ?? NaN),
    oracle.more.cosines,
  );
});

test("what the round leaves as it is has no part, and nothing has no direction", () => {
  const away = Float32Array.from(mean, (value, i) => (i < 6 ? 100 : value));
  expect(cosines([away], mean, LENGTH, "a/kernel")[0]).toBeCloseTo(1, 6);
  expect(cosines([away], mean, LENGTH)[0]).toBeLessThan(0.9);
  const none = new Float32Array(LENGTH);
  expect(cosines([none, away], mean, LENGTH)[0]).toBeNull();
  expect(cosines([away], new Float64Array(LENGTH), LENGTH)).toEqual([null]);
});
