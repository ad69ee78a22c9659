import type { ComparedCohort, RobustAggregation } from "./aggregation";
import { byKrumScore, everyone } from "./krum";

/**
 * Bulyan (El Mhamdi et al. 2018, arXiv 1802.07927, algorithm 2): of each coordinate of n - 2 f updates, each
 * the Krum winner among those that were left, the mean of the values that are closest to the median.
 */
export const bulyan: RobustAggregation = {
  isLinear: false,
  needsDistances: true,
  seesUpdates: true,
  isForHubs: false,
  leastUpdates: (byzantine) => 4 * byzantine + 3,
  prepare: (cohort) => ({
    chosen: winners(cohort),
    combine: (rows, out) => closestToMedian(rows, cohort.byzantine, out),
  }),
};

function winners(cohort: ComparedCohort): readonly number[] {
  let left = everyone(cohort);
  const chosen: number[] = [];
  while (chosen.length < cohort.updates - 2 * cohort.byzantine) {
    const [winner = NaN] = byKrumScore(cohort, left);
    chosen.push(winner);
    left = left.filter((one) => one !== winner);
  }
  return chosen.sort((a, b) => a - b);
}

/** Of each coordinate the mean of the `rows.length - 2 f` values that are closest to the median. */
function closestToMedian(rows: readonly Float32Array[], f: number, out: Float64Array): void {
  const n = rows.length;
  const keep = n - 2 * f;
  const column = new Float32Array(n);
  const at = (k: number): number => column[k] ?? NaN;
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < n; k++) column[k] = rows[k]?.[i] ?? NaN;
    column.sort();
    const median = (at(Math.floor((n - 1) / 2)) + at(Math.floor(n / 2))) / 2;
    // The closest are neighbours in the sorted column: move a window for as long as its right end is the closer one.
    let start = 0;
    while (start + keep < n && at(start + keep) - median < median - at(start)) start++;
    let sum = 0;
    for (let k = start; k < start + keep; k++) sum += at(k);
    out[i] = sum / keep;
  }
}
