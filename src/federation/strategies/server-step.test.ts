import { expect, test } from "vitest";
import * as v from "valibot";
import type { ModelSummary } from "../../model/model";
import { SERVER_OPTIMIZERS } from "../server-optimizers/registry";
import { stepModel } from "../server-optimizers/step-model";
import { planSchema, roundConfigSchema } from "../protocol";
import {
  broadcastFor,
  clientContextOf,
  keptAfter,
  liveConflict,
  liveRunOf,
  vectorsFor,
  type KeptState,
  type LiveName,
} from "./live";
import { serverRuleOf } from "./server-step";
import { plainMean, weightedSum, type StrategyUpdate } from "./strategy";
import { A, cohorts, lr, paths, quadratic, slope, start, steps } from "./testing";

/**
 * NumPy's federations of quadratic clients (tools/strategies-oracle.py) as live rounds run them: a state on each device, and on the server one
 * that goes with the version.
 */
const length = start.length;
const model: ModelSummary = {
  ...quadratic,
  layers: [],
  trainableParameters: length,
  multiplyAdds: 0,
  inputs: 1,
  classes: 1,
};

interface Run {
  strategy: LiveName;
  options: Record<string, number>;
  /** eta_g */
  serverLearningRate?: number;
  /** K of each client. */
  stepsOf?: (client: number) => number;
  /** Who takes part in a round of which nothing comes, before each of NumPy's. */
  undone?: (round: number) => number[];
}

/** The weights after every round that was published. */
async function run({ strategy, options, undone = () => [], ...more }: Run): Promise<Float32Array[]> {
  const { serverLearningRate = 1, stepsOf = () => steps } = more;
  const said = { epochs: 1, batchSize: 10, learningRate: lr, population: A.length, ...options, strategy };
  const choice = v.parse(planSchema, said);
  const live = liveRunOf(choice, model);
  if (!live) throw new Error("no strategy");
  const devices = new Map<number, KeptState>();
  let weights = Float32Array.from(start);
  const moments = { first: new Float32Array(length), second: new Float32Array(0) };
  const counted: [number, number][] = [];
  let number = 0;
  const train = (client: number): StrategyUpdate => {
    const old = devices.get(client);
    const broadcast = broadcastFor(live, counted.length > 0 ? moments.first.slice() : undefined);
    const told = { global: weights, broadcast, state: vectorsFor(live, old, counted) };
    // Batches of ten.
    const examples = 10 * stepsOf(client);
    const context = clientContextOf(live, told, { plan: choice, examples });
    expect(context.steps).toBe(stepsOf(client));
    const hook = live.strategy.client.gradientHook?.(context);
    const trained = Float32Array.from(weights);
    for (let step = 0; step < context.steps; step++) {
      const gradient = slope(client, trained);
      hook?.(gradient, trained);
      trained.forEach((value, i) => (trained[i] = value - lr * (gradient[i] ?? 0)));
    }
    const { state = {} } = live.strategy.client.afterTraining?.(context, trained) ?? {};
    const now = { choice: { ...choice, strategy }, vectors: { ...context.state, ...state }, round: number };
    devices.set(client, keptAfter(now, old, counted));
    return { client, examples, delta: trained.map((value, i) => value - (weights[i] ?? 0)), sent: {} };
  };
  const path: Float32Array[] = [];
  for (const [round, cohort] of cohorts.entries()) {
    const others = undone(round);
    if (others.length > 0) number += 1;
    for (const client of others) train(client);
    number += 1;
    const updates = cohort.map(train);
    const next = weights.slice();
    const perStep = weightedSum(
      updates,
      updates.map(({ client }) => 1 / stepsOf(client)),
      length,
    );
    moments.second = Float32Array.from(perStep);
    await stepModel(model, next, {
      optimizer: { kind: "sgd", learningRate: serverLearningRate, momentum: 0, beta2: 0, tau: 1, epsilon: 1 },
      rule: serverRuleOf({ choice, updates: updates.length }, model),
      average: () => Promise.resolve(plainMean(updates, length)),
      share: 1,
      keep: () => false,
      moments: () => Promise.resolve(moments),
    });
    weights = next;
    counted.push([number, number]);
    path.push(weights.slice());
  }
  return path;
}

