import { expect, test } from "vitest";
import * as v from "valibot";
import { seededRandom, shuffle } from "../../base/random";
import { conflictOf, roundConfigSchema } from "../protocol";
import { mostExamples } from "../round/bounds";
import oracle from "../strategies/oracle.json";
import { expectClose } from "../strategies/testing";
import { addDistances } from "./blocks";
import { aggregationOf, AGGREGATION_NAMES, linearOf, robustOf, type Aggregation } from "./registry";
import { robustAverage } from "./robust-average";
import { linearWeight } from "./weights";

/** Every expected number here was computed by tools/strategies-oracle.py, with NumPy. */
const rows = oracle.deltas.map((row) => Float32Array.from(row));
const length = rows[0]?.length ?? 0;

/** A robust average of some updates, in pieces of four numbers. */
async function averageOf(aggregation: Aggregation, byzantine: number, updates: readonly Float32Array[] = rows) {
  const parameters = updates[0]?.length ?? 0;
  const average = await robustAverage(
    { aggregation, byzantine, updates: updates.length, parameters, piece: 4 },
    (which, start, count) =>
      Promise.resolve(which.map((i) => (updates[i] ?? new Float32Array(0)).subarray(start, start + count))),
  );
  return average(0, parameters);
}

/** A linear average of the oracle's updates. */
function linearAverage(
  config: Parameters<typeof linearWeight>[1],
  { clip, staleness, most = Infinity }: { clip: number; staleness: readonly number[]; most?: number },
): Float64Array {
  const { examples, loss } = oracle.linear;
  const sum = new Float64Array(length);
  const totals = { examples: 0, denominator: 0 };
  rows.forEach((row, k) => {
    const facts = {
      examples: Math.min(examples[k] ?? 0, most),
      steps: config.epochs * Math.ceil((examples[k] ?? 0) / config.batchSize),
      norm: Math.hypot(...row),
      initialLoss: loss[k] ?? null,
      staleness: staleness[k] ?? 0,
    };
    const { weight, denominator } = linearWeight(facts, config, clip);
    totals.examples += facts.examples;
    totals.denominator += denominator;
    row.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + weight * value));
  });
  const divisor = linearOf(config.aggregation).divisor(totals);
  return sum.map((value) => value / divisor);
}

const { q, lr, clip, staleness, results } = oracle.linear;
const FEDAVG = { aggregation: "mean", q, learningRate: lr, epochs: 1, batchSize: 5, noise: 0 } as const;
const PLAIN = { clip: 0, staleness: [] };

test("weighted means are NumPy's: plain, clipped, stale, q-FedAvg, FedNova", () => {
  expectClose(linearAverage(FEDAVG, PLAIN), results.fedavg);
  expectClose(linearAverage(FEDAVG, { ...PLAIN, clip }), results.clipped);
  expectClose(linearAverage(FEDAVG, { ...PLAIN, staleness }), results.stale);
  expectClose(linearAverage({ ...FEDAVG, aggregation: "q-fair" }, PLAIN), results.qfedavg);
  const { epochs, batchSize, result, most, capped } = oracle.more.fednova;
  const nova = { ...FEDAVG, aggregation: "fednova", epochs, batchSize } as const;
  expectClose(linearAverage(nova, PLAIN), result);
  expectClose(linearAverage(nova, { ...PLAIN, most }), capped);
});

