import { expect, test } from "vitest";
import * as v from "valibot";
import { seededRandom } from "../base/random";
import { roundConfigSchema } from "../federation/protocol";
import { liveConflict, LIVE_NAMES } from "../federation/strategies/live";
import { STRATEGIES, type AnyStrategy } from "../federation/strategies/registry";
import { MODELS, summarize } from "../model/model";
import { drawByShare } from "./cohort";
import { parseLabConfig, type LabInput } from "./config";
import { exportRun } from "./export";
import { LabPool, type LabWorkerApi } from "./pool";
import { runLab, type LabRun, type LabState } from "./simulation";

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
  // What would be without effect.
  [{ strategy: "fedavg", strategyOptions: { mu: 1 } }, "strategyOptions: fedavg has none"],
  [{ strategyOptions: { mu: 1 } }, "nothing that takes strategyOptions"],
  [{ toString: 1 } as object, "toString: there is no such key"],
])("%o is refused in words", (changes, words) => {
  expect(refusalOf(changes)).toContain(words);
});

test("every built-in strategy runs with its defaults, and with a schedule where it does not choose itself", () => {
  for (const [name, { server }] of STRATEGIES) {
    expect(refusalOf({ strategy: name })).toBe("");
    if (!server.select) expect(refusalOf({ strategy: name, schedule: [[0, 1], [2]] })).toBe("");
  }
});

const PIXELS = 784;
const half = { pixels: new Uint8Array(60 * PIXELS), labels: Uint8Array.from({ length: 60 }, (_, i) => i % 10) };
const { parameters } = summarize(MODELS["mnist-2nn"]);
const RESULT = {
  delta: new Float32Array(parameters),
  loss: 2,
  accuracy: 0.1,
  initialLoss: null,
  norms: null,
  heldOut: { examples: 0, loss: 0, accuracy: 0, confusion: [] },
};
/** A run whose clients learn nothing. */
function runWith(
  server: Partial<AnyStrategy["server"]>,
  strategy: Partial<AnyStrategy> = {},
  hooks: Partial<LabRun> = {},
) {
  const worker: LabWorkerApi = {
    start: () => Promise.resolve(),
    train: () =>
      Promise.resolve({
        ...RESULT,
        strategy: { state: {}, sent: {} },
      }),
    evaluate: () => Promise.resolve({ examples: 1, loss: 1, accuracy: 0.5, confusion: [[1]] }),
  };
  const aggregate = () => ({ delta: new Float64Array(parameters) });
  const own = { name: "mine", client: {}, wire: { down: [], up: [] }, ...strategy, server: { aggregate, ...server } };
  return runLab({
    config: parseLabConfig({ ...RUN, strategy: "./mine.ts" }),
    data: { train: half, test: half },
    pool: new LabPool([worker]),
    start: new Float32Array(parameters),
    strategy: own,
    ...hooks,
  });
}

test("a run ends where a strategy of somebody's own is not what its interface wants", async () => {
  expect((await runWith({})).ended).toBe("rounds");
  const short = () => ({ delta: new Float64Array(10) });
  await expect(runWith({ aggregate: short })).rejects.toThrow(
    `server.aggregate makes 10 numbers; the model has ${parameters}`,
  );
  await expect(runWith({}, { wire: { down: ["control"], up: [] } })).rejects.toThrow("wire.down names control");
  await expect(runWith({ select: () => [999] })).rejects.toThrow("server.select chooses 999");
});

test("a run goes on with the strategy's files that it began with, which its export holds, and with no others", async () => {
  const source = [{ name: "mine.ts", sha256: "1".repeat(64), text: "export const mine = 1;" }];
  let first: LabState | undefined;
  const onRound = (state: LabState): void => {
    if (state.round === 1) first = structuredClone(state);
  };
  await runWith({}, {}, { source, onRound });
  if (!first) throw new Error("no round");
  expect(exportRun(parseLabConfig({ ...RUN, strategy: "./mine.ts" }), first).source).toEqual(source);
  expect((await runWith({}, {}, { source, resume: structuredClone(first) })).round).toBe(2);
  const other = [{ name: "mine.ts", sha256: "2".repeat(64), text: "export const mine = 2;" }];
  await expect(runWith({}, {}, { source: other, resume: structuredClone(first) })).rejects.toThrow(
    "is not the one that this run began with (mine.ts)",
  );
  const old = structuredClone(first);
  delete old.source;
  await expect(runWith({}, {}, { source, resume: old })).rejects.toThrow("begun by an older version");
});

