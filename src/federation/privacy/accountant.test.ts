import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_ROUND } from "../default-round";
import { deltaFor, epsilon, mechanismOf, searchNoise } from "./accountant";
import { lossEpsilon } from "./loss-distribution";
import { LEAST_NOISE } from "./noise-scale";
import oracle from "./oracle.json";
import { logHalfErfc, renyi, renyiCurve, renyiEpsilon } from "./renyi";

function noiseFor(plan: Parameters<typeof searchNoise>[0]): number | undefined {
  const search = searchNoise(plan);
  for (;;) {
    const step = search.next();
    if (step.done) return step.value;
  }
}

/** Google's dp-accounting: tools/privacy-oracle.py. */
test.each(oracle.plain)("sampling $sampling, noise $noise, $rounds rounds: epsilon is dp-accounting's", (found) => {
  const { rdp, pld, ...mechanism } = found;
  const own = epsilon([mechanism], oracle.delta);
  expect(own).toBeGreaterThanOrEqual(pld * (1 - 1e-4));
  expect(own).toBeLessThan(pld * 1.001);
  expect(renyiEpsilon(renyiCurve([mechanism]), oracle.delta) / rdp).toBeCloseTo(1, 2);
});

test.each(oracle.losses)("at delta $delta of $series it is Google's, and below Opacus's bound", (found) => {
  const own = epsilon(found.series, found.delta);
  expect(own).toBeGreaterThanOrEqual(found.google * (1 - 1e-4));
  expect(own).toBeLessThan(found.google * 1.003);
  expect(Math.abs(own / found.opacus - 1)).toBeLessThan(0.01);
});

test("losses and divergences are both upper bounds, and the losses the lower one wherever they say anything", () => {
  const noise = fc.double({ min: 0.3, max: 20, noNaN: true });
  const sampling = fc.oneof(fc.constant(1), fc.double({ min: 1e-3, max: 1, noNaN: true }));
  const series = fc.record({ sampling, noise, rounds: fc.integer({ min: 1, max: 3000 }) });
  fc.assert(
    fc.property(fc.array(series, { minLength: 1, maxLength: 2 }), (all) => {
      const curve = renyiCurve(all);
      const own = lossEpsilon(all, curve, 1e-5);
      expect(own).toBeGreaterThanOrEqual(0);
      if (own < Infinity) expect(own).toBeLessThanOrEqual(renyiEpsilon(curve, 1e-5) * 1.01 + 1e-3);
    }),
    { numRuns: 12 },
  );
});

test("hardly any noise is none, and every noise comes to an end", () => {
  for (const noise of [1e-160, 1e-320, 0.009, -1, NaN]) {
    for (const sampling of [1, 0.3, 1e-3]) expect(epsilon([{ sampling, noise, rounds: 5 }])).toBe(Infinity);
  }
  for (const noise of [LEAST_NOISE, 0.02, 0.1]) {
    for (const sampling of [1, 0.3, 1e-3]) {
      const told = epsilon([{ sampling, noise, rounds: 100 }]);
      // As with 1 / (2 z^2) for one round at the least: nothing that anybody would call private.
      expect(told).toBeGreaterThan(sampling === 1e-3 ? 100 : 0.5 / noise ** 2);
    }
  }
  for (const order of [1.1, 1.5, 511.5]) expect(renyi(0.5, 1e-160, order)).toBe(Infinity);
});

test("where the clients add the noise, the draw hides nobody", () => {
  const config = { ...DEFAULT_ROUND, fraction: 0.1, noise: 1, rounds: 5, goalCount: 20 };
  expect(mechanismOf(config)).toEqual({ sampling: 0.1, noise: 1, rounds: 5, clients: 1000 });
  expect(mechanismOf({ ...config, secure: true }).sampling).toBe(1);
  expect(mechanismOf(config, 300).clients).toBe(1500);
});

test("delta is less than one in all clients", () => {
  for (const [clients, delta] of [
    [1, 1e-5],
    [10_000, 1e-5],
    [10_001, 1e-6],
    [250_000, 1e-7],
    [1e6, 1e-7],
  ] as const) {
    expect(deltaFor(clients)).toBeCloseTo(delta, 12);
    expect(deltaFor(clients)).toBeLessThan(1 / clients);
  }
  const rounds = { sampling: 0.1, noise: 1, rounds: 10 };
  expect(epsilon([{ ...rounds, clients: 1e6 }])).toBe(epsilon([rounds], 1e-7));
  expect(epsilon([{ ...rounds, clients: 1e6 }])).toBeGreaterThan(epsilon([rounds]));
  // Nobody knows whether those of another series are the same: 20,000 at most.
  const twice = [rounds, { ...rounds, noise: 2 }].map((one) => ({ ...one, clients: 10_000 }));
  expect(epsilon(twice)).toBe(epsilon(twice, 1e-6));
});

