import { addGaussian } from "./discrete-gaussian";
import { deviationOfShares } from "./noise-scale";
import { secureBits, type RandomBits } from "./random-bits";

/** eta_C: how far one round may move the clip. */
const RATE = 0.2;

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
  /** The clients have added the noise to `below` already. */
  isNoisy?: boolean;
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
export function nextClip(clip: number, below: Below, quantile: number, bits: RandomBits = secureBits): number {
  const share = new Float64Array([shareBelow(below)]);
  if (!below.isNoisy) addGaussian(share, deviationOfShares(1), bits);
  const told = Math.max(0, Math.min(1, share[0] ?? 0));
  return Math.max(LEAST, Math.min(MOST, clip * Math.exp(-RATE * (told - quantile))));
}
