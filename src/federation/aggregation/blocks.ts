/** A sum of rows with weights: where the weights' sum is 1, their mean. */
export function weightedBlock(rows: readonly Float32Array[], weights: readonly number[], out: Float64Array): void {
  out.fill(0);
  for (const [k, row] of rows.entries()) {
    const weight = weights[k] ?? 0;
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) + weight * (row[i] ?? 0);
  }
}

/** Adds the squared distances between the rows of a block to `distances`, n x n row by row. */
export function addDistances(rows: readonly Float32Array[], distances: Float64Array): void {
  const n = rows.length;
  for (const [a, x] of rows.entries()) {
    for (let b = a + 1; b < n; b++) {
      const y = rows[b] ?? x;
      let sum = 0;
      for (let i = 0; i < x.length; i++) {
        const d = (x[i] ?? 0) - (y[i] ?? 0);
        sum += d * d;
      }
      distances[a * n + b] = (distances[a * n + b] ?? 0) + sum;
      distances[b * n + a] = (distances[b * n + a] ?? 0) + sum;
    }
  }
}
