import { expect, test } from "vitest";
import { seededRandom } from "../src/base/random";
import { slopeOf, trendOf, type Sample } from "./flat";

const series = (value: (at: number) => number, length = 40): Sample[] =>
  Array.from({ length }, (_, at) => ({ at, value: value(at) }));
const random = seededRandom(1);
const noise = (): number => 4 * (random() - 0.5);

test("a slope is the one of the samples' line, whatever a quarter of them is", () => {
  expect(slopeOf(series((at) => 7 + 3 * at))).toBe(3);
  expect(slopeOf(series((at) => (at % 4 === 3 ? 1e6 : 7 + 3 * at)))).toBeCloseTo(3, 0);
  // scipy.stats.theilslopes([1, 3, 2, 5, 9], [0, 1, 2, 3, 5])[0]
  const places = [0, 1, 2, 3, 5];
  expect(slopeOf([1, 3, 2, 5, 9].map((value, i) => ({ at: places[i] ?? 0, value })))).toBeCloseTo(1.55, 12);
  expect(() => slopeOf([{ at: 1, value: 2 }])).toThrow(RangeError);
});

test.each([
  ["what stays, with noise", () => 100 + noise(), true],
  ["what settles", (at: number) => 100 - 50 * Math.exp(-at / 4) + noise(), true],
  ["what falls", (at: number) => 100 - at, true],
  ["what grows as it is allowed to", (at: number) => at / 2 + noise(), true],
  ["what leaks from the beginning on", (at: number) => 100 + at + noise(), false],
  ["what begins to leak", (at: number) => 100 + Math.max(0, at - 20) + noise(), false],
])("%s", (_, value, isFlat) => {
  expect(trendOf(series(value), { chance: 4, each: 0.5 }).isFlat).toBe(isFlat);
});

test("a few samples tell nothing", () => {
  expect(() =>
    trendOf(
      series(() => 1, 5),
      { chance: 1 },
    ),
  ).toThrow(RangeError);
});
