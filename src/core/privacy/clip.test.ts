import fc from "fast-check";
import { expect, test } from "vitest";
import { clipAndNoise, normOf } from "./clip";

const vector = fc
  .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 50 })
  .map((values) => Float32Array.from(values));

test("a delta keeps its direction and never exceeds the clip; one below it stays as it is", () => {
  fc.assert(
    fc.property(vector, fc.double({ min: 0.01, max: 1000, noNaN: true }), (delta, clip) => {
      const { delta: clipped, isBelow } = clipAndNoise(delta, { clip, deviation: 0 });
      expect(isBelow).toBe(normOf(delta) <= clip);
      if (isBelow) expect(clipped).toEqual(delta);
      expect(normOf(clipped)).toBeLessThanOrEqual(clip * (1 + 1e-6) + 1e-6);
      const dot = clipped.reduce((sum, value, i) => sum + value * (delta[i] ?? 0), 0);
      expect(dot).toBeGreaterThanOrEqual(0);
    }),
  );
});

test("the noise has the deviation that was asked for", () => {
  const { delta } = clipAndNoise(new Float32Array(100_000), { clip: 1, deviation: 0.3 });
  expect(Math.abs(normOf(delta) / Math.sqrt(delta.length) / 0.3 - 1)).toBeLessThan(0.02);
});
