import fc from "fast-check";
import { expect, test } from "vitest";
import { clipTo, normOf } from "./clip";

const vector = fc
  .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 50 })
  .map((values) => Float32Array.from(values));

test("a delta keeps its direction and never exceeds the clip; one below it stays as it is", () => {
  fc.assert(
    fc.property(vector, fc.double({ min: 0.01, max: 1000, noNaN: true }), (delta, clip) => {
      const { delta: clipped, isBelow } = clipTo(delta, clip);
      expect(isBelow).toBe(normOf(delta) <= clip);
      if (isBelow) expect(clipped).toEqual(delta);
      expect(normOf(clipped)).toBeLessThanOrEqual(clip);
      const dot = clipped.reduce((sum, value, i) => sum + value * (delta[i] ?? 0), 0);
      expect(dot).toBeGreaterThanOrEqual(0);
    }),
  );
});
