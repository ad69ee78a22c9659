import { expect, test } from "vitest";
import { parseLabConfig } from "../simulation/config";
import type { LabRound } from "../simulation/simulation";
import { paceOf, secondsLeft } from "./estimate";
import type { RunRecord } from "./store";

const config = (epochs: number) =>
  parseLabConfig({
    dataset: "drawn",
    model: "compact",
    clients: 10,
    examplesPerClient: 30,
    fraction: 0.5,
    rounds: 4,
    epochs,
    batchSize: 10,
    learningRate: 0.1,
    heldOut: 0.2,
    testExamples: 90,
    evaluateEvery: 1,
  });
const run = (epochs: number, seconds: number[], ended: RunRecord["ended"] = null): RunRecord => ({
  id: "",
  config: config(epochs),
  createdAt: 0,
  on: null,
  problem: null,
  rounds: seconds.map((seconds) => ({ seconds }) as LabRound),
  columns: [],
  evaluation: null,
  ended,
});

test("what is left is told by the examples of the rounds to come, at the pace of those that are done", () => {
  // A round of one epoch is 5 clients with 24 examples each, and 90 looks that cost a third: 150. One of three epochs is 390.
  const runs = [run(1, [1, 2, 1, 2], "rounds"), run(3, [4]), run(3, [])];
  const pace = paceOf(runs, []);
  expect(pace).toBeCloseTo(10 / 990, 12);
  // Three rounds of one run and four of the other, of 390 each.
  expect(secondsLeft(runs, pace ?? NaN, [])).toBeCloseTo((7 * 390 * 10) / 990, 9);
  expect(paceOf([run(1, [])], [])).toBeNull();
});
