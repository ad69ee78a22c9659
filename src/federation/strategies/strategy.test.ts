import { expect, test } from "vitest";
import * as v from "valibot";
import { STRATEGIES, type AnyStrategy } from "./registry";
import type { ClientContext, StrategyContext, StrategyUpdate, Vectors } from "./strategy";
import { A, cohorts, lr, paths, quadratic, slope, start, steps } from "./testing";

/**
 * Federations of clients with quadratic losses, which tools/strategies-oracle.py runs in NumPy as the papers write the algorithms down;
 * here the same clients go through the strategies' interface.
 */
const model = quadratic;

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
      // Of one step each, and as many as NumPy takes in all.
      const planned = steps - (strategy.client.epochs?.(known, 0) ?? 0);
      const epochs = strategy.client.epochs?.(known, planned) ?? steps;
      const told = { global: weights, broadcast, state, learningRate: lr };
      const context: ClientContext<never> = { ...known, ...told, epochs, steps: epochs };
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

test.each([
  ["fedper", {}],
  ["fedrep", { headEpochs: paths.fedrep.headEpochs }],
] as const)("%s's shared body and its clients' own heads go where NumPy's go", (name, options) => {
  const { path } = paths[name];
  const rounds = run(name, options);
  // Nobody sends a head: the server's stays as it was.
  expectPath(
    rounds,
    path.map(({ body }) => [...body, ...start.slice(3)]),
  );
  rounds.forEach(({ clients }, round) => {
    cohorts[round]?.forEach((client, place) => {
      clients.get(client)?.["head"]?.forEach((value, i) => {
        expect(value).toBeCloseTo(path[round]?.heads[place]?.[i] ?? NaN, 4);
      });
    });
  });
});

test("Power-of-Choice trains those of its candidates that NumPy chooses", () => {
  const { server } = STRATEGIES.get("power-of-choice") as AnyStrategy;
  const { choices, path } = paths["power-of-choice"];
  const context = { options: { choices } as never, model, clients: A.length };
  let weights = Float32Array.from(start);
  for (const { candidates, losses, chosen, global } of path) {
    expect(server.candidates?.(context, chosen.length)).toBe(candidates.length);
    const selected = server.select?.(context, candidates, losses).slice(0, chosen.length);
    expect(selected?.sort((a, b) => a - b)).toEqual(chosen);
    const updates = chosen.map((client): StrategyUpdate => {
      const trained = descend(client, weights);
      // All count alike, whatever they have.
      const examples = 10 * (client + 1);
      return { client, examples, delta: trained.map((value, i) => value - (weights[i] ?? 0)), sent: {} };
    });
    const { delta } = server.aggregate(context, updates, {});
    weights = weights.map((value, i) => value + (delta[i] ?? 0));
    weights.forEach((value, i) => expect(value).toBeCloseTo(global[i] ?? NaN, 4));
  }
});
