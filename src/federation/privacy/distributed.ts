import type { RingCodec } from "../codecs/registry";
import { ROUNDING } from "./discrete-gaussian";

/**
 * Noise that clients add under secure aggregation: the discrete Gaussian in the ring (Kairouz, Liu, Steinke 2021, arXiv 2102.06387).
 *
 * Each client rounds its clipped, rotated and scaled update by a discrete Gaussian of variance r^2 and adds one of variance v. For d
 * coordinates and n clients the sum differs from N_Z(sum, n (v + r^2)) by a factor of at most exp(divergence) either way, and that one
 * from a randomized rounding of continuous Gaussian noise of variance n (v + r^2) - r^2 by another: Poisson's summation formula, as for
 * the convolution of Peikert 2010 (theorem 3.1) and proposition 13 of Kairouz et al. So the accountant counts a Gaussian of that
 * variance, of a sensitivity of the clip and nothing more for the rounding, and twice the divergence.
 */

/** v, in steps of the ring, by codec. The int8 noise has a deviation of a sixth of 127 levels. */
export const RING_NOISE = { int8: 441, int4: 16 } as const satisfies Record<RingCodec, number>;

/**
 * The largest log of a ratio by which discrete noise of `clients` on `dimensions` differs from a rounding of continuous noise.
 * @param variance v of one client
 * @param rounding r^2
 */
export function divergence(dimensions: number, clients: number, variance: number, rounding: number = ROUNDING): number {
  // By how much the sum of a Gaussian over the whole numbers depends on where its center is.
  const ripple = (s: number): number => {
    const first = Math.exp(-2 * Math.PI ** 2 * s);
    const most = (2 * first) / (1 - first);
    return most < 1 ? 2 * (Math.log1p(most) - Math.log1p(-most)) : Infinity;
  };
  const whole = variance + rounding;
  let sum = clients * ripple((variance * rounding) / whole) + ripple(rounding);
  for (let k = 1; k < clients; k++) sum += ripple((whole * k) / (k + 1));
  return dimensions * sum;
}

/** Of any round here: the coarser codec, the largest cohort, and more coordinates than any model has. */
export const MOST_DIVERGENCE = divergence(2 ** 23, 1000, RING_NOISE.int4);

/**
 * The standard deviation of one client's noise, rounding included, so that the fewest vectors of which a sum is opened make noise of
 * z times the clip.
 * @param noise z
 */
export function shareOfNoise(noise: number, clip: number, fewest: number, codec: RingCodec): number {
  const whole = fewest * (RING_NOISE[codec] + ROUNDING);
  return noise * clip * Math.sqrt(whole / (whole - ROUNDING) / fewest);
}

/** How a client tells whether its norm lies below the clip, where the clip follows the norms: 2b - 1, so many times, and noise. */
export interface BelowNoise {
  unit: number;
  variance: number;
}

/**
 * The same noise on the share of norms below the clip: its sum is of b - 1/2, and the fewest make a deviation as that of one cohort.
 * @param deviation of the noise on the sum of b - 1/2
 */
export function belowNoise(deviation: number, fewest: number): BelowNoise {
  const each = (4 * deviation ** 2) / fewest;
  // As many units as make the whole numbers fine enough.
  const unit = Math.max(1, Math.ceil(Math.sqrt(RING_NOISE.int4 / each)));
  return { unit, variance: Math.ceil(unit ** 2 * each) };
}
