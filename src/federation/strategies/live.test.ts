import { expect, test } from "vitest";
import * as v from "valibot";
import { planSchema, roundConfigSchema } from "../protocol";
import { isKept, keptOf } from "../round/rule";
import { MODELS, summarize } from "../../model/model";
import { encodeTrained } from "../trained-update";
import { UpdateReader } from "../update";
import {
  canTrain,
  clientContextOf,
  judgedWeights,
  liveConflict,
  liveRunOf,
  LIVE_NAMES,
  metadataOf,
  ownWeights,
  personalSpans,
  vectorsFor,
  type KeptState,
  type LiveName,
} from "./live";
import { examplesMean, type StrategyUpdate } from "./strategy";
import { cohorts, lr, paths, slope, start, steps } from "./testing";

/** NumPy's federations of quadratic clients (tools/strategies-oracle.py), run as a live round runs: FedAvg's server, and a state on each device. */
const length = start.length;
/** A body of three numbers and a head of the others. */
const BODY = 3;
const model = {
  parameters: length,
  tensors: [
    { name: "body/kernel", shape: [BODY], size: BODY, offset: 0, trainable: true },
    { name: "head/kernel", shape: [length - BODY], size: length - BODY, offset: BODY, trainable: true },
  ],
};
const plan = v.parse(planSchema, { epochs: 1, batchSize: 10, learningRate: lr });

function descend(client: number, from: Float32Array, hook?: (gradient: Float32Array, weights: Float32Array) => void) {
  const w = Float32Array.from(from);
  for (let step = 0; step < steps; step++) {
    const gradient = slope(client, w);
    hook?.(gradient, w);
    w.forEach((value, i) => (w[i] = value - lr * (gradient[i] ?? 0)));
  }
  return w;
}

/** Every round of NumPy's cohorts, with what each device keeps. */
function run(strategy: LiveName, options: Record<string, number>) {
  const devices = new Map<number, KeptState>();
  let weights = Float32Array.from(start);
  return cohorts.map((cohort) => {
    const updates = cohort.map((client): StrategyUpdate => {
      // Steps of one epoch each, as many as NumPy takes in all.
      const epochs = steps - (strategy === "fedrep" ? (options["headEpochs"] ?? 10) : 0);
      const round = { ...v.parse(planSchema, { ...plan, ...options }), strategy, epochs };
      const live = liveRunOf(round, model);
      if (!live) throw new Error("no strategy");
      const told = { global: weights, broadcast: {}, state: vectorsFor(live, devices.get(client)) };
      const context = clientContextOf(live, told, { plan: round, examples: 10 });
      expect(context.steps).toBe(steps);
      const { client: part } = live.strategy;
      const trained = descend(client, part.beforeTraining?.(context) ?? weights, part.gradientHook?.(context));
      const after = part.afterTraining?.(context, trained);
      const own = part.personal && {
        [part.personal.name]: descend(client, part.personal.start(context), part.personal.gradientHook(context)),
      };
      const vectors = { ...context.state, ...after?.state, ...own };
      expect(Object.keys(vectors)).toEqual(Object.keys(live.strategy.live.keeps(live.context)));
      devices.set(client, { choice: round, vectors });
      const delta = after?.delta ?? trained.map((value, i) => value - (weights[i] ?? 0));
      for (const { offset, size } of personalSpans(round, model)) {
        expect([...delta.subarray(offset, offset + size)]).toEqual(Array(size).fill(0));
      }
      return { client, examples: 10, delta, sent: {} };
    });
    const mean = examplesMean(updates, length);
    weights = weights.map((value, i) => value + (mean[i] ?? NaN));
    return { weights, own: cohort.map((client) => Object.values(devices.get(client)?.vectors ?? {})[0]) };
  });
}

const expectNear = (found: ArrayLike<number> | undefined, expected: readonly number[] | undefined): void => {
  expect(found).toHaveLength(expected?.length ?? NaN);
  expected?.forEach((value, i) => expect(found?.[i]).toBeCloseTo(value, 4));
};

test.each([
  ["fedper", {}],
  ["fedrep", { headEpochs: paths.fedrep.headEpochs }],
] as const)("a live round of %s shares NumPy's body, and leaves NumPy's heads on the devices", (name, options) => {
  run(name, options).forEach(({ weights, own }, round) => {
    const { body, heads } = paths[name].path[round] ?? { body: [], heads: [] };
    expectNear(weights, [...body, ...start.slice(BODY)]);
    own.forEach((head, place) => expectNear(head, heads[place]));
  });
});

test("a live round of Ditto shares NumPy's model, and leaves NumPy's own ones on the devices", () => {
  run("ditto", { lambda: paths.ditto.lambda }).forEach(({ weights, own }, round) => {
    expectNear(weights, paths.ditto.path[round]?.global);
    own.forEach((model, place) => expectNear(model, paths.ditto.path[round]?.own[place]));
  });
});

const choice = { ...v.parse(planSchema, plan), strategy: "fedper" as const };
const shared = Float32Array.from({ length }, (_, i) => i);
const head = new Float32Array(length - BODY).fill(7);

test("a device plays with its own layers on a version that its rounds have made, and with the shared ones on any other", () => {
  const kept: KeptState = { choice, vectors: { head } };
  const expected = [...shared.subarray(0, BODY), ...head];
  const of = (metadata: Record<string, string>) => ownWeights(kept, model, { weights: shared, metadata });
  expect([...(of({ strategy: "fedper", personalLayers: "1" }) ?? [])]).toEqual(expected);
  for (const other of [{}, { strategy: "fedper", personalLayers: "2" }, { strategy: "ditto", personalLayers: "0" }]) {
    expect(of(other)).toBeNull();
  }
  expect(ownWeights(undefined, model, { weights: shared, metadata: metadataOf(choice) })).toBeNull();
  // What is kept of another network is not put into this one, and the shared weights stay what they were.
  const wrong = { ...kept, vectors: { head: new Float32Array(1) } };
  expect(ownWeights(wrong, model, { weights: shared, metadata: metadataOf(choice) })).toBeNull();
  expect([...shared]).toEqual(Array.from({ length }, (_, i) => i));
});

