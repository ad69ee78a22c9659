import { expect, test } from "vitest";
import { seededRandom } from "../../base/random";
import { nextClip, shareBelow } from "./adaptive-clip";
import { noiseBesideShares } from "./noise-scale";
import oracle from "./oracle.json";
import { renyiCurve, renyiEpsilon } from "./renyi";

test("the clip comes to the quantile of the norms, from far above and from far below", () => {
  const random = seededRandom(1);
  for (const [start, quantile] of [
    [1000, 0.5],
    [0.001, 0.5],
    [1, 0.9],
  ] as const) {
    let clip: number = start;
    let mean = 0;
    for (let round = 0; round < 400; round++) {
      const norms = Array.from({ length: 100 }, () => 2 + random());
      clip = nextClip(
        clip,
        { below: norms.filter((norm) => norm <= clip).length, counted: 100, expected: 100 },
        quantile,
      );
      if (round >= 200) mean += clip / 200;
    }
    // Norms are uniform in 2..3.
    expect(Math.abs(mean - (2 + quantile))).toBeLessThan(0.1);
  }
});

test("the noise on the updates grows by what the shares tell, and a cohort that is too small is told so", () => {
  // z^-2 = z_Delta^-2 + (2 sigma_b)^-2 with sigma_b = m / 20.
  expect(noiseBesideShares(1, 100) ** -2 + (2 * 5) ** -2).toBeCloseTo(1, 12);
  expect(() => noiseBesideShares(1, 10)).toThrow("at least 11");
  expect(noiseBesideShares(1, 11)).toBeGreaterThan(1);
});

test("one client more changes the sum of the shares by one half, whatever its norm and whoever else came", () => {
  for (const expected of [3, 20, 500]) {
    for (const [below, counted] of [
      [0, 0],
      [0, 7],
      [5, 7],
      [7, 7],
    ] as const) {
      const before = shareBelow({ below, counted, expected });
      for (const bit of [0, 1]) {
        const after = shareBelow({ below: below + bit, counted: counted + 1, expected });
        expect(expected * Math.abs(after - before)).toBeCloseTo(0.5, 12);
      }
    }
  }
});

test.each(oracle.adaptive)(
  "with $clients clients a round, sums and shares together are as private as the page says",
  ({ sampling, noise, rounds, clients, beside, rdp }) => {
    expect(noiseBesideShares(noise, clients)).toBeCloseTo(beside, 9);
    // Google's accountant of divergences composes the two Gaussians of one draw; its tighter one cannot.
    expect(Math.abs(renyiEpsilon(renyiCurve([{ sampling, noise, rounds }]), oracle.delta) / rdp - 1)).toBeLessThan(
      0.01,
    );
  },
);

test("the clip stays within what a configuration may hold, however long the shares push it", () => {
  let [high, low] = [1, 1];
  for (let round = 0; round < 2000; round++) {
    high = nextClip(high, { below: 0, counted: 50, expected: 100 }, 0.99);
    low = nextClip(low, { below: 100, counted: 100, expected: 100 }, 0.01);
  }
  expect([high, low]).toEqual([1e6, 1e-6]);
});
