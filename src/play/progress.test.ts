import { expect, test } from "vitest";
import type { Label } from "../model/expressions";
import { progressOf } from "./progress";
import type { Level, Take } from "../faces/kept";
import type { Medal } from "./level";

const take = (id: number, prompt: number, score: number, show?: string): Take => ({
  id,
  at: id,
  prompt: prompt as Label,
  score,
  ...(show === undefined ? {} : { show }),
});

test("bests, what was lately, and rows of good takes", () => {
  const progress = progressOf([90, 20, 60, 70, 80, 10, 100].map((score, i) => take(i, 3, score)));
  expect(progress.expressions[3]).toEqual({ label: 3, scores: [90, 20, 60, 70, 80, 10, 100], best: 100, lately: 64 });
  expect(progress.expressions[0]).toMatchObject({ best: null, lately: null });
  expect(progress).toMatchObject({ streak: 1, bestStreak: 3 });
});

test("a show counts once its seven takes are there", () => {
  const whole = Array.from({ length: 7 }, (_, i) => take(i, i, 70, "a"));
  const broken = Array.from({ length: 6 }, (_, i) => take(10 + i, i, 100, "b"));
  expect(progressOf([...whole, ...broken]).shows).toEqual([{ at: 6, score: 70, level: "normal", medal: "silver" }]);
  const at = (level: Level): (Medal | null)[] =>
    progressOf(whole.map((one) => ({ ...one, level }))).shows.map(({ medal }) => medal);
  expect([at("easy"), at("normal"), at("hard")]).toEqual([["gold"], ["silver"], ["bronze"]]);
});

test("no takes, no progress", () => {
  expect(progressOf([])).toMatchObject({ streak: 0, bestStreak: 0, shows: [] });
});
