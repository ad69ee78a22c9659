import fc from "fast-check";
import { expect, test } from "vitest";
import { batchesOf } from "./batches";

test("an epoch holds every face once, in batches of the given size, the same for the same seed", () => {
  fc.assert(
    fc.property(fc.nat(200), fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(50), (count, size, seed, epoch) => {
      const batches = batchesOf(count, size, seed, epoch);
      expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(batches.slice(0, -1).every((batch) => batch.length === size)).toBe(true);
      expect(batchesOf(count, size, seed, epoch)).toEqual(batches);
    }),
  );
});

test("another epoch has another order", () => {
  expect(batchesOf(100, 5, 1, 0)).not.toEqual(batchesOf(100, 5, 1, 1));
});
