import { addGaussian } from "./gaussian";

/** eta_C: how far one round may move the clip. */
const RATE = 0.2;
/** The deviation of the noise on the share, times the cohort: what section 4 of the paper recommends. */
const SHARE_OF_COHORT = 1 / 20;

/** Where a clip stays, whatever the shares say: a configuration's own bounds. */
const LEAST = 1e-6;
const MOST = 1e6;

/** What a round tells of its updates' norms. */
export interface Below {
  /** Updates whose norm is at most the clip. */
  below: number;
  /** Updates that were counted. */
  counted: number;
  /** m: clients that were expected. Fixed in advance: divided by what came, one client could change everybody's part. */
  expected: number;
}

/**
 * The share of norms below the clip, without its noise: `1/m sum_k (b_k - 1/2) + 1/2`. One client more or less changes the sum by 1/2
 * whatever its bit, which is what theorem 1 of the paper counts with.
 */
export const shareBelow = ({ below, counted, expected }: Below): number => (below - counted / 2) / expected + 0.5;

/**
 * Adaptive clipping (Andrew et al. 2021, arXiv 1905.03871, algorithm 1): the clip follows a quantile of the updates' norms, by
 * `C = C * exp(-eta (b - gamma))`, where b is the share of norms below C, which is told with noise too.
 *
 * @param quantile gamma, the share that should lie below
 */
export function nextClip(clip: number, below: Below, quantile: number): number {
  const share = new Float64Array([shareBelow(below)]);
  addGaussian(share, SHARE_OF_COHORT);
  const told = Math.max(0, Math.min(1, share[0] ?? 0));
  return Math.max(LEAST, Math.min(MOST, clip * Math.exp(-RATE * (told - quantile))));
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