function expectPath(found: Float32Array[], path: readonly (readonly number[])[]): void {
  expect(found).toHaveLength(path.length);
  found.forEach((weights, round) => {
    weights.forEach((value, i) => {
      expect(Math.abs(value - (path[round]?.[i] ?? NaN)), `round ${round}`).toBeLessThan(1e-4);
    });
  });
}

const unequal = paths["scaffold-unequal"];
const { serverLearningRate } = unequal;
const RUNS: [string, Run, readonly (readonly number[])[]][] = [
  ["FedDyn", { strategy: "feddyn", options: { alignment: paths.feddyn.alpha } }, paths.feddyn.path],
  ["SCAFFOLD", { strategy: "scaffold", options: {}, serverLearningRate }, paths.scaffold.path],
  [
    "SCAFFOLD, whose clients take one to six steps,",
    { strategy: "scaffold", options: {}, serverLearningRate, stepsOf: (client) => unequal.steps[client] ?? NaN },
    unequal.path,
  ],
];

test.each(RUNS)("live rounds of %s go where NumPy goes", async (_name, one, path) => {
  expectPath(await run(one), path);
});

test.each(RUNS)(
  "and so do those of %s where rounds between come to nothing, for those who were in both and those who were not",
  async (_name, one, path) => {
    expectPath(await run({ ...one, undone: (round) => [round % 6, (round + 2) % 6, (round + 3) % 6] }), path);
  },
);

test("statistics are averaged, and what a round leaves as it is stays, with what is remembered of it", async () => {
  const [kernel, statistics] = model.tensors.map((one) => ({ ...one, trainable: one.offset === 0 }));
  if (!kernel || !statistics) throw new Error("no tensors");
  const choice = { ...v.parse(planSchema, { epochs: 1, batchSize: 1, learningRate: 1 }), strategy: "feddyn" as const };
  const step = async (kept: string): Promise<{ weights: Float32Array; memory: Float32Array }> => {
    const [weights, memory] = [new Float32Array(length), new Float32Array(length)];
    const one = { ...model, tensors: [kernel, statistics] };
    await stepModel(one, weights, {
      optimizer: { kind: "sgd", learningRate: 1, momentum: 0, beta2: 0, tau: 1, epsilon: 1 },
      rule: serverRuleOf({ choice: { ...choice, population: 4 }, updates: 2 }, one),
      average: () => Promise.resolve(new Float64Array(length).fill(1)),
      share: 1,
      keep: ({ name }) => name === kept,
      moments: () => Promise.resolve({ first: memory, second: new Float32Array(0) }),
    });
    return { weights, memory };
  };
  // w + 1 + 2 / 4, and h = -0.01 / 4 * 2, of which N = 4 times as much is kept.
  const { weights, memory } = await step("none");
  expect([...weights]).toEqual([1.5, 1.5, 1.5, 1, 1]);
  expect([...memory]).toEqual([-0.02, -0.02, -0.02, 0, 0].map(Math.fround));
  const held = await step("body/kernel");
  expect([...held.weights, ...held.memory]).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
});

test("SCAFFOLD's server keeps the sum of its clients' control variates, also where more count than there are said to be", () => {
  const one: ModelSummary = {
    ...model,
    parameters: 1,
    tensors: [{ name: "w", shape: [1], size: 1, offset: 0, trainable: true }],
  };
  const said = { epochs: 1, batchSize: 10, learningRate: 0.1, strategy: "scaffold", population: 3 };
  const choice = v.parse(planSchema, said);
  const live = liveRunOf(choice, one);
  if (!live) throw new Error("no strategy");
  const memory = Float32Array.from([12]);
  const [controls, deltas] = [
    [1, 2, 3, 6],
    [-0.2, -0.4, -0.6, -1.2],
  ];
  // By option II, of two steps each.
  const told = broadcastFor(live, memory)["control"]?.[0] ?? NaN;
  const next = controls.map((control, i) => control - told - (deltas[i] ?? NaN) / (2 * 0.1));
  serverRuleOf({ choice, updates: 4 }, one)?.step(
    new Float32Array(1),
    Float64Array.from([-0.6]),
    { learningRate: 1, momentum: 0, beta2: 0, tau: 1, epsilon: 1 },
    { first: memory, second: Float32Array.from([-2.4 / 2]) },
  );
  expect(next.reduce((sum, control) => sum + control, 0)).toBeCloseTo(8, 5);
  expect(memory[0]).toBeCloseTo(8, 5);
});