test("Power-of-Choice's candidates are drawn by their shares of the data, and all of them get the checkpoint", async () => {
  const random = seededRandom(3);
  const times = [0, 0, 0, 0];
  for (let i = 0; i < 20_000; i++) {
    for (const client of drawByShare([10, 20, 30, 40], 2, random)) times[client] = (times[client] ?? 0) + 1;
  }
  // By hand: p_i + sum_j p_j p_i / (1 - p_j) over all others j.
  [0.2345, 0.4413, 0.6083, 0.7159].forEach((expected, i) => {
    expect(Math.abs((times[i] ?? NaN) / 20_000 - expected)).toBeLessThan(0.015);
  });
  // Two of six train; of Power-of-Choice, whose candidates are twice as many, four are asked for their loss.
  const bytesOf = async (strategy: string): Promise<number> => {
    const config = parseLabConfig({ ...RUN, fraction: 1 / 3, strategy });
    const { rounds } = await runWith({}, {}, { config, strategy: undefined });
    expect(rounds.map(({ cohort }) => cohort.length)).toEqual([2, 2]);
    return rounds[0]?.bytesDown ?? NaN;
  };
  expect((await bytesOf("power-of-choice")) / (await bytesOf("fedavg"))).toBe(2);
});

test.each<[string, Partial<LabInput>]>([
  ["fednova", { aggregation: "fednova" }],
  ["rfa", { aggregation: "geometric-median" }],
  ["qfedavg", { aggregation: "q-fair" }],
  ["median", { aggregation: "median" }],
  ["trimmed-mean", { aggregation: "trimmed-mean" }],
  ["fedmom", { serverOptimizer: "nesterov" }],
  ["fedexp", { serverOptimizer: "fedexp", averageLast: true }],
  ["fedadam", { serverOptimizer: "adam" }],
])("the strategy %s is %o, so that a sweep compares it with those that remember something", (strategy, rule) => {
  const base = parseLabConfig(RUN);
  expect(parseLabConfig({ ...base, strategy })).toEqual(parseLabConfig({ ...RUN, ...rule }));
  const [key] = Object.keys(rule);
  const other = key === "aggregation" ? { aggregation: "multi-krum" } : { serverOptimizer: "yogi" };
  expect(refusalOf({ strategy, ...(other as Partial<LabInput>) })).toContain(`choose no other ${key}`);
  expect(refusalOf({ strategy, strategyOptions: { alpha: 1 } })).toContain("has none of its own");
});

test("FedProx is its term, with what is usual where nobody says how strong", () => {
  const base = parseLabConfig(RUN);
  expect(parseLabConfig({ ...base, strategy: "fedprox" })).toEqual({ ...base, proximal: 0.01 });
  expect(parseLabConfig({ ...base, strategy: "fedprox", proximal: 0.1 })).toEqual({ ...base, proximal: 0.1 });
});

test("of FedExP the average of the last two rounds' weights is evaluated, and the last ones go on", async () => {
  // All clients move every weight by 0.5, and so does the server, as updates that agree are stepped by their mean.
  const seen: number[] = [];
  const worker: LabWorkerApi = {
    start: () => Promise.resolve(),
    train: () => Promise.resolve({ ...RESULT, delta: new Float32Array(parameters).fill(0.5) }),
    evaluate: ({ weights }) => {
      seen.push(weights[7] ?? NaN);
      return Promise.resolve({ examples: 1, loss: 1, accuracy: 0.5, confusion: [[1]] });
    },
  };
  const config = parseLabConfig({ ...RUN, strategy: "fedexp" });
  const { weights } = await runLab({
    config,
    data: { train: half, test: half },
    pool: new LabPool([worker]),
    start: new Float32Array(parameters).fill(1),
  });
  expect(seen).toEqual([1, 1.25, 1.75]);
  expect(weights[7]).toBe(2);
  expect(refusalOf({ averageLast: true, tolerance: 0.1 })).toContain("choose averageLast false");
});
