import { expect, test } from "vitest";
import { parseLabConfig } from "./config";
import { configOf, exportRun, roundsToCsv } from "./export";
import { PRESETS } from "./presets";
import type { LabRound } from "./simulation";

const ROUND: LabRound = {
  round: 1,
  cohort: [3, 7],
  left: 1,
  examples: 20,
  trainLoss: 1.5,
  trainAccuracy: 0.5,
  testLoss: null,
  ...{
    testAccuracy: null,
    attackSuccess: null,
    published: true,
    learningRate: 0.1,
    stepNorm: 2,
    bytesDown: 8,
    bytesUp: 4,
    seconds: 0.5,
  },
};

test("a configuration comes back from an exported run, and from a bare one", () => {
  for (const { config } of PRESETS.values()) {
    const run = exportRun(config, { ended: null, rounds: [ROUND], columns: [], evaluation: null }, "abc");
    expect(parseLabConfig(configOf(JSON.stringify(run)))).toEqual(config);
    expect(parseLabConfig(configOf(JSON.stringify(config)))).toEqual(config);
  }
  // As Windows' editors save it.
  expect(configOf(`\uFEFF{"rounds":3}`)).toEqual({ rounds: 3 });
  expect(() => configOf("{")).toThrow(SyntaxError);
});

test("rounds become lines of CSV with as many cells as its head", () => {
  const late = { ...ROUND, time: 90, staleness: [0, 3], spread: { deviation: 0.1, least: 0.2, most: 0.5 } };
  const lines = roundsToCsv([ROUND, late]).split("\r\n");
  expect(lines).toHaveLength(4);
  expect(lines[1]).toBe("1,2,1,20,1.5,0.5,,,,true,0.1,2,8,4,0.5,,,,,");
  expect(lines[2]).toBe("1,2,1,20,1.5,0.5,,,,true,0.1,2,8,4,0.5,90,1.5,0.1,0.2,0.5");
  expect(lines[0]?.split(",")).toHaveLength(lines[1]?.split(",").length ?? 0);
});
