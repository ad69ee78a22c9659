/** When ways to compute the same step are said to agree. */

/** Losses that differ by less than this agree. */
export const LOSS_TOLERANCE = 1e-3;

/** Gradients of a layer that differ by less than this part of their norm agree; as tests hold them against PyTorch's. */
const GRADIENT_TOLERANCE = 1e-3;

/** What was computed of a batch. */
export interface Computed {
  loss: number;
  /** Every gradient, laid out like the weights. */
  flat: Float32Array;
}

/**
 * Whether a loss agrees with the reference's, and the gradients of every layer with the reference's.
 * @param stretches of the weights: a layer each
 */
export function agree(
  found: Computed,
  reference: Computed,
  stretches: readonly { start: number; size: number }[],
): boolean {
  // What is no number agrees with nothing.
  if (!(Math.abs(found.loss - reference.loss) < LOSS_TOLERANCE)) return false;
  return stretches.every(({ start, size }) => {
    let [apart, square] = [0, 0];
    for (let i = start; i < start + size; i++) {
      const expected = reference.flat[i] ?? NaN;
      apart += ((found.flat[i] ?? NaN) - expected) ** 2;
      square += expected ** 2;
    }
    return Number.isFinite(square) && Math.sqrt(apart) <= GRADIENT_TOLERANCE * Math.sqrt(square);
  });
}
