import { expect, test } from "vitest";
import { seededRandom, shuffle } from "../../base/random";
import type { ModelSummary } from "../../model/model";
import { stepModel } from "./aggregate";
import oracle from "./oracle.json";
import {
  addDistances,
  bulyanBlock,
  bulyanSelection,
  geometricMedianWeights,
  meanBlock,
  medianBlock,
  multiKrum,
  trimmedMeanBlock,
  weightedBlock,
} from "./robust";
import { extrapolation, hasMoments, initialMoments, SERVER_OPTIMIZERS, stepServer } from "./server-optimizers";
import { divisorOf, linearWeight, type LinearRule } from "./weights";

/** Every expected number here was computed by tools/strategies-oracle.py, with NumPy. */
const rows = oracle.deltas.map((row) => Float32Array.from(row));
const length = rows[0]?.length ?? 0;

function expectClose(found: ArrayLike<number>, expected: readonly number[], tolerance = 1e-6): void {
  expect(found).toHaveLength(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((found[i] ?? NaN) - value), `at ${i}`).toBeLessThan(tolerance * Math.max(1, Math.abs(value)));
  });
}

test.each(SERVER_OPTIMIZERS.filter((kind) => kind !== "fedexp"))(
  "%s steps as NumPy does, round after round",
  (kind) => {
    const { rule, start, deltas } = oracle.optimizers;
    const results = { ...oracle.optimizers.results, nesterov: oracle.more.nesterov };
    const optimizer = { kind, ...rule };
    const weights = Float32Array.from(start);
    const moments = hasMoments(optimizer) ? initialMoments(length, optimizer) : null;
    deltas.forEach((delta, round) => {
      stepServer(weights, Float64Array.from(delta), moments, optimizer, false);
      expectClose(weights, results[kind][round] ?? []);
    });
  },
);

test("batch-norm statistics are averaged, whatever the optimizer", () => {
  const optimizer = { kind: "adam", ...oracle.optimizers.rule } as const;
  const [statistic, parameter] = [true, false].map((plain) => {
    const weights = Float32Array.from([1]);
    stepServer(weights, Float64Array.from([0.5]), initialMoments(1, optimizer), optimizer, plain);
    return weights[0];
  });
  expect(statistic).toBe(1.5);
  expect(parameter).not.toBe(1.5);
});

test.each(["fedavg", "clipped", "stale", "qfedavg"] as const)("%s averages as NumPy does", (name) => {
  const { examples, loss, staleness, clip, q, lr, results } = oracle.linear;
  const rule: LinearRule = {
    q: name === "qfedavg" ? q : null,
    clientLearningRate: lr,
    clip: name === "clipped" ? clip : 0,
    equally: false,
    steps: null,
  };
  const sum = new Float64Array(length);
  let total = 0;
  rows.forEach((row, k) => {
    const facts = {
      examples: examples[k] ?? 0,
      norm: Math.hypot(...row),
      initialLoss: loss[k] ?? null,
      staleness: name === "stale" ? (staleness[k] ?? 0) : 0,
    };
    const { weight, denominator } = linearWeight(facts, rule);
    total += denominator;
    row.forEach((value, i) => {
      sum[i] = (sum[i] ?? 0) + weight * value;
    });
  });
  expectClose(
    sum.map((value) => value / total),
    results[name],
  );
});

test("FedNova weighs by steps as NumPy does", () => {
  const { examples } = oracle.linear;
  const { epochs, batchSize, result } = oracle.more.fednova;
  const rule: LinearRule = { q: null, clientLearningRate: 0.1, clip: 0, equally: false, steps: { epochs, batchSize } };
  const sum = new Float64Array(length);
  const totals = { examples: 0, denominator: 0 };
  rows.forEach((row, k) => {
    const facts = { examples: examples[k] ?? 0, norm: Math.hypot(...row), initialLoss: null, staleness: 0 };
    const { weight, denominator } = linearWeight(facts, rule);
    totals.examples += facts.examples;
    totals.denominator += denominator;
    row.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + weight * value));
  });
  const divisor = divisorOf("fednova", totals);
  expectClose(
    sum.map((value) => value / divisor),
    result,
  );
});

