import { expect, test } from "vitest";
import * as v from "valibot";
import { seededRandom } from "../base/random";
import { roundConfigSchema } from "../federation/protocol";
import { liveConflict, LIVE_NAMES } from "../federation/strategies/live";
import { STRATEGIES } from "../federation/strategies/registry";
import { parseLabConfig, type LabInput } from "./config";

const RUN: LabInput = {
  dataset: "mnist",
  model: "mnist-2nn",
  clients: 6,
  fraction: 1,
  rounds: 2,
  epochs: 1,
  batchSize: 10,
  learningRate: 0.1,
};

/** What the lab says of a run; nothing where it takes it. */
function refusalOf(changes: Partial<LabInput>): string {
  try {
    parseLabConfig({ ...RUN, ...changes });
    return "";
  } catch (error) {
    return String(error);
  }
}

test("a strategy that an edge refuses a rehearsal refuses, and the other way round", () => {
  const random = seededRandom(7);
  const pick = <T>(...values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const seen = new Set<string>();
  for (let i = 0; i < 600; i++) {
    const name = pick(...LIVE_NAMES.filter((one) => one !== "none"));
    const both = {
      prior: pick(0, 0, 50),
      codec: pick("float32", "float32", "int8"),
      proximal: pick(0, 0, 0.1),
      layers: pick("all", "all", "head"),
      batchNorm: pick("average", "frozen", "local"),
      learningRate: pick(0.1, 0.1, 2),
    } as const;
    const serverLearningRate = pick(1, 1, 0.5);
    const lambda = pick(0.1, 1);
    const alignment = pick(0.01, 1);
    const round = {
      goalCount: 6,
      overSelection: 1,
      population: 6,
      clipQuantile: 0,
      serverLearningRate,
      lambda,
      alignment,
    };
    const edge = liveConflict(v.parse(roundConfigSchema, { ...round, ...both, strategy: name }));
    const own: Partial<Record<string, object>> = {
      scaffold: { serverLearningRate },
      feddyn: { alpha: alignment },
      ditto: { lambda },
    };
    const rate = name === "scaffold" ? {} : { serverLearningRate };
    const lab = refusalOf({ ...both, ...rate, strategy: name, strategyOptions: { ...own[name] } });
    seen.add(edge ?? "");
    expect(lab === "", `${name} ${JSON.stringify(both)}: ${lab} / ${edge}`).toBe(edge === undefined);
  }
  expect(seen.size).toBeGreaterThan(8);
});

test.each<[Partial<LabInput>, string]>([
  [{ strategy: "feddyn", serverLearningRate: 0.5 }, "serverLearningRate 1 and prior 0"],
  [{ strategy: "feddyn", prior: 500 }, "serverLearningRate 1 and prior 0"],
  [{ strategy: "scaffold", codec: "int8" }, "choose codec float32"],
  // Both would multiply its step.
  [{ strategy: "scaffold", serverLearningRate: 0.5 }, "choose strategyOptions.serverLearningRate"],
  [{ strategy: "scaffold", layers: "head" }, "choose layers all"],
  // The server would add what both trainings have changed, and the client keep one of them.
  [
    {
      strategy: "scaffold",
      schedule: [
        [0, 1],
        [0, 0, 1],
      ],
    },
    "names nobody twice",
  ],
  [{ strategy: "power-of-choice", schedule: [[0, 1]] }, "choose schedule null"],
  [{ strategy: "power-of-choice", strategyOptions: { choices: 0 } }, "strategyOptions.choices: "],
  [{ strategy: "scaffold", strategyOptions: { alpha: 1 } }, "strategyOptions.alpha: "],
])("%o is refused in words", (changes, words) => {
  expect(refusalOf(changes)).toContain(words);
});

test("every built-in strategy runs with its defaults, and with a schedule where it does not choose itself", () => {
  for (const [name, { server }] of STRATEGIES) {
    expect(refusalOf({ strategy: name })).toBe("");
    if (!server.select) expect(refusalOf({ strategy: name, schedule: [[0, 1], [2]] })).toBe("");
  }
});
