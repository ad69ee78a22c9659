import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addGaussian, DiscreteGaussian, roundAtRandom } from "./discrete-gaussian";
import oracle from "./oracle.json";
import { secureBits, type RandomBits } from "./random-bits";
import { logHalfErfc } from "./renyi";

/** Bits that are given, and then zeros. */
function given(hex: string): RandomBits {
  let at = 0;
  const next16 = (): number => parseInt(hex.slice(at, (at += 4)) || "0", 16);
  return { next16, next32: () => next16() * 2 ** 16 + next16() };
}
const shifted = (hex: string, by: bigint): string => (BigInt(`0x${hex}`) + by).toString(16).padStart(48, "0");

describe.each(oracle.discrete)("N_Z(0, $variance)", ({ variance, ends, shares }) => {
  const gaussian = new DiscreteGaussian(variance);

  test.each(ends)(
    "changes from $value to the next where mpmath says so, to the last of 192 bits",
    ({ value, upTo }) => {
      expect(gaussian.draw(given(shifted(upTo, -1n)))).toBe(value);
      expect(gaussian.draw(given(shifted(upTo, 1n)))).toBe(value + 1);
    },
  );

  test("comes as often as its definition says", () => {
    const bits = secureBits;
    const n = 400_000;
    const counts = new Map<number, number>();
    for (let i = 0; i < n; i++) {
      const x = gaussian.draw(bits);
      counts.set(x, (counts.get(x) ?? 0) + 1);
    }
    let chi = 0;
    shares.forEach((share, i) => (chi += ((counts.get(i - 12) ?? 0) - n * share) ** 2 / (n * share)));
    // 25 degrees of freedom: once in a hundred thousand runs.
    expect(chi).toBeLessThan(69);
  });
});

test.each(oracle.rounding)("rounding of $center goes from one value to the next where mpmath says so", (found) => {
  for (const { value, next, upTo } of found.ends) {
    expect(roundAtRandom(found.center, given(shifted(upTo, -1n)))).toBe(value);
    expect(roundAtRandom(found.center, given(shifted(upTo, 1n)))).toBe(next);
  }
});

test("what bits decide, more of them do not change", () => {
  const gaussian = new DiscreteGaussian(16);
  const bits = fc.array(fc.nat(2 ** 16 - 1), { minLength: 12, maxLength: 12 });
  const hex = (words: number[]): string => words.map((word) => word.toString(16).padStart(4, "0")).join("");
  fc.assert(
    fc.property(bits, fc.double({ min: -1e6, max: 1e6, noNaN: true }), (words, center) => {
      for (const draw of [
        (from: RandomBits) => gaussian.draw(from),
        (from: RandomBits) => roundAtRandom(center, from),
      ]) {
        const whole = draw(given(hex(words)));
        expect(Number.isInteger(whole)).toBe(true);
        expect(draw(given(`${hex(words)}ffff`))).toBe(whole);
      }
    }),
  );
});

test("a variance that no table is made for is refused", () => {
  for (const variance of [0, -1, 0.5, 1e7, NaN]) expect(() => new DiscreteGaussian(variance)).toThrow(RangeError);
});

test("the edge's noise is Gaussian: its distribution differs from the normal one by less than Kolmogorov and Smirnov allow", () => {
  const n = 200_001;
  const values = new Float64Array(n).fill(3);
  addGaussian(values, 2);
  const sorted = values.map((value) => (value - 3) / 2).sort();
  let most = 0;
  sorted.forEach((value, i) => {
    const expected = Math.exp(logHalfErfc(-value / Math.SQRT2));
    most = Math.max(most, Math.abs((i + 0.5) / n - expected));
  });
  // Above 2.2 / sqrt(n) it would be once in ten thousand runs; half a step of its grid is another 0.0008.
  expect(most).toBeLessThan(2.2 / Math.sqrt(n) + 0.0008);
});

test("no two draws are the same, neighbours have nothing in common, and no digits are left of what was there", () => {
  const [a, b] = [new Float64Array(100_000).fill(Math.PI), new Float64Array(100_000).fill(Math.PI)];
  addGaussian(a, 1);
  addGaussian(b, 1);
  expect(a).not.toEqual(b);
  let correlation = 0;
  for (let i = 1; i < a.length; i++) {
    correlation += (((a[i] ?? 0) - Math.PI) * ((a[i - 1] ?? 0) - Math.PI)) / a.length;
  }
  expect(Math.abs(correlation)).toBeLessThan(5 / Math.sqrt(a.length));
  expect(a.every((value) => Number.isInteger(value * 256))).toBe(true);
});
