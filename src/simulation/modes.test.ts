import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { expectClose } from "../federation/strategies/testing";
import { MODELS, summarize } from "../model/model";
import { shareOut } from "./cohort";
import { parseLabConfig, type LabConfig, type LabInput } from "./config";
import { durationOf } from "./durations";
import oracle from "./modes-oracle.json";
import { LabPool, type LabData, type LabWorkerApi } from "./pool";
import { roundOf, SimulatedRound } from "./simulated-round";
import { runLab, type LabRun, type LabState } from "./simulation";

// @module-tag slow

/**
 * Asynchronous and gossiping runs, whole but for their trainings: clients with quadratic losses in the first of a model's weights, as
 * tools/modes-oracle.py has them in NumPy.
 */
const { parameters } = summarize(MODELS["mnist-2nn"]);
const EXAMPLES = oracle.fedbuff.examples;

const config = (changes: Partial<LabInput>): LabConfig =>
  parseLabConfig({
    dataset: "mnist",
    model: "mnist-2nn",
    clients: EXAMPLES.length,
    partition: "natural",
    fraction: 0.4,
    rounds: 6,
    epochs: 1,
    batchSize: 5,
    learningRate: 0.1,
    ...changes,
  });

/** Data of which client k has as many as the oracle says: owners are dealt out at random. */
const DATA: LabData = (() => {
  const owners = (sizes: readonly number[]): Uint32Array =>
    Uint32Array.from(sizes.flatMap((size, owner) => Array<number>(size).fill(owner + 1)));
  const data = (clients: Uint32Array): LabData["train"] => ({
    pixels: new Uint8Array(0),
    labels: new Uint8Array(clients.length),
    clients,
  });
  const { train } = shareOut(config({}), data(owners(EXAMPLES.map((_, owner) => owner + 1))));
  const sizes = EXAMPLES.map((_, owner) => EXAMPLES[train.findIndex(({ length }) => length === owner + 1)] ?? NaN);
  const half = data(owners(sizes));
  expect(shareOut(config({}), half).train.map(({ length }) => length)).toEqual(EXAMPLES);
  return { train: half, test: { pixels: new Uint8Array(0), labels: new Uint8Array(4) } };
})();

interface Quadratics {
  A: number[][][];
  b: number[][];
  steps: number;
  lr: number;
}

/** A worker whose clients descend A_k (w - b_k); who trains is told by the number of examples. The "accuracy" is the first weight. */
function workerOf({ A, b, steps, lr }: Quadratics): LabWorkerApi {
  return {
    start: () => Promise.resolve(),
    async train({ weights, train }) {
      // Not in the order in which they were asked.
      await new Promise((resolve) => setTimeout(resolve, 5 - train.length));
      const k = EXAMPLES.indexOf(train.length);
      const [rows, target] = [A[k] ?? [], b[k] ?? []];
      let w = [...weights.subarray(0, target.length)];
      for (let step = 0; step < steps; step++) {
        const from = w;
        const slope = rows.map((row) => row.reduce((sum, a, i) => sum + a * ((from[i] ?? 0) - (target[i] ?? 0)), 0));
        w = from.map((value, i) => value - lr * (slope[i] ?? 0));
      }
      const delta = new Float32Array(parameters);
      w.forEach((value, i) => (delta[i] = value - (weights[i] ?? 0)));
      const heldOut = { examples: 0, loss: 0, accuracy: 0, confusion: [] };
      return { delta, loss: 1, accuracy: 0.5, initialLoss: null, norms: null, heldOut };
    },
    evaluate: ({ weights, examples }) =>
      Promise.resolve({ examples: examples.length, loss: 1, accuracy: weights[0] ?? 0, confusion: [[1]] }),
  };
}

