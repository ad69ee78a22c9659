import type { RobustAggregation } from "./aggregation";

/** Coordinate-wise trimmed mean (Yin et al. 2018, arXiv 1803.01498, definition 2), without the f largest and smallest values. */
export const trimmedMean: RobustAggregation = {
  isLinear: false,
  needsDistances: false,
  seesUpdates: true,
  isForHubs: false,
  prepare: ({ byzantine }) => ({ combine: (rows, out) => trimmedMeanBlock(rows, byzantine, out) }),
};

/** Coordinate-wise median (Yin et al. 2018, definition 1). */
export const median: RobustAggregation = {
  ...trimmedMean,
  prepare: ({ updates }) => ({
    combine: (rows, out) => trimmedMeanBlock(rows, Math.floor((updates - 1) / 2), out),
  }),
};

/** @throws RangeError when nothing would be left */
function trimmedMeanBlock(rows: readonly Float32Array[], trim: number, out: Float64Array): void {
  const n = rows.length;
  if (n === 0 || 2 * trim >= n) throw new RangeError(`Of ${n} values, ${trim} cannot be trimmed at either end.`);
  const column = new Float32Array(n);
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < n; k++) column[k] = rows[k]?.[i] ?? NaN;
    column.sort();
    let sum = 0;
    for (let k = trim; k < n - trim; k++) sum += column[k] ?? NaN;
    out[i] = sum / (n - 2 * trim);
  }
}