test("without a strategy that remembers something there is no such rule", () => {
  for (const strategy of ["none", "ditto", "fedper", "moon"] as const) {
    const choice = { ...v.parse(planSchema, { epochs: 1, batchSize: 1, learningRate: 1 }), strategy };
    expect(serverRuleOf({ choice, updates: 1 }, model)).toBeUndefined();
  }
  expect(Object.keys(SERVER_OPTIMIZERS)).not.toContain("feddyn");
});

const SCAFFOLD = { population: 10, strategy: "scaffold" };
test.each([
  [{ population: 2 }, "choose population"],
  // Three updates end the round, and four clients are drawn for that.
  [{ population: 3 }, "choose population, of 4 or more"],
  [{ population: 10, overSelection: 3, goalCount: 4 }, "of 12 or more"],
  [{ serverOptimizer: "adam" }, "serverOptimizer sgd"],
  [{ aggregation: "krum", goalCount: 10 }, "aggregation mean"],
  [{ noise: 1, updateClip: 1, evaluators: 0 }, "noise 0"],
  [{ batchNorm: "local" }, "batchNorm average or frozen"],
  [{ topology: "gossip" }, "topology central"],
  [{ secure: true, codec: "int8", updateClip: 1 }, "secure false"],
  [{ codec: "int8" }, "codec float32"],
  [{ clipQuantile: 0.5, updateClip: 1 }, "clipQuantile 0"],
  [{ proximal: 0.1 }, "proximal 0"],
  [{ mode: "async" }, "mode sync"],
])("SCAFFOLD with %o is refused in words", (more, words) => {
  expect(liveConflict(v.parse(roundConfigSchema, SCAFFOLD))).toBeUndefined();
  expect(liveConflict(v.parse(roundConfigSchema, { ...SCAFFOLD, ...more }))).toContain(words);
});

const TAKEN = { prior: 0, population: 10, strategy: "feddyn" };
test.each([
  [{ population: 2 }, "choose population"],
  [{ population: 0 }, "choose population"],
  [{ prior: 100 }, "prior 0"],
  [{ serverLearningRate: 0.5 }, "serverLearningRate 1"],
  [{ serverOptimizer: "momentum" }, "serverOptimizer sgd"],
  [{ aggregation: "median" }, "aggregation mean"],
  [{ aggregation: "geometric-median" }, "aggregation mean"],
  [{ noise: 1, updateClip: 1, evaluators: 0 }, "noise 0"],
  [{ proximal: 0.1 }, "proximal 0"],
  [{ batchNorm: "local" }, "batchNorm average or frozen"],
  [{ alignment: 100, learningRate: 0.02 }, "would diverge"],
  [{ mode: "async" }, "mode sync"],
  [{ layers: "head" }, "layers all"],
  [{ patience: 1 }, "patience 0"],
  [{ codec: "topk" }, "codec float32"],
  [{ secure: true, codec: "int4", updateClip: 1 }, "codec int8"],
  [{ clipQuantile: 0.5, updateClip: 1 }, "clipQuantile 0"],
])("FedDyn with %o is refused in words", (more, words) => {
  expect(liveConflict(v.parse(roundConfigSchema, TAKEN))).toBeUndefined();
  expect(liveConflict(v.parse(roundConfigSchema, { ...TAKEN, ...more }))).toContain(words);
});
