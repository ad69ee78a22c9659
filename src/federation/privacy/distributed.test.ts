import { describe, expect, test } from "vitest";
import { epsilon } from "./accountant";
import { ROUNDING } from "./discrete-gaussian";
import { belowNoise, divergence, MOST_DIVERGENCE, RING_NOISE, shareOfNoise } from "./distributed";
import { deviationOfShares } from "./noise-scale";
import oracle from "./oracle.json";

test.each(oracle.divergence)(
  "what $clients clients send, variance $variance and rounding $rounding, differs from rounded Gaussian noise by no more than is said",
  ({ clients, variance, rounding, most }) => {
    const told = divergence(1, clients, variance, rounding);
    expect(told).toBeGreaterThanOrEqual(most);
    // And not by a hundredth of it: the bound is about this.
    expect(told).toBeLessThan(100 * most);
  },
);

test("with the noise of the ring it is nothing that a page would show, in ten thousand rounds", () => {
  expect(MOST_DIVERGENCE).toBeGreaterThan(0);
  expect(10_000 * MOST_DIVERGENCE).toBeLessThan(1e-6);
  // A ring as coarse as the levels of int4 would be another matter.
  expect(divergence(300_000, 10, 1, 1)).toBeGreaterThan(1);
});

describe.each(oracle.distributed)("$clients clients that make noise of $noise together", (round) => {
  const { clients, noise, variance, rounding } = round;

  test("add as much as the deviation says that they are told", () => {
    expect(rounding).toBe(ROUNDING);
    const codec = variance === RING_NOISE.int8 ? "int8" : "int4";
    const clip = 0.7;
    const step = shareOfNoise(noise, clip, clients, codec) / Math.sqrt(variance + rounding);
    expect(clip / step).toBeCloseTo(round.clip, 9);
  });

  test.each(round.found)("keep one of them within epsilon $epsilon as the page says", ({ epsilon: exact, delta }) => {
    // By the definition, on all whole numbers: rounding, sum and all.
    const told = epsilon([{ sampling: 1, noise, rounds: 1 }], delta);
    expect(told).toBeGreaterThanOrEqual(exact * (1 - 1e-6));
    // r^2 of the whole variance is not counted: much of what four bits have, hardly anything of what eight have.
    expect(told).toBeLessThan(exact * (variance === RING_NOISE.int8 ? 1.01 : 1.15));
  });
});

test("whether norms lie below the clip is told with as much noise as a cohort's, in numbers fine enough for it", () => {
  for (const expected of [11, 40, 1000]) {
    const fewest = Math.ceil(expected / 2);
    const { unit, variance } = belowNoise(deviationOfShares(expected), fewest);
    // A client's 2b - 1 is twice b - 1/2.
    const deviation = Math.sqrt(fewest * variance) / unit / 2;
    expect(deviation).toBeGreaterThanOrEqual(deviationOfShares(expected));
    expect(deviation).toBeLessThan(1.05 * deviationOfShares(expected));
    expect(divergence(1, 1000, variance)).toBeLessThan(1e-12);
  }
});