test("in FedNova one who claims very many examples makes nobody's step longer than the bound on them", () => {
  const nova = { ...FEDAVG, aggregation: "fednova" } as const;
  const claims = [...Array<number>(9).fill(10), 100_000];
  const most = mostExamples({ maxExamples: 100_000, maxExamplesRatio: 2 }, claims);
  const facts = claims.map((claimed) => ({ examples: Math.min(claimed, most), steps: claimed / 5 }));
  const parts = facts.map((one) => linearWeight({ ...one, norm: 1, initialLoss: null, staleness: 0 }, nova, 0));
  const examples = facts.reduce((sum, one) => sum + one.examples, 0);
  const denominator = parts.reduce((sum, one) => sum + one.denominator, 0);
  const share = (k: number): number =>
    (parts[k]?.weight ?? NaN) / linearOf("fednova").divisor({ examples, denominator });
  // By hand: n is 90 and 20, tau_eff (90 * 2 + 20 * 4) / 110, and p_k / tau_k is 1 / 22 of each of nine and 1 / 110,000 of the tenth.
  expect(share(0)).toBeCloseTo(260 / 110 / 22, 12);
  expect(share(9)).toBeCloseTo(260 / 110 / 110_000, 12);
  expect(conflictOf(v.parse(roundConfigSchema, { aggregation: "fednova" }))).toBeUndefined();
  expect(conflictOf(v.parse(roundConfigSchema, { aggregation: "fednova", maxExamplesRatio: 0 }))).toContain("FedNova");
});

test("q-FedAvg with q = 0 is the plain mean, and says which loss it lacks", () => {
  const config = { ...FEDAVG, aggregation: "q-fair", q: 0 } as const;
  const facts = { examples: 7, steps: 2, norm: 3, initialLoss: 2, staleness: 0 };
  const { weight, denominator } = linearWeight(facts, config, 0);
  expect(weight).toBeCloseTo(denominator, 12);
  expect(() => linearWeight({ ...facts, initialLoss: null }, config, 0)).toThrow("needs the loss");
});

test("robust averages give NumPy's numbers, and bear two liars of eleven", async () => {
  const { f, results: expected } = oracle.robust;
  for (const [name, values] of Object.entries(expected)) {
    expectClose(await averageOf(name as Aggregation, f), values);
    expect(Math.max(...values.map(Math.abs))).toBeLessThan(5);
  }
  const compared = Object.keys(expected);
  // Every rule that compares updates is in the oracle.
  const robust = AGGREGATION_NAMES.filter((name) => !aggregationOf(name).isLinear);
  expect(robust.filter((name) => !compared.includes(name))).toEqual(["geometric-median"]);
});

test("the geometric median's three steps are NumPy's, and two liars of eleven do not carry it away", async () => {
  const { result, limit } = oracle.more["geometric-median"];
  const found = await averageOf("geometric-median", 2);
  expectClose(found, result);
  const far = (v: ArrayLike<number>): number => Math.hypot(...limit.map((value, i) => value - (v[i] ?? 0)));
  const mean = Float64Array.from({ length }, (_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0) / rows.length);
  expect(far(found)).toBeLessThan(far(mean) / 3);
});

test("a robust average refuses a cohort that is too small for its promise", async () => {
  const zeros = (count: number): Float32Array[] => Array.from({ length: count }, () => new Float32Array(8));
  await expect(averageOf("krum", 2, zeros(6))).rejects.toThrow(
    "krum needs 7 updates to bear 2 wrong ones; there are 6.",
  );
  await expect(averageOf("bulyan", 1, zeros(6))).rejects.toThrow("bulyan needs 7 updates");
  await expect(averageOf("trimmed-mean", 1, zeros(2))).rejects.toThrow("trimmed-mean needs 3 updates");
});

test("which updates Krum and Bulyan keep does not hang on the order in which they came", () => {
  const random = seededRandom(5);
  for (let trial = 0; trial < 50; trial++) {
    const own = Array.from({ length: 7 }, () => Float32Array.from({ length: 20 }, () => random() - 0.5));
    const kept = (order: readonly number[]): number[][] => {
      const distances = new Float64Array(49);
      addDistances(
        order.map((i) => own[i] ?? new Float32Array(0)),
        distances,
      );
      return (["bulyan", "multi-krum"] as const).map((name) => {
        const { chosen = [] } = robustOf(name).prepare({ updates: 7, byzantine: 1, distances });
        return chosen.map((i) => order[i] ?? NaN).sort((a, b) => a - b);
      });
    };
    const expected = kept([0, 1, 2, 3, 4, 5, 6]);
    expect(kept(shuffle([0, 1, 2, 3, 4, 5, 6], random))).toEqual(expected);
  }
});
