import { expect, test } from "vitest";
import { isWorse, joinEvaluations, recallOf } from "./evaluation";

test("evaluations of parts are joined by their examples, and their counts are added", () => {
  const one = { examples: 3, loss: 1, accuracy: 1 / 3, confusion: [[1, 2], [0, 0]] }; // prettier-ignore
  const other = { examples: 1, loss: 3, accuracy: 1, confusion: [[0, 0], [0, 1]] }; // prettier-ignore
  const joined = joinEvaluations([one, other]);
  expect(joined).toEqual({ examples: 4, loss: 1.5, accuracy: 0.5, confusion: [[1, 2], [0, 1]] }); // prettier-ignore
  expect(joinEvaluations([])).toEqual({ examples: 0, loss: 0, accuracy: 0, confusion: [] });
});

test("recall is of a class's own examples, and unknown without any", () => {
  expect(recallOf([[3, 1], [0, 0]])).toEqual([0.75, null]); // prettier-ignore
});

test("a training is kept back where fewer are recognized, or several with much less certainty", () => {
  const found = (examples: number, accuracy: number, loss: number) => ({ examples, accuracy, loss, confusion: [] });
  expect(isWorse(found(1, 1, 0.2), found(1, 0, 3))).toBe(true);
  expect(isWorse(found(1, 1, 0.2), found(1, 1, 0.4))).toBe(false);
  expect(isWorse(found(5, 0.8, 0.5), found(5, 0.8, 0.7))).toBe(true);
  expect(isWorse(found(5, 0.8, 0.5), found(5, 0.8, 0.55))).toBe(false);
  expect(isWorse(found(0, 0, 0), found(0, 0, 0))).toBe(false);
});