async function run(
  config: LabConfig,
  quadratics: Quadratics,
  { workers = 3, ...given }: { workers?: number } & Pick<LabRun, "resume" | "commit"> = {},
): Promise<LabState[]> {
  const states: LabState[] = [];
  const pool = new LabPool(Array.from({ length: workers }, () => workerOf(quadratics)));
  await runLab({
    config,
    data: DATA,
    pool,
    start: new Float32Array(parameters),
    ...given,
    onRound: (state) => void states.push(structuredClone(state)),
    now: () => 0,
  });
  return states;
}

test("an asynchronous run is NumPy's FedBuff: who counts when, how late, and what comes of it", async () => {
  const { K, maxStaleness, clientSeconds, path } = oracle.fedbuff;
  const own = { mode: "async", overSelection: 3, maxStaleness, clientSeconds, rounds: path.length } as const;
  const [, ...states] = await run(config({ ...own, fraction: K / EXAMPLES.length }), oracle.fedbuff);
  expect(states).toHaveLength(path.length);
  states.forEach(({ weights, rounds }, i) => {
    const expected = path[i] as (typeof path)[0];
    const round = rounds.at(-1);
    expect(round?.time).toBe(expected.seconds);
    expect(round?.cohort).toEqual(expected.clients);
    expect(round?.staleness).toEqual(expected.staleness);
    expectClose(weights.subarray(0, 4), expected.weights, 1e-5);
  });
});

test("clients that gossip have NumPy's models, and their mean and spread are told", async () => {
  const { neighbours, gossipSteps, schedule, path } = oracle.gossip;
  const own = { topology: "gossip", neighbours, gossipSteps, schedule, rounds: path.length } as const;
  const [, ...states] = await run(config(own), oracle.gossip);
  expect(states).toHaveLength(path.length);
  states.forEach(({ models = [], rounds }, i) => {
    const expected = path[i] as number[][];
    models.forEach((model, k) => {
      expectClose(model.subarray(0, 4), expected[k] ?? [], 1e-5);
    });
    const firsts = expected.map(([first]) => first ?? NaN);
    const mean = firsts.reduce((a, b) => a + b, 0) / firsts.length;
    const { testAccuracy, spread } = rounds.at(-1) ?? {};
    expect(testAccuracy).toBeCloseTo(mean, 4);
    expect(spread?.least).toBeCloseTo(Math.min(...firsts), 4);
    expect(spread?.most).toBeCloseTo(Math.max(...firsts), 4);
    const square = firsts.reduce((sum, value) => sum + (value - mean) ** 2, 0) / firsts.length;
    expect(spread?.deviation).toBeCloseTo(Math.sqrt(square), 4);
  });
});

/** All of a state, each vector by its digest. */
const digestOf = (state: LabState | undefined): string =>
  JSON.stringify(state, (_, value: unknown) => {
    if (ArrayBuffer.isView(value)) {
      return createHash("sha256")
        .update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
        .digest("hex");
    }
    return value instanceof Map ? [...(value as Map<unknown, unknown>)] : value;
  });

test.each([
  { mode: "async", durations: "exponential", dropOut: 0.2, overSelection: 2, deadlineSeconds: 200 },
  { mode: "async", durations: "log-normal", codec: "int8", serverOptimizer: "adam", tolerance: 0.001 },
  { topology: "gossip", dropOut: 0.3 },
] as const)("%o is the same with one worker, and goes on from any round to the same bits", async (changes) => {
  const one = config({ ...changes, rounds: 8 });
  const straight = await run(one, oracle.fedbuff);
  const alone = await run(one, oracle.fedbuff, { workers: 1 });
  expect(alone.map(digestOf)).toEqual(straight.map(digestOf));
  for (const from of [0, 3, 6]) {
    const resumed = await run(one, oracle.fedbuff, { resume: structuredClone(straight[from] as LabState) });
    expect(digestOf(resumed.at(-1))).toBe(digestOf(straight.at(-1)));
  }
  const other = await run(config({ ...changes, rounds: 8, seed: 2 }), oracle.fedbuff);
  expect(digestOf(other.at(-1))).not.toBe(digestOf(straight.at(-1)));
});

