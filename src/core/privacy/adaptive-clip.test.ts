import { expect, test } from "vitest";
import { seededRandom } from "../random";
import { nextClip, noiseBesideShares } from "./adaptive-clip";

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
