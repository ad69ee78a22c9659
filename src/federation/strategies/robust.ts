/**
 * Averages that bear updates which are wrong or hostile. They need every update: the coordinate-wise ones a block of each at a
 * time, Krum the distances between all of them. Examples do not weigh here: a liar could claim a million.
 */

/** Coordinate-wise median (Yin et al. 2018, arXiv 1803.01498, definition 1). */
export function medianBlock(rows: readonly Float32Array[], out: Float64Array): void {
  trimmedMeanBlock(rows, Math.floor((rows.length - 1) / 2), out);
}

/**
 * Coordinate-wise trimmed mean (Yin et al. 2018, definition 2): without the `trim` largest and smallest values of each
 * coordinate.
 * @throws RangeError when nothing would be left
 */
export function trimmedMeanBlock(rows: readonly Float32Array[], trim: number, out: Float64Array): void {
  const n = rows.length;
  if (n === 0 || 2 * trim >= n) throw new RangeError(`Of ${n} values, ${trim} cannot be trimmed at either end.`);
  const column = new Float32Array(n);
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < n; k++) column[k] = (rows[k] as Float32Array)[i] as number;
    column.sort();
    let sum = 0;
    for (let k = trim; k < n - trim; k++) sum += column[k] as number;
    out[i] = sum / (n - 2 * trim);
  }
}

/** Adds the squared distances between the rows of a block to `distances`, n x n row by row. */
export function addDistances(rows: readonly Float32Array[], distances: Float64Array): void {
  const n = rows.length;
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) {
      const [x, y] = [rows[a] as Float32Array, rows[b] as Float32Array];
      let sum = 0;
      for (let i = 0; i < x.length; i++) {
        const d = (x[i] as number) - (y[i] as number);
        sum += d * d;
      }
      distances[a * n + b] = (distances[a * n + b] as number) + sum;
      distances[b * n + a] = (distances[b * n + a] as number) + sum;
    }
  }
}

/** What Krum goes by: the lowest score, and of equal ones the lowest sum over all others. */
interface KrumScore {
  score: number;
  total: number;
}

/**
 * Krum's score of each of `among` (Blanchard et al. 2017, section 4): the sum of the squared distances to its
 * `|among| - f - 2` nearest others, at least one. Where that is one, two that are each other's nearest have the same score: the sum over
 * all others decides between them, so that the order in which updates came decides nothing.
 */
function krumScores(distances: Float64Array, n: number, f: number, among: readonly number[]): KrumScore[] {
  const near = Math.max(1, among.length - f - 2);
  const sum = (values: readonly number[]): number => values.reduce((total, d) => total + d, 0);
  return among.map((a) => {
    const others = among.filter((b) => b !== a).map((b) => distances[a * n + b] as number);
    others.sort((x, y) => x - y);
    return { score: sum(others.slice(0, near)), total: sum(others) };
  });
}

const compareScores = (a: KrumScore | undefined, b: KrumScore | undefined): number =>
  (a?.score ?? NaN) - (b?.score ?? NaN) || (a?.total ?? NaN) - (b?.total ?? NaN);

function best(scores: readonly KrumScore[], among: readonly number[]): number {
  const order = [...among.keys()].sort((a, b) => compareScores(scores[a], scores[b]) || a - b);
  return among[order[0] ?? 0] as number;
}

/** @throws RangeError when n is too small for f liars: the rule's own condition */
function requireClients(rule: string, n: number, needed: number, f: number): void {
  if (n < needed) throw new RangeError(`${rule} needs ${needed} updates to bear ${f} wrong ones; there are ${n}.`);
}

/**
 * Which of n updates Krum keeps (Blanchard et al. 2017, NeurIPS, "Machine Learning with Adversaries"): the one with the lowest
 * score, or for Multi-Krum the `keep` lowest, whose mean is taken.
 * @param distances squared, n x n
 * @throws RangeError unless n >= 2 f + 3
 */