test("four clients that mix until all have the mean are FedAvg of everybody", async () => {
  const all = { clients: 4, fraction: 1, partition: "iid" } as const;
  const server = (await run(config(all), oracle.gossip)).at(-1);
  const none = (await run(config({ ...all, topology: "gossip" }), oracle.gossip)).at(-1);
  for (const model of none?.models ?? []) expectClose(model.subarray(0, 4), [...(server?.weights ?? [])].slice(0, 4));
  expect(none?.rounds.at(-1)?.spread?.deviation).toBeLessThan(1e-6);
});

test("who is too slow for its deadline comes too late, and who left holds a round up until then", async () => {
  const clientSeconds = [1, 1, 1, 50, 1];
  const late = await run(config({ fraction: 1, clientSeconds, deadlineSeconds: 20, rounds: 2 }), oracle.fedbuff);
  expect(late.at(-1)?.rounds.map(({ left, time }) => [left, time])).toEqual([
    [1, 20],
    [1, 40],
  ]);
  const prompt = await run(config({ fraction: 1, clientSeconds, rounds: 2 }), oracle.fedbuff);
  expect(prompt.at(-1)?.rounds.map(({ left, time }) => [left, time])).toEqual([
    [0, 50],
    [0, 100],
  ]);
});

test("a round that is given up ends the trainings that it began, and not those of the rounds before", () => {
  const late = config({ mode: "async", fraction: 0.6, deadlineSeconds: 10 });
  const round = new SimulatedRound(2, roundOf(late, late, 3), 1000);
  round.carry("1/0", 1);
  round.join("2/0");
  round.join("2/1");
  expect(round.take("2/1", 5000)).toBe(true);
  round.at(11_000);
  expect(round.life).toMatchObject({ state: "abandoned", endedAt: 11_000 });
  expect(["1/0", "2/0", "2/1"].map((id) => round.isTraining(id))).toEqual([true, false, false]);
});

test("durations have their mean whatever their distribution, and the deviation that a textbook says", () => {
  const cases = [
    ["equal", 0],
    ["exponential", 1],
    // sqrt(pi / 2 - 1), and sqrt(exp(sigma^2) - 1) for sigma 0.5.
    ["half-normal", 0.7555],
    ["log-normal", 0.5329],
  ] as const;
  for (const [durations, deviation] of cases) {
    const own = config({ durations, durationSpread: 0.5, meanDuration: 100 });
    const drawn = Array.from({ length: 20_000 }, (_, i) => durationOf(own, 0, i, 3) / 100_000);
    const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
    const square = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / drawn.length;
    expect(Math.abs(mean - 1), durations).toBeLessThan(0.03);
    expect(Math.abs(Math.sqrt(square) - deviation), durations).toBeLessThan(0.03);
  }
  const slow = config({ durations: "exponential", durationPer: "client" });
  expect(durationOf(slow, 3, 1, 0)).toBe(durationOf(slow, 3, 9, 4));
  expect(durationOf(slow, 3, 1, 0)).not.toBe(durationOf(slow, 4, 1, 0));
});

