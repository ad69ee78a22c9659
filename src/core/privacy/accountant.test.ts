import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { epsilon, logHalfErfc, renyi } from "./accountant";
import oracle from "./oracle.json";

/** Google's dp-accounting: tools/privacy-oracle.py. */
test.each(oracle.plain)(
  "sampling $sampling, noise $noise, $rounds rounds: epsilon is that of dp-accounting",
  (found) => {
    const { rdp, pld, ...mechanism } = found;
    const own = epsilon([mechanism], oracle.delta);
    expect(Math.abs(own / rdp - 1)).toBeLessThan(0.01);
    // The tighter accountant's epsilon is still an upper bound: ours may not lie below it.
    expect(own).toBeGreaterThanOrEqual(pld * 0.999);
  },
);

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