export function multiKrum(distances: Float64Array, n: number, f: number, keep: number): number[] {
  requireClients("Krum", n, 2 * f + 3, f);
  const all = Array.from({ length: n }, (_, i) => i);
  const scores = krumScores(distances, n, f, all);
  return all
    .sort((a, b) => compareScores(scores[a], scores[b]) || a - b)
    .slice(0, keep)
    .sort((a, b) => a - b);
}

/**
 * Which of n updates Bulyan takes into its last step (El Mhamdi et al. 2018, arXiv 1802.07927, algorithm 2): n - 2 f of them,
 * each the Krum winner among those that are left.
 * @throws RangeError unless n >= 4 f + 3
 */
export function bulyanSelection(distances: Float64Array, n: number, f: number): number[] {
  requireClients("Bulyan", n, 4 * f + 3, f);
  let left = Array.from({ length: n }, (_, i) => i);
  const chosen: number[] = [];
  while (chosen.length < n - 2 * f) {
    const winner = best(krumScores(distances, n, f, left), left);
    chosen.push(winner);
    left = left.filter((one) => one !== winner);
  }
  return chosen.sort((a, b) => a - b);
}

/** Bulyan's last step: of each coordinate the mean of the `rows.length - 2 f` values that are closest to the median. */
export function bulyanBlock(rows: readonly Float32Array[], f: number, out: Float64Array): void {
  const n = rows.length;
  const keep = n - 2 * f;
  const column = new Float32Array(n);
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < n; k++) column[k] = (rows[k] as Float32Array)[i] as number;
    column.sort();
    const median = ((column[Math.floor((n - 1) / 2)] as number) + (column[Math.floor(n / 2)] as number)) / 2;
    // The closest are neighbours in the sorted column: move a window for as long as its right end is the closer one.
    let start = 0;
    while (start + keep < n && (column[start + keep] as number) - median < median - (column[start] as number)) {
      start++;
    }
    let sum = 0;
    for (let k = start; k < start + keep; k++) sum += column[k] as number;
    out[i] = sum / keep;
  }
}

/** The plain mean of some rows. */
export function meanBlock(rows: readonly Float32Array[], out: Float64Array): void {
  out.fill(0);
  for (const row of rows)
    for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) + (row[i] as number) / rows.length;
}

/** Steps of Weiszfeld's algorithm, and what keeps a distance from being divided by when it is 0: the paper's own. */
const WEISZFELD = { steps: 3, nu: 1e-6 } as const;

/**
 * How much each of n updates weighs in their geometric median (RFA, Pillutla et al. 2022, arXiv 1912.13445, algorithm 2): from the plain
 * mean on, three smoothed steps of Weiszfeld's algorithm, `beta_i = 1 / max(nu, |v - x_i|)`. The median stays within the updates'
 * hull, so its distances follow from theirs: with weights l of sum 1, `|sum_i l_i x_i - x_j|^2 = sum_i l_i D_ij - l' D l / 2`.
 * @param distances squared, n x n
 */
export function geometricMedianWeights(distances: Float64Array, n: number): number[] {
  if (n === 0) throw new RangeError("A geometric median needs an update.");
  let weights = Array<number>(n).fill(1 / n);
  for (let step = 0; step < WEISZFELD.steps; step++) {
    const toMedian = weights.map((_, j) =>
      weights.reduce((sum, l, i) => sum + l * (distances[i * n + j] as number), 0),
    );
    const inner = weights.reduce((sum, l, j) => sum + l * (toMedian[j] as number), 0) / 2;
    const betas = toMedian.map((d) => 1 / Math.max(WEISZFELD.nu, Math.sqrt(Math.max(0, d - inner))));
    const total = betas.reduce((a, b) => a + b, 0);
    weights = betas.map((beta) => beta / total);
  }
  return weights;
}

/** A mean of rows with weights of sum 1. */
export function weightedBlock(rows: readonly Float32Array[], weights: readonly number[], out: Float64Array): void {
  out.fill(0);
  for (const [k, row] of rows.entries()) {
    const weight = weights[k] ?? 0;
    for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) + weight * (row[i] as number);
  }
}
