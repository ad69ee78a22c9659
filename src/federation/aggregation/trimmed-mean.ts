import type { RobustAggregation } from "./aggregation";

/** Coordinate-wise trimmed mean (Yin et al. 2018, arXiv 1803.01498, definition 2), without the f largest and smallest values. */
export const trimmedMean: RobustAggregation = {
  isLinear: false,
  needsDistances: false,
  seesUpdates: true,
  isForHubs: false,
  leastUpdates: (byzantine) => 2 * byzantine + 1,
  prepare: ({ byzantine }) => ({ combine: (rows, out) => trimmedMeanBlock(rows, byzantine, out) }),
};

/** Coordinate-wise median (Yin et al. 2018, definition 1). */
export const median: RobustAggregation = {
  ...trimmedMean,
  leastUpdates: () => 1,
  prepare: ({ updates }) => ({
    combine: (rows, out) => trimmedMeanBlock(rows, Math.floor((updates - 1) / 2), out),
  }),
};

function trimmedMeanBlock(rows: readonly Float32Array[], trim: number, out: Float64Array): void {
  const n = rows.length;
  const column = new Float32Array(n);
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < n; k++) column[k] = rows[k]?.[i] ?? NaN;
    column.sort();
    let sum = 0;
    for (let k = trim; k < n - trim; k++) sum += column[k] ?? NaN;
    out[i] = sum / (n - 2 * trim);
  }
}
