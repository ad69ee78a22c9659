import type { ModelSummary } from "../model/model";
import { normOf } from "./privacy/clip";

/** What weights must be for anybody to use them. */

/** How many times the norm of a model may grow in one round. Honest rounds move it by a few hundredths. */
export const MOST_GROWTH = 10;
/** A variance below zero by less than this share of its tensor's mean is a rounding error of its codec. */
const ROUNDING = 0.05;

/**
 * Checks the weights that a round has come to, whatever its updates and its optimizer were: finite numbers, of a size that one round can
 * have made, and variances that are some. A variance that rounding has brought below zero becomes zero, in place.
 * @param baseNorm of the weights that the round started from
 * @returns their norm
 * @throws RangeError with what is wrong, in words
 */
export function checkWeights({ tensors }: ModelSummary, weights: Float32Array, baseNorm: number): number {
  const norm = normOf(weights);
  if (!Number.isFinite(norm)) throw new RangeError("The average is not finite: nothing is published.");
  if (norm > MOST_GROWTH * Math.max(1, baseNorm)) {
    throw new RangeError(
      `The weights would have grown from a norm of ${baseNorm.toPrecision(3)} to ${norm.toPrecision(3)}: nothing is published.`,
    );
  }
  for (const { name, offset, size } of tensors) {
    if (!name.endsWith("/moving_variance")) continue;
    const variances = weights.subarray(offset, offset + size);
    const mean = variances.reduce((sum, value) => sum + Math.abs(value) / size, 0);
    for (let i = 0; i < size; i++) {
      const variance = variances[i] as number;
      if (variance >= 0) continue;
      if (variance < -ROUNDING * mean) {
        throw new RangeError(
          `${name} would hold ${variance.toPrecision(3)}, which is no variance: nothing is published.`,
        );
      }
      variances[i] = 0;
    }
  }
  return norm;
}
