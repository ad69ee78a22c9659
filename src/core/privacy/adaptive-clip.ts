import { addGaussian } from "./gaussian";

/** eta_C: how far one round may move the clip. */
const RATE = 0.2;
/** The deviation of the noise on the share, times the cohort: what section 4 of the paper recommends. */
const SHARE_OF_COHORT = 1 / 20;

/**
 * Adaptive clipping (Andrew et al. 2021, arXiv 1905.03871, algorithm 1): the clip follows a quantile of the updates' norms, by
 * `C = C * exp(-eta (b - gamma))`, where b is the share of norms below C, which is told with noise too.
 *
 * @param below updates whose norm is at most the clip
 * @param expected of the cohort, by which the sum is divided
 * @param quantile gamma, the share that should lie below
 */
export function nextClip(clip: number, below: number, expected: number, quantile: number): number {
  const share = new Float64Array([below]);
  addGaussian(share, expected * SHARE_OF_COHORT);
  return clip * Math.exp(-RATE * ((share[0] ?? 0) / expected - quantile));
}

/**
 * z_Delta: the noise on the updates that together with the noise on the shares is as private as z (theorem 1 of the paper).
 * @throws RangeError when the cohort is so small that the shares alone say more than z allows
 */
export function noiseBesideShares(noise: number, expected: number): number {
  const rest = noise ** -2 - (2 * expected * SHARE_OF_COHORT) ** -2;
  if (rest <= 0) {
    throw new RangeError(
      `With ${expected} clients a round the clip cannot follow their norms at a noise of ${noise}: at least ${Math.floor(noise / (2 * SHARE_OF_COHORT)) + 1} are needed.`,
    );
  }
  return rest ** -0.5;
}

/** The noise multiplier of a round's updates: z, or more where the clip follows their norms. */
export const noiseOf = (config: { noise: number; clipQuantile: number; goalCount: number }): number =>
  config.clipQuantile > 0 ? noiseBesideShares(config.noise, config.goalCount) : config.noise;
