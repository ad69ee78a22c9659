import fc from "fast-check";
import { expect, test } from "vitest";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { QUANTILES } from "./quantiles";
import { GOOD, reasonFor, scoreOf } from "./scoring";

const label = fc.integer({ min: 0, max: 6 }) as fc.Arbitrary<Label>;
const share = fc.double({ min: 0, max: 1, noNaN: true });
const model = fc.constantFrom("seed" as const, "compact" as const);
/** Probabilities of which only the prompt's counts. */
const only = (prompt: Label, probability: number): number[] =>
  EXPRESSIONS.map((_, i) => (i === prompt ? probability : 0));

test("a more probable face never scores less, and scores stay between 0 and 100", () => {
  fc.assert(
    fc.property(label, share, share, model, (prompt, a, b, model) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)].map((one) => scoreOf(only(prompt, one), prompt, model));
      expect(low).toBeLessThanOrEqual(high ?? 0);
      expect(low).toBeGreaterThanOrEqual(0);
      expect(high).toBeLessThanOrEqual(100);
    }),
  );
});

test("the median face of each expression scores 75, and each can be won", () => {
  for (const model of ["seed", "compact"] as const) {
    QUANTILES[model]?.forEach((quantiles, i) => {
      const prompt = i as Label;
      expect(quantiles).toEqual(quantiles.toSorted((a, b) => a - b));
      expect(scoreOf(only(prompt, quantiles[10] ?? 0), prompt, model)).toBe(75);
      expect(scoreOf(only(prompt, quantiles[18] ?? 0), prompt, model)).toBe(99);
      expect(scoreOf(only(prompt, 0.9999), prompt, model)).toBe(100);
    });
  }
});

test("a face that shows neutral rather than the prompt is never good, and one that shows nothing of it scores nothing", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), share, share, model, (prompt, a, b, model) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      fc.pre(low < high);
      const face = EXPRESSIONS.map((name, i) => (i === prompt ? low : name === "neutral" ? high : 0));
      expect(scoreOf(face, prompt as Label, model)).toBeLessThan(GOOD);
      expect(scoreOf(face, 6, model)).toBe(scoreOf(only(6, high), 6, model));
    }),
  );
  expect(scoreOf([0, 0, 0, 0, 0, 0, 1], 4, "seed")).toBe(0);
});

test("a model of which no faces are known scores with its bare probability", () => {
  expect(scoreOf([0.1, 0, 0, 0.876, 0, 0.024, 0], 3, "mnist-2nn")).toBe(88);
  expect(scoreOf([0, 0, 0, 1, 0, 0, 0], 3, undefined)).toBe(100);
});

test("a score says why: of how many real faces it is more convincing, or that it shows no expression", () => {
  for (const model of ["seed", "compact"] as const) {
    QUANTILES[model]?.forEach((quantiles, i) => {
      const prompt = i as Label;
      expect(reasonFor(only(prompt, quantiles[10] ?? 0), prompt, model)).toEqual({ kind: "rank", of100: 50 });
      expect(reasonFor(only(prompt, quantiles[4] ?? 0), prompt, model)).toEqual({ kind: "rank", of100: 20 });
    });
  }
  const happy = EXPRESSIONS.indexOf("happy") as Label;
  expect(reasonFor([0, 0, 0, 0.2, 0, 0, 0.8], happy, "seed")).toEqual({ kind: "neutral" });
  // The critics saw sadness: that it is also more neutral than happy explains nothing.
  expect(reasonFor([0, 0, 0, 0.1, 0.6, 0, 0.3], happy, "seed")).toBeNull();
});
