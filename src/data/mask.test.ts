import fc from "fast-check";
import { expect, test } from "vitest";
import { blend } from "./mask";

const corner = (at: number): number[] => Array.from({ length: 7 }, (_, i) => (i === at ? 1 : 0));

test("a blend lies within the faces that it is made of, whatever the scale of the weights", () => {
  const corners = corner(0).map((_, i) => blend(corner(i)));
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }), (weights) => {
      const face = blend(weights);
      for (const key of Object.keys(face) as (keyof typeof face)[]) {
        const values = corners.map((one) => one[key]);
        expect(face[key]).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
        expect(face[key]).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
        expect(blend(weights.map((weight) => weight * 2))[key]).toBeCloseTo(face[key], 9);
      }
    }),
  );
});