test("FedExP steps as far as NumPy does", async () => {
  const { step, weights: expected } = oracle.more.fedexp;
  const { start, rule } = oracle.optimizers;
  const model: ModelSummary = {
    ...{ parameters: length, inputs: 1, classes: 1 },
    tensors: [{ name: "w", shape: [length], offset: 0, size: length, trainable: true }],
  } as unknown as ModelSummary;
  const weights = Float32Array.from(start);
  const mean = Float64Array.from({ length }, (_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0) / rows.length);
  const meanSquare = rows.reduce((sum, row) => sum + Math.hypot(...row) ** 2, 0) / rows.length;
  await stepModel(model, weights, {
    optimizer: { ...rule, kind: "fedexp", learningRate: 1 },
    average: (from, count) => Promise.resolve(mean.slice(from, from + count)),
    ...{ share: 1, keep: () => false, moments: () => Promise.resolve(null), meanSquare },
  });
  expectClose(weights, expected);
  expect(extrapolation(meanSquare, Math.hypot(...mean) ** 2)).toBeCloseTo(step, 6);
  // Updates that agree are stepped by their mean.
  expect(extrapolation(1, 1)).toBe(1);
});

test("the geometric median's three steps are NumPy's, and two liars of eleven do not carry it away", () => {
  const n = rows.length;
  const distances = new Float64Array(n * n);
  addDistances(rows, distances);
  const out = new Float64Array(length);
  weightedBlock(rows, geometricMedianWeights(distances, n), out);
  expectClose(out, oracle.more["geometric-median"].result);
  const far = (v: ArrayLike<number>): number =>
    Math.hypot(...oracle.more["geometric-median"].limit.map((value, i) => value - (v[i] ?? 0)));
  const mean = new Float64Array(length);
  meanBlock(rows, mean);
  expect(far(out)).toBeLessThan(far(mean) / 3);
});

test("q-FedAvg with q = 0 is the plain mean, and says which loss it lacks", () => {
  const rule = { q: 0, clientLearningRate: 0.1, clip: 0, equally: false, steps: null };
  const facts = { examples: 7, norm: 3, initialLoss: 2, staleness: 0 };
  const { weight, denominator } = linearWeight(facts, rule);
  expect(weight).toBeCloseTo(denominator, 12);
  expect(() => linearWeight({ ...facts, initialLoss: null }, rule)).toThrow("needs the loss");
});

test("robust averages give NumPy's numbers, and bear two liars of eleven", () => {
  const { f, results } = oracle.robust;
  const n = rows.length;
  const out = new Float64Array(length);
  const distances = new Float64Array(n * n);
  // In two blocks, as the edge does it.
  addDistances(
    rows.map((row) => row.subarray(0, 4)),
    distances,
  );
  addDistances(
    rows.map((row) => row.subarray(4)),
    distances,
  );
  const pick = (chosen: number[]): Float32Array[] => chosen.map((k) => rows[k] as Float32Array);
  medianBlock(rows, out);
  expectClose(out, results.median);
  trimmedMeanBlock(rows, f, out);
  expectClose(out, results["trimmed-mean"]);
  meanBlock(pick(multiKrum(distances, n, f, 1)), out);
  expectClose(out, results.krum);
  meanBlock(pick(multiKrum(distances, n, f, n - f)), out);
  expectClose(out, results["multi-krum"]);
  bulyanBlock(pick(bulyanSelection(distances, n, f)), f, out);
  expectClose(out, results.bulyan);
  for (const values of Object.values(results)) expect(Math.max(...values.map(Math.abs))).toBeLessThan(5);
});

test("a robust average refuses a cohort that is too small for its promise", () => {
  const distances = new Float64Array(36);
  expect(() => multiKrum(distances, 6, 2, 1)).toThrow("Krum needs 7 updates to bear 2 wrong ones; there are 6.");
  expect(() => bulyanSelection(distances, 6, 1)).toThrow("Bulyan needs 7 updates");
  expect(() => {
    trimmedMeanBlock([new Float32Array(1), new Float32Array(1)], 1, new Float64Array(1));
  }).toThrow("cannot be trimmed");
});

test("which updates Krum and Bulyan keep does not hang on the order in which they came", () => {
  const random = seededRandom(5);
  for (let trial = 0; trial < 50; trial++) {
    const rows = Array.from({ length: 7 }, () => Float32Array.from({ length: 20 }, () => random() - 0.5));
    const kept = (order: readonly number[]): number[][] => {
      const distances = new Float64Array(49);
      addDistances(
        order.map((i) => rows[i] as Float32Array),
        distances,
      );
      const named = (chosen: number[]): number[] => chosen.map((i) => order[i] as number).sort((a, b) => a - b);
      return [named(bulyanSelection(distances, 7, 1)), named(multiKrum(distances, 7, 1, 6))];
    };
    const expected = kept([0, 1, 2, 3, 4, 5, 6]);
    expect(kept(shuffle([0, 1, 2, 3, 4, 5, 6], random))).toEqual(expected);
  }
});
