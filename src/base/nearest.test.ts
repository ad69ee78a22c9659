import { expect, test } from "vitest";
import { nearestOf } from "./nearest";

test.each([
  ["learningrate", "learningRate"],
  ["learnigRate", "learningRate"],
  ["epoch", "epochs"],
  ["batchsize", "batchSize"],
  ["lr", null],
  ["something else", null],
])("%s is meant as %s", (typed, meant) => {
  expect(nearestOf(typed, ["rounds", "epochs", "learningRate", "batchSize"])).toBe(meant);
});
