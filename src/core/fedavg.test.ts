import fc from "fast-check";
import { expect, test } from "vitest";
import { delta, WeightedSum } from "./fedavg";

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
      for (const client of cohort) sum.add(delta(Float32Array.from(client.values), w), client.examples);
      const n = cohort.reduce((total, { examples }) => total + examples, 0);
      sum.applyTo(w);
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
        whole.add(Float32Array.from(values), examples);
        (i < cut ? left : right).add(Float32Array.from(values), examples);
      });
      left.addPart(0, right.sum.subarray(0, 2));
      left.addPart(2, right.sum.subarray(2));
      left.addTotals(right);
      expect(left.examples).toBe(whole.examples);
      expect(left.count).toBe(cohort.length);
      left.sum.forEach((value, i) => expect(value).toBeCloseTo(whole.sum[i] as number, 6));
    }),
  );
});

test("it refuses what would corrupt the mean", () => {
  const sum = new WeightedSum(3);
  expect(() => sum.add(new Float32Array(2), 1)).toThrow(RangeError);
  expect(() => sum.add(new Float32Array(3), 0)).toThrow(RangeError);
  expect(() => sum.add(new Float32Array(3), 1.5)).toThrow(RangeError);
  expect(() => sum.applyTo(new Float32Array(3))).toThrow("nothing to average");
});
