import { expect, test } from "vitest";
import { DEFAULT_ROUND } from "../default-round";
import { afterRound } from "./series";

const SERIES = { ...DEFAULT_ROUND, rounds: 10, goalCount: 12, updateClip: 0.05, clipQuantile: 0.5, prior: 0 };
const clipAfter = (noise: number, counted: number): number | undefined =>
  afterRound({ ...SERIES, noise }, { losses: [], counted, below: 0 }).next?.updateClip;

test("with noise the clip moves after a round without any update as after one with a single one: neither is told apart", () => {
  // Were the clip left where it is, its standing still would say for certain that nobody came.
  const [none, one] = [0, 1].map((counted) => Array.from({ length: 4000 }, () => clipAfter(1, counted) ?? NaN));
  if (!none || !one) return expect.fail();
  const stood = (clips: number[]): number => clips.filter((clip) => clip === SERIES.updateClip).length;
  expect(stood(none)).toBeLessThan(40);
  expect(stood(one)).toBeLessThan(40);
  const mean = (clips: number[]): number => clips.reduce((a, b) => a + b, 0) / clips.length / SERIES.updateClip;
  // One update changes the share by half of 1/12: the clip's mean by less than a hundredth.
  expect(Math.abs(mean(none) - mean(one))).toBeLessThan(0.02);
  expect(clipAfter(0, 0)).toBe(SERIES.updateClip);
});

test("a plateau halves the learning rate for ever without making it nothing", () => {
  let config = { ...SERIES, rounds: 10_000, clipQuantile: 0, stopPatience: 1, atPlateau: "lower-rate" as const };
  for (let round = 0; round < 3000; round++) {
    const { next } = afterRound(config, { losses: [1, 1, 1], counted: 1, below: 1 });
    if (!next) break;
    expect(next.learningRate).toBeGreaterThan(0);
    config = { ...config, ...next, atPlateau: "lower-rate" };
  }
  expect(config.learningRate).toBeLessThan(1e-300);
});
