import fc from "fast-check";
import { expect, test } from "vitest";
import { isPlateau, staleRounds } from "./early-stopping";

const rules = { stopPatience: 2, stopDelta: 0.01 };

test("a run stops after as many rounds without improvement as its patience says", () => {
  expect(isPlateau([2, 1.5, 1.495, 1.4], rules)).toBe(false);
  expect(isPlateau([2, 1.5, 1.495, 1.6], rules)).toBe(true);
  expect(isPlateau([2, 2, 2, 2], { ...rules, stopPatience: 0 })).toBe(false);
  expect(isPlateau([], rules)).toBe(false);
});

test("a steady fall is never stale, and staleness never exceeds the rounds since the lowest loss", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { minLength: 1 }), (losses) => {
      const exact = { ...rules, stopDelta: 0 };
      const lowest = losses.indexOf(Math.min(...losses));
      expect(staleRounds(losses, exact)).toBe(losses.length - 1 - lowest);
    }),
  );
  expect(staleRounds([5, 4, 3, 2], rules)).toBe(0);
});
