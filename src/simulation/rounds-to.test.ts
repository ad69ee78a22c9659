import { expect, test } from "vitest";
import { roundsTo } from "./rounds-to";

const curve = (...values: number[]): { round: number; accuracy: number }[] =>
  values.map((accuracy, i) => ({ round: i + 1, accuracy }));

test("the target is crossed between two rounds, on the monotonic curve", () => {
  expect(roundsTo(0.97, curve(0.9, 0.96, 0.98))).toBeCloseTo(2.5, 9);
  // The fall in between counts for nothing: from the best before, 0.96.
  expect(roundsTo(0.97, curve(0.96, 0.5, 0.98))).toBeCloseTo(2.5, 9);
  expect(roundsTo(0.97, curve(0.97))).toBeCloseTo(1, 9);
  expect(roundsTo(0.97, curve(0.9, 0.969))).toBeNull();
});
