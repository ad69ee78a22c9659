/** How much noise a round has. Apart from the noise itself, which players need not download to read a round's configuration. */

/** Less noise than this counts as none: a round with it spends an epsilon of thousands. */
export const LEAST_NOISE = 0.01;

/**
 * The deviation of the noise on the sum of b - 1/2 over a cohort, by which the clip follows the norms: what section 4 of Andrew et al.
 * 2021, arXiv 1905.03871, recommends.
 */
export const deviationOfShares = (expected: number): number => expected / 20;

/**
 * z_Delta: the noise on the updates that together with the noise on the shares is as private as z (theorem 1 of that paper).
 * @throws RangeError when the cohort is so small that the shares alone say more than z allows
 */
export function noiseBesideShares(noise: number, expected: number): number {
  const rest = noise ** -2 - (2 * deviationOfShares(expected)) ** -2;
  if (rest <= 0) {
    throw new RangeError(
      `With ${expected} clients a round the clip cannot follow their norms at a noise of ${noise}: at least ${Math.floor(noise / (2 * deviationOfShares(1))) + 1} are needed.`,
    );
  }
  return rest ** -0.5;
}

/** The noise multiplier of a round's updates: z, or more where the clip follows their norms. */
export const noiseOf = (config: { noise: number; clipQuantile: number; goalCount: number }): number =>
  config.clipQuantile > 0 ? noiseBesideShares(config.noise, config.goalCount) : config.noise;
