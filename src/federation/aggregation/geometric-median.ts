import type { RobustAggregation } from "./aggregation";
import { weightedBlock } from "./blocks";

/** Steps of Weiszfeld's algorithm, and what keeps a distance from being divided by when it is 0: the paper's own. */
const STEPS = 3;
const NU = 1e-6;

/** RFA (Pillutla et al. 2022, arXiv 1912.13445): the mean with the weights of {@link geometricMedianWeights}. */
export const geometricMedian: RobustAggregation = {
  isLinear: false,
  needsDistances: true,
  seesUpdates: true,
  isForHubs: false,
  leastUpdates: () => 1,
  prepare({ distances, updates }) {
    const weights = geometricMedianWeights(distances, updates);
    return { combine: (rows, out) => weightedBlock(rows, weights, out) };
  },
};

/**
 * How much each of n updates weighs in their geometric median (algorithm 2): from the plain mean on, three smoothed steps of Weiszfeld's
 * algorithm, `beta_i = 1 / max(nu, |v - x_i|)`. The median stays within the updates' hull, so its distances follow from theirs: with
 * weights l of sum 1, `|sum_i l_i x_i - x_j|^2 = sum_i l_i D_ij - l' D l / 2`.
 * @param distances squared, n x n
 */
export function geometricMedianWeights(distances: Float64Array, n: number): number[] {
  let weights = Array<number>(n).fill(1 / n);
  for (let step = 0; step < STEPS; step++) {
    const toMedian = weights.map((_, j) => weights.reduce((sum, l, i) => sum + l * (distances[i * n + j] ?? NaN), 0));
    const inner = weights.reduce((sum, l, j) => sum + l * (toMedian[j] ?? NaN), 0) / 2;
    const betas = toMedian.map((d) => 1 / Math.max(NU, Math.sqrt(Math.max(0, d - inner))));
    const total = betas.reduce((a, b) => a + b, 0);
    weights = betas.map((beta) => beta / total);
  }
  return weights;
}
