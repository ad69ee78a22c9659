import { expect, test } from "vitest";
import { DEFAULT_ROUND } from "./default-round";
import type { Round } from "./protocol";
import { quantile, roundsToCsv } from "./rounds-csv";

const base = { version: 3, sha256: "0".repeat(64), bytes: 9, difference: null };
const round = {
  number: 4,
  state: "published",
  reason: null,
  config: DEFAULT_ROUND,
  base,
  checkpoint: { ...base, version: 4 },
  openedAt: 0,
  trainingAt: 1,
  endedAt: 2500,
  deadline: null,
  waiting: 0,
  refused: { "bad-digest": 2 },
  tally: { selected: 2, uploaded: 1, counted: 1, dropped: 1, dead: 0, bytesUp: 5, bytesDown: 8 },
  cohort: [],
  ...{
    trainLoss: 0.5,
    trainAccuracy: 0.75,
    evalLoss: null,
    evalAccuracy: null,
    evalExamples: 0,
    evaluation: null,
    hubs: [],
  },
} as unknown as Round;

test("a round is a line, with nothing where nothing is known", () => {
  const [head, line, end] = roundsToCsv([round]).split("\r\n");
  expect(head?.split(",")).toHaveLength(line?.split(",").length ?? 0);
  expect(line).toBe("4,published,3,4,2,1,2,0.5,0.75,,,,,5,8,float32,1970-01-01T00:00:00.000Z,2.5");
  expect(end).toBe("");
});

test("quantiles as NumPy's percentile gives them", () => {
  expect(quantile([15, 20, 35, 40, 50], 0.4)).toBeCloseTo(29);
  expect(quantile([4, 1], 0.5)).toBe(2.5);
  expect(quantile([], 0.5)).toBeNull();
});
