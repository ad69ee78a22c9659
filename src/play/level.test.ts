import { expect, test } from "vitest";
import { LEVELS, medalOf, nextMedal, verdictOf } from "./level";

test.each([
  ["easy", [34, 35, 50, 65, 100], [34, 49, 64]],
  ["normal", [49, 50, 65, 80, 100], [49, 64, 79]],
  ["hard", [64, 65, 80, 92, 100], [64, 79, 91]],
] as const)("medals begin at their scores, %s", (level, scores, below) => {
  expect(scores.map((score) => medalOf(score, level))).toEqual([null, "bronze", "silver", "gold", "gold"]);
  expect(below.map((score) => nextMedal(score, level))).toEqual([
    ["bronze", below[0] + 1],
    ["silver", below[1] + 1],
    ["gold", below[2] + 1],
  ]);
  expect(nextMedal(100, level)).toBeUndefined();
});

test("a harder jury never says more of the same score", () => {
  const words = ["critics", "unsure", "believes", "ovation", "best"];
  for (let score = 0; score <= 100; score++) {
    const said = LEVELS.map((level) => words.indexOf(verdictOf(score, level)));
    expect(said).toEqual(said.toSorted((a, b) => b - a));
  }
  expect([29, 30, 59, 60, 79, 80, 94, 95].map((score) => verdictOf(score, "normal"))).toEqual([
    "critics",
    "unsure",
    "unsure",
    "believes",
    "believes",
    "ovation",
    "ovation",
    "best",
  ]);
});
