import fc from "fast-check";
import { expect, test } from "vitest";
import type { Label } from "../core/expressions";
import { nextPrompt, scoreOf } from "./expressions";

test("the next prompt is one of the seven, never the last one, and each of the others can come", () => {
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (last, random) => {
        const label = nextPrompt(last as Label | undefined, () => random);
        expect(label).toBeGreaterThanOrEqual(0);
        expect(label).toBeLessThanOrEqual(6);
        expect(label).not.toBe(last);
      },
    ),
  );
  const drawn = new Set(Array.from({ length: 6 }, (_, i) => nextPrompt(3, () => (i + 0.5) / 6)));
  expect([...drawn].sort()).toEqual([0, 1, 2, 4, 5, 6]);
});

test("a score is the prompt's probability in whole per cent", () => {
  expect(scoreOf([0.1, 0, 0, 0.876, 0, 0.024, 0], 3)).toBe(88);
  expect(scoreOf([0, 0, 0, 1, 0, 0, 0], 3)).toBe(100);
});
