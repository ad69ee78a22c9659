import fc from "fast-check";
import { expect, test } from "vitest";
import { delta, WeightedSum } from "./fedavg";
import { sgd } from "./server-optimizers/sgd";

const FEDAVG = { learningRate: 1, momentum: 0, beta2: 0, tau: 0, epsilon: 1 };
const NOTHING = { first: new Float32Array(0), second: new Float32Array(0) };

function add(sum: WeightedSum, values: readonly number[], examples: number): void {
  sum.addPart(0, Float32Array.from(values), examples);
  sum.addTotals({ count: 1, examples, denominator: examples });
}

const vector = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 6, maxLength: 6 });
const clients = fc.array(fc.record({ values: vector, examples: fc.integer({ min: 1, max: 500 }) }), {
  minLength: 1,
  maxLength: 12,
});

test("it gives the weighted mean of the clients' weights, as Algorithm 1 writes it", () => {
  fc.assert(
    fc.property(vector, clients, (base, cohort) => {
      const w = Float32Array.from(base);
      const sum = new WeightedSum(6);
      for (const client of cohort) add(sum, [...delta(Float32Array.from(client.values), w)], client.examples);
      const n = cohort.reduce((total, { examples }) => total + examples, 0);
      const average = sum.sum.map((value) => value / sum.totals.denominator);
      sgd.step(w, average, FEDAVG, NOTHING);
      w.forEach((value, i) => {
        const mean = cohort.reduce((total, c) => total + (c.examples / n) * (c.values[i] as number), 0);
        expect(Math.abs(value - mean)).toBeLessThan(1e-4);
      });
    }),
  );
});

test("sums over any split of the clients merge to the same sum", () => {
  fc.assert(
    fc.property(clients, fc.nat(12), (cohort, cut) => {
      const whole = new WeightedSum(6);
      const left = new WeightedSum(6);
      const right = new WeightedSum(6);
      cohort.forEach(({ values, examples }, i) => {
        add(whole, values, examples);
        add(i < cut ? left : right, values, examples);
      });
      left.addPart(0, right.sum.subarray(0, 2));
      left.addPart(2, right.sum.subarray(2));
      if (right.totals.count > 0) left.addTotals(right.totals);
      expect(left.totals).toEqual(whole.totals);
      expect(left.totals.count).toBe(cohort.length);
      left.sum.forEach((value, i) => expect(value).toBeCloseTo(whole.sum[i] as number, 6));
    }),
  );
});

test("it refuses what would corrupt the mean", () => {
  const sum = new WeightedSum(3);
  expect(() => {
    sum.addPart(1, new Float32Array(3), 1);
  }).toThrow("do not fit");
  for (const wrong of [
    { examples: 0, denominator: 1 },
    { examples: 1.5, denominator: 1 },
    { examples: 1, denominator: 0 },
    { examples: 1, denominator: NaN },
  ]) {
    expect(() => {
      sum.addTotals({ count: 1, ...wrong });
    }).toThrow("cannot be averaged");
  }
});