describe("the planner", () => {
  test.each(oracle.losses.filter(({ series }) => series.length === 1))("finds the noise of $series again", (found) => {
    const [{ noise, ...planned }] = found.series as [{ sampling: number; noise: number; rounds: number }];
    const needed = noiseFor({ planned, most: found.google * 1.0001, delta: found.delta }) ?? NaN;
    // Three digits, rounded up.
    expect(Math.abs(needed / noise - 1)).toBeLessThan(0.0102);
    expect(epsilon([{ ...planned, noise: needed }], found.delta)).toBeLessThanOrEqual(found.google * 1.0001);
  });

  test("counts what was spent already, and says where no noise is enough", () => {
    const done = [{ sampling: 1, noise: 4, rounds: 10 }];
    const planned = { sampling: 0.1, rounds: 100 };
    const alone = noiseFor({ planned, most: 6 }) ?? NaN;
    const after = noiseFor({ planned, most: 6, done }) ?? NaN;
    expect(after).toBeGreaterThan(alone);
    expect(epsilon([...done, { ...planned, noise: after }])).toBeLessThanOrEqual(6);
    expect(noiseFor({ planned, most: 1, done })).toBeUndefined();
    expect(noiseFor({ planned, most: 6, done: [{ sampling: 1, noise: 0, rounds: 1 }] })).toBeUndefined();
  });
});

describe("the Rényi divergence", () => {
  test("without sampling is alpha / (2 z^2), and the limit of sampling nearly everybody", () => {
    expect(renyi(1, 2, 5)).toBe(5 / 8);
    expect(renyi(0.999999, 2, 5)).toBeCloseTo(5 / 8, 4);
    expect(renyi(0.999999, 2, 5.5)).toBeCloseTo(5.5 / 8, 4);
  });

  test("is the integral that it stands for", () => {
    // E over N(0, z^2) of ((1 - q) + q e^((2x - 1) / (2 z^2)))^alpha, by Simpson's rule.
    const direct = (q: number, z: number, order: number): number => {
      const [from, steps] = [-30 * z, 40_000];
      const width = (60 * z + order * 2) / steps;
      let sum = 0;
      for (let i = 0; i <= steps; i++) {
        const x = from + i * width;
        const ratio = 1 - q + q * Math.exp((2 * x - 1) / (2 * z * z));
        const density = Math.exp((-x * x) / (2 * z * z)) / (z * Math.sqrt(2 * Math.PI));
        sum += (i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2) * density * ratio ** order;
      }
      return Math.log((sum * width) / 3) / (order - 1);
    };
    for (const q of [0.001, 0.01, 0.1, 0.4]) {
      for (const z of [0.7, 1.1, 4]) {
        for (const order of [1.5, 2, 2.7, 6, 7.3]) {
          const expected = direct(q, z, order);
          expect(Math.abs(renyi(q, z, order) - expected)).toBeLessThan(1e-9 + 1e-6 * expected);
        }
      }
    }
    // Of a low order with much noise the series end late.
    for (const [q, z] of [
      [0.49, 11],
      [0.3, 20],
      [0.5, 50],
    ] as const) {
      const expected = direct(q, z, 1.1);
      expect(Math.abs(renyi(q, z, 1.1) - expected)).toBeLessThan(1e-9 + 1e-6 * expected);
    }
  });

  test("grows with the order, with sampling and with less noise", () => {
    const q = fc.double({ min: 1e-4, max: 0.9, noNaN: true });
    const z = fc.double({ min: 0.5, max: 10, noNaN: true });
    const order = fc.double({ min: 1.1, max: 40, noNaN: true });
    fc.assert(
      fc.property(q, z, order, (q, z, order) => {
        const one = renyi(q, z, order);
        expect(one).toBeGreaterThanOrEqual(-1e-9);
        expect(renyi(q, z, order + 1)).toBeGreaterThanOrEqual(one - 1e-9);
        expect(renyi(Math.min(1, q * 1.1), z, order)).toBeGreaterThanOrEqual(one - 1e-9);
        expect(renyi(q, z * 1.1, order)).toBeLessThanOrEqual(one + 1e-9);
      }),
      // The series of the lowest order with the most noise end last.
      { examples: [[0.4856251414718817, 10, 1.1]] },
    );
  });
});

test("a round without noise says everything, and no round says nothing", () => {
  expect(epsilon([])).toBe(0);
  expect(epsilon([{ sampling: 0.1, noise: 1, rounds: 0 }])).toBe(0);
  expect(
    epsilon([
      { sampling: 0.1, noise: 1, rounds: 5 },
      { sampling: 0.1, noise: 0, rounds: 1 },
    ]),
  ).toBe(Infinity);
});

test("log(erfc(x) / 2) has Python's values, and goes on where erfc is 0", () => {
  // math.log(math.erfc(x) / 2)
  for (const [x, expected] of [
    [-3, -1.10453094984704e-5],
    [-0.5, -0.2741080327843857],
    [0.5, -1.4281583103970297],
    [1.99, -6.013999195699922],
    [2, -6.058088445176583],
    [5, -27.89403672609738],
    [20, -404.2624905146642],
  ] as const) {
    expect(Math.abs(logHalfErfc(x) - expected)).toBeLessThan(1e-10 * Math.abs(expected));
  }
  expect(logHalfErfc(100)).toBeLessThan(-10_000);
});
