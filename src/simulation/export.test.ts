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
    const run = exportRun(config, { ended: null, rounds: [ROUND], columns: [], evaluation: null });
    expect(parseLabConfig(configOf(JSON.stringify(run)))).toEqual(config);
    expect(parseLabConfig(configOf(JSON.stringify(config)))).toEqual(config);
  }
  // As Windows' editors save it.
  expect(configOf(`\uFEFF{"rounds":3}`)).toEqual({ rounds: 3 });
  expect(() => configOf("{")).toThrow(SyntaxError);
});

test("the noise of a run hides those whom its schedule names most, however often that is", () => {
  const base = {
    dataset: "mnist",
    model: "mnist-2nn",
    clients: 3,
    rounds: 4,
    epochs: 1,
    batchSize: 5,
    learningRate: 0.1,
  };
  const noisy = {
    ...base,
    noise: 2,
    updateClip: 1,
    schedule: [
      [0, 1],
      [0, 0, 2],
    ],
  };
  const told = (changes: object, rounds: number): number | undefined => {
    const outcome = { ended: null, rounds: Array<LabRound>(rounds).fill(ROUND), columns: [], evaluation: null };
    return exportRun(parseLabConfig({ ...noisy, ...changes }), outcome).privacy?.epsilon;
  };
  // Client 0 moves a sum by one clip in two rounds, and by two in two: Gaussian differential privacy with mu^2 = 2 / 4 + 2 * 4 / 4
  // (Dong, Roth and Su 2022, corollary 3.3), whose epsilon at delta 1e-5 is 7.51128 by their corollary 2.13, solved in Python.
  expect(told({}, 4)).toBeGreaterThan(7.511);
  expect(told({}, 4)).toBeLessThan(7.53);
  expect(told({}, 0)).toBe(0);
  expect(told({ noise: 0, updateClip: 0 }, 4)).toBeUndefined();
});

test("rounds become lines of CSV with as many cells as its head", () => {
  const late = { ...ROUND, time: 90, staleness: [0, 3], spread: { deviation: 0.1, least: 0.2, most: 0.5 } };
  const lines = roundsToCsv([ROUND, late]).split("\r\n");
  expect(lines).toHaveLength(4);
  expect(lines[1]).toBe("1,2,1,20,1.5,0.5,,,,true,0.1,2,8,4,0.5,,,,,");
  expect(lines[2]).toBe("1,2,1,20,1.5,0.5,,,,true,0.1,2,8,4,0.5,90,1.5,0.1,0.2,0.5");
  expect(lines[0]?.split(",")).toHaveLength(lines[1]?.split(",").length ?? 0);
});