test("what does not go with a mode is refused in words", () => {
  const cases: [Partial<LabInput>, string][] = [
    [{ mode: "async", strategy: "scaffold" }, "one and the same base"],
    [{ mode: "async", schedule: [[0]] }, "whoever has nothing to do trains"],
    [{ mode: "async", topology: "gossip" }, "no server that could buffer"],
    [{ mode: "async", secure: true, codec: "int8", updateClip: 1 }, "choose a synchronous, central round"],
    [{ mode: "async", noise: 1, updateClip: 1 }, "a synchronous, central round"],
    [{ topology: "gossip", strategy: "scaffold" }, "average with their neighbours"],
    [{ topology: "gossip", aggregation: "median" }, "a robust average needs every update in one place"],
    [{ topology: "gossip", aggregation: "q-fair" }, "average with their neighbours"],
    [{ topology: "gossip", serverOptimizer: "adam" }, "average with their neighbours"],
    [{ topology: "gossip", prior: 10 }, "nobody bounds updates"],
    [{ topology: "gossip", tolerance: 0.1 }, "nobody bounds updates"],
    [{ topology: "gossip", codec: "int8" }, "choose codec float32"],
    [{ topology: "gossip", attack: "sign-flip", attackers: 0.2 }, "choose attack none"],
    [{ topology: "gossip", personalEpochs: 1, heldOut: 0.5 }, "choose personalEpochs 0"],
    [{ topology: "gossip", neighbours: 4 }, "choose fewer neighbours"],
    [{ strategy: "fedrep", proximal: 0.1 }, "FedProx would move what is held"],
    [{ strategy: "ditto", strategyOptions: { lambda: 20 }, learningRate: 0.1 }, "own models would diverge"],
    // With its default, 0.1.
    [{ strategy: "ditto", learningRate: 10, proximal: 0.1 }, "own models would diverge"],
    [{ clientSeconds: [] }, "clientSeconds: "],
    [{ meanDuration: 0 }, "meanDuration: "],
  ];
  for (const [changes, words] of cases) {
    expect(() => config({ partition: "iid", ...changes }), JSON.stringify(changes)).toThrow(words);
  }
});

test("a run says which code made which of its rounds, also where it has gone on with other code", async () => {
  const one = config({ rounds: 4 });
  const from = async (resume: LabState | undefined, commit: string): Promise<LabState[]> =>
    run(one, oracle.fedbuff, { resume: structuredClone(resume), commit });
  const first = await from(undefined, "a");
  expect(first.at(-1)?.commits).toEqual([{ fromRound: 1, commit: "a" }]);
  const second = await from(first[2], "b");
  expect(second.at(-1)?.commits).toEqual([
    { fromRound: 1, commit: "a" },
    { fromRound: 3, commit: "b" },
  ]);
  const { commits: _, ...old } = first[2] as LabState;
  expect((await from(old, "b")).at(-1)?.commits).toEqual([
    { fromRound: 1, commit: null },
    { fromRound: 3, commit: "b" },
  ]);
  // Code that was stopped in its first round has made none; the same code as before is no other.
  expect(
    (await from({ ...old, commits: [...(first[2]?.commits ?? []), { fromRound: 3, commit: "b" }] }, "a")).at(-1)
      ?.commits,
  ).toEqual([{ fromRound: 1, commit: "a" }]);
});

test("a run whose training diverges ends there, keeps its rounds, and leaves its workers to the next", async () => {
  let round = 0;
  let underWay = 0;
  const worker = workerOf(oracle.fedbuff);
  const diverging: LabWorkerApi = {
    ...worker,
    async train(task) {
      underWay += 1;
      try {
        if (round === 2 && task.train.length === Math.max(...EXAMPLES)) {
          throw Object.assign(new Error("Training diverged in batch 1 (loss NaN)."), { name: "DivergedError" });
        }
        return await worker.train(task);
      } finally {
        underWay -= 1;
      }
    },
  };
  const states: LabState[] = [];
  const pool = new LabPool([diverging, diverging]);
  const all = config({ fraction: 1 });
  const state = await runLab({
    config: all,
    data: DATA,
    pool,
    start: new Float32Array(parameters),
    onRound: (state) => {
      round = state.round;
      states.push(structuredClone(state));
    },
  });
  expect(state).toMatchObject({ ended: "diverged", round: 2 });
  expect(state.rounds).toHaveLength(2);
  expect(states.at(-1)?.ended).toBe("diverged");
  await pool.giveUp();
  expect(underWay).toBe(0);
  // Nothing waits for a worker any more, and each has come back.
  const examples = new Uint32Array(2000);
  expect((await pool.evaluate({ weights: new Float32Array(1), of: "test", examples })).examples).toBe(2000);
  // Another error is nobody's end.
  const broken = new LabPool([{ ...worker, train: () => Promise.reject(new TypeError("broken")) }]);
  await expect(runLab({ config: all, data: DATA, pool: broken, start: new Float32Array(parameters) })).rejects.toThrow(
    "broken",
  );
});
