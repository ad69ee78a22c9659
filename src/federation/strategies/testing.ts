import { expect } from "vitest";

/** Holds numbers against somebody else's, relative to their size where they are larger than 1. */
export function expectClose(found: ArrayLike<number>, expected: readonly number[], tolerance = 1e-6): void {
  expect(found).toHaveLength(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((found[i] ?? NaN) - value), `at ${i}`).toBeLessThan(tolerance * Math.max(1, Math.abs(value)));
  });
}