test("a candidate is judged with a device's own layers where its round leaves as many, and never by a model of its own", () => {
  const kept: KeptState = { choice, vectors: { head } };
  expect(judgedWeights(kept, 1, model, shared)[BODY]).toBe(7);
  for (const layers of [0, 2]) expect(judgedWeights(kept, layers, model, shared)).toBe(shared);
  const own = { choice: { ...choice, strategy: "ditto" as const }, vectors: { own: new Float32Array(length) } };
  expect(judgedWeights(own, 1, model, shared)).toBe(shared);
});

test.each([
  [{ strategy: "fedrep", proximal: 0.01 }, { strategy: "fedper", proximal: 0.01 }, "FedProx would move what is held"],
  [{ strategy: "fedrep", proximal: 0.01 }, { strategy: "fedrep", proximal: 0 }, "FedProx would move what is held"],
] as const)("%o is refused in words, and %o is not", (refused, taken, words) => {
  expect(liveConflict(v.parse(roundConfigSchema, refused))).toContain(words);
  expect(liveConflict(v.parse(roundConfigSchema, taken))).toBeUndefined();
});

test("a round of Ditto whose pull alone takes an own model further from the shared one with every step is refused", () => {
  const seen = { diverges: 0, holds: 0 };
  for (const lambda of [0.1, 10, 19, 20, 21, 100]) {
    for (const learningRate of [0.01, 0.1, 1]) {
      for (const proximal of [0, 1]) {
        // Steps of gradient descent on F(v) = (lambda + proximal) / 2 |v - w_t|^2, which is what is left where the examples say nothing.
        let apart = 1;
        for (let step = 0; step < 100; step++) apart -= learningRate * (lambda + proximal) * apart;
        const diverges = Math.abs(apart) >= 1;
        seen[diverges ? "diverges" : "holds"] += 1;
        const config = v.parse(roundConfigSchema, { strategy: "ditto", lambda, learningRate, proximal });
        const said = liveConflict(config);
        if (diverges) expect(said, `${lambda} ${learningRate} ${proximal}`).toContain("own models would diverge");
        else expect(said, `${lambda} ${learningRate} ${proximal}`).toBeUndefined();
      }
    }
  }
  expect(Math.min(seen.diverges, seen.holds)).toBeGreaterThan(5);
});

test("MOON trains on WebAssembly alone, and the others on both", () => {
  const able = (strategy: LiveName | "none") =>
    (["wasm", "webgpu"] as const).filter((backend) => canTrain({ strategy }, backend));
  expect(able("moon")).toEqual(["wasm"]);
  for (const name of LIVE_NAMES.filter((name) => name !== "moon")) expect(able(name)).toEqual(["wasm", "webgpu"]);
});

test("a round keeps the last layers of a strategy that leaves them to its clients, and of no other", () => {
  const compact = summarize({
    name: "two",
    inputShape: [8, 8, 1],
    layers: [
      { kind: "flatten", name: "flat" },
      { kind: "dense", name: "first", units: 4, activation: "relu" },
      { kind: "dense", name: "last", units: 2, activation: "softmax" },
    ],
  });
  const kept = (said: object): string[] => {
    const config = v.parse(roundConfigSchema, said);
    return compact.tensors.filter((one) => isKept(compact, one, keptOf(config))).map(({ name }) => name);
  };
  expect(kept({ strategy: "fedper" })).toEqual(["last/kernel", "last/bias"]);
  expect(kept({ strategy: "fedrep", personalLayers: 2 })).toHaveLength(4);
  for (const strategy of ["none", "ditto", "moon"]) expect(kept({ strategy, personalLayers: 1 })).toEqual([]);
});

test.each(["float32", "int8", "topk"] as const)(
  "an update in %s holds nothing of the own layers, not even what was left of them before",
  (codec) => {
    const compact = summarize(MODELS.compact);
    const whole = new Float32Array(compact.parameters).fill(0.5);
    const delta = whole.slice();
    for (const { offset, size } of personalSpans(choice, compact)) delta.fill(0, offset, offset + size);
    const assignment = {
      task: "expressions-compact",
      id: "00000000-0000-4000-8000-000000000000",
      round: 1,
      checkpoint: { sha256: "0".repeat(64), version: 1, bytes: 1 },
      plan: { ...choice, codec, topShare: 0.5 },
      deadline: 0,
    };
    const measured = { examples: 5, loss: 1, accuracy: 0.5 };
    const trained = {
      delta,
      examples: 5,
      train: measured,
      heldOut: measured,
      initialLoss: null,
      trainingMs: 1,
      backend: "wasm",
    } as const;
    const left = codec === "float32" ? undefined : whole;
    const { file, residual } = encodeTrained(assignment, trained, { left, seed: 1, bytesDown: 0 });
    const reader = new UpdateReader(compact);
    const sent = new Float32Array(compact.parameters);
    for (const { start, values } of reader.push(file)) sent.set(values, start);
    reader.finish();
    // The last layer of `compact`: 64 x 7 weights and 7 biases.
    const head = 64 * 7 + 7;
    expect(sent.subarray(-head).every((value) => value === 0)).toBe(true);
    expect(sent.subarray(0, -head).some((value) => value !== 0)).toBe(true);
    expect(residual?.subarray(-head).every((value) => value === 0) ?? true).toBe(true);
  },
);
