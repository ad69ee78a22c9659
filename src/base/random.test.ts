import { expect, test } from "vitest";
import { hash32, seededRandom } from "./random";

test("the same seed gives the same numbers, uniform in 0..1", () => {
  const [a, b, c] = [seededRandom(7), seededRandom(7), seededRandom(8)];
  const numbers = Array.from({ length: 20_000 }, () => a());
  expect(numbers.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => b()));
  expect(numbers[0]).not.toBe(c());
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  expect(numbers.reduce((sum, x) => sum + x, 0) / numbers.length).toBeCloseTo(0.5, 2);
});

test("hashes of consecutive places and seeds are uniform and unrelated", () => {
  const share = (count: (i: number) => boolean): number =>
    Array.from({ length: 50_000 }, (_, i) => count(i)).filter(Boolean).length / 50_000;
  const below = (value: number): boolean => value < 0.3 * 2 ** 32;
  expect(share((i) => below(hash32(3, i)))).toBeCloseTo(0.3, 2);
  expect(share((i) => below(hash32(i, 3)))).toBeCloseTo(0.3, 2);
  expect(share((i) => below(hash32(3, i)) && below(hash32(4, i)))).toBeCloseTo(0.09, 2);
  expect(share((i) => below(hash32(3, i)) && below(hash32(3, i + 1)))).toBeCloseTo(0.09, 2);
});
