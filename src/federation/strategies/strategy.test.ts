import { expect, test } from "vitest";
import * as v from "valibot";
import oracle from "./oracle.json";
import { STRATEGIES, type AnyStrategy } from "./registry";
import type { ClientContext, StrategyContext, StrategyUpdate, Vectors } from "./strategy";

/**
 * Federations of clients with quadratic losses, which tools/strategies-oracle.py runs in NumPy as the papers write the algorithms down;
 * here the same clients go through the strategies' interface.
 */
const { A, b, cohorts, start, steps, lr, ...paths } = oracle.more.quadratics;
const length = start.length;
const model: StrategyContext<never>["model"] = {
  parameters: length,
  tensors: [{ name: "w/kernel", shape: [length], size: length, offset: 0, trainable: true }],
};

/** A_i (w - b_i) */
const slope = (client: number, w: Float32Array): Float32Array =>
  Float32Array.from({ length }, (_, row) =>
    (A[client]?.[row] ?? []).reduce((sum, a, i) => sum + a * ((w[i] ?? 0) - (b[client]?.[i] ?? 0)), 0),
  );

function descend(client: number, from: Float32Array, hook?: (gradient: Float32Array, weights: Float32Array) => void) {
  const w = Float32Array.from(from);
  for (let step = 0; step < steps; step++) {
    const gradient = slope(client, w);
    hook?.(gradient, w);
    w.forEach((value, i) => (w[i] = value - lr * (gradient[i] ?? 0)));
  }
  return w;
}

interface Round {
  weights: Float32Array;
  clients: Map<number, Vectors>;
}

/** All rounds of a strategy. */
function run(name: string, given: Record<string, number>): Round[] {
  const strategy = STRATEGIES.get(name) as AnyStrategy;
  const options = v.parse(strategy.options as v.GenericSchema, given) as never;
  const known: StrategyContext<never> = { options, model, clients: A.length };
  let weights = Float32Array.from(start);
  let server = strategy.server.init?.(known) ?? {};
  const clients = new Map<number, Vectors>();
  return cohorts.map((cohort) => {
    const broadcast = Object.fromEntries(Object.entries(server).filter(([key]) => strategy.wire.down.includes(key)));
    const updates = cohort.map((client): StrategyUpdate => {
      const state = clients.get(client) ?? strategy.client.init?.(known) ?? {};
      const context: ClientContext<never> = { ...known, global: weights, broadcast, state, learningRate: lr, steps };
      const from = strategy.client.beforeTraining?.(context) ?? weights;
      const trained = descend(client, from, strategy.client.gradientHook?.(context));
      const after = strategy.client.afterTraining?.(context, trained);
      const { personal } = strategy.client;
      const own = personal && {
        [personal.name]: descend(client, personal.start(context), personal.gradientHook(context)),
      };
      clients.set(client, { ...state, ...after?.state, ...own });
      expect(Object.keys(after?.sent ?? {})).toEqual(strategy.wire.up);
      const delta = after?.delta ?? trained.map((value, i) => value - (weights[i] ?? 0));
      return { client, examples: 10, delta, sent: after?.sent ?? {} };
    });
    const { delta, state } = strategy.server.aggregate(known, updates, server);
    server = state ?? server;
    weights = weights.map((value, i) => value + (delta[i] ?? 0));
    return { weights, clients: new Map(clients) };
  });
}

function expectPath(rounds: Round[], path: readonly (readonly number[])[]): void {
  expect(rounds).toHaveLength(path.length);
  rounds.forEach(({ weights }, round) => {
    weights.forEach((value, i) => {
      expect(Math.abs(value - (path[round]?.[i] ?? NaN)), `round ${round}`).toBeLessThan(1e-4);
    });
  });
}

test("SCAFFOLD goes where NumPy goes", () => {
  const { serverLearningRate, path } = paths.scaffold;
  expectPath(run("scaffold", { serverLearningRate }), path);
});

test("FedDyn goes where NumPy goes", () => {
  const { alpha, path } = paths.feddyn;
  expectPath(run("feddyn", { alpha }), path);
});

test("Ditto's shared model and its clients' own go where NumPy's go", () => {
  const rounds = run("ditto", { lambda: paths.ditto.lambda });
  expectPath(
    rounds,
    paths.ditto.path.map((one) => one.global),
  );
  rounds.forEach(({ clients }, round) => {
    cohorts[round]?.forEach((client, place) => {
      clients.get(client)?.["own"]?.forEach((value, i) => {
        expect(value).toBeCloseTo(paths.ditto.path[round]?.own[place]?.[i] ?? NaN, 4);
      });
    });
  });
});

test("FedPer keeps its clients' last layer to themselves", () => {
  const { client } = STRATEGIES.get("fedper") as AnyStrategy;
  const tensors = ["body/kernel", "head/kernel", "head/bias"].map((name, i) => ({
    name,
    shape: [2],
    size: 2,
    offset: 2 * i,
    trainable: true,
  }));
  const options = { personalLayers: 1 } as never;
  const global = Float32Array.from([1, 2, 3, 4, 5, 6]);
  const context: ClientContext<never> = {
    options,
    model: { parameters: 6, tensors },
    clients: 3,
    global,
    broadcast: {},
    learningRate: 0.1,
    steps: 1,
    state: {},
  };
  expect(client.beforeTraining?.(context)).toEqual(global);
  const after = client.afterTraining?.(context, Float32Array.from([2, 3, 30, 40, 50, 60]));
  expect([...(after?.delta ?? [])]).toEqual([1, 1, 0, 0, 0, 0]);
  const next = client.beforeTraining?.({ ...context, state: after?.state ?? {} });
  expect([...(next ?? [])]).toEqual([1, 2, 30, 40, 50, 60]);
});

test("Power-of-Choice trains those of its candidates whose loss is largest", () => {
  const { server } = STRATEGIES.get("power-of-choice") as AnyStrategy;
  const context = { options: { choices: 2 } as never, model, clients: 10 };
  expect(server.candidates?.(context, 3)).toBe(6);
  expect(server.select?.(context, [4, 7, 1, 9, 0, 2], [0.5, 2, 0.1, 3, 0.4, 1]).slice(0, 3)).toEqual([9, 7, 2]);
});
