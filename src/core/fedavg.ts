/**
 * FederatedAveraging (McMahan et al. 2017, arXiv 1602.05629, Algorithm 1) in its delta form:
 * `w_{t+1} = w_t + sum_k (n_k / n) * delta_k` with `delta_k = w_k - w_t` and `n = sum_k n_k`.
 * Batch-norm statistics are part of `w` and are averaged with the same weights.
 */

/** `w_k - w_t`, element by element. */
export function delta(trained: Float32Array, base: Float32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(base.length);
  for (let i = 0; i < out.length; i++) out[i] = (trained[i] as number) - (base[i] as number);
  return out;
}

/** A running `sum_k n_k * delta_k` in float64. Sums of disjoint sets of clients merge in any order. */
export class WeightedSum {
  readonly sum: Float64Array;
  /** `sum_k n_k` so far. */
  examples = 0;
  /** How many deltas were added. */
  count = 0;

  constructor(readonly length: number) {
    this.sum = new Float64Array(length);
  }

  /** Adds `examples * delta`. @throws RangeError when the length or the number of examples is wrong. */
  add(delta: Float32Array, examples: number): void {
    if (delta.length !== this.length) {
      throw new RangeError(`A delta of ${delta.length} numbers cannot be added to a sum of ${this.length}.`);
    }
    if (!Number.isSafeInteger(examples) || examples < 1) {
      throw new RangeError(`A delta's weight is a positive number of examples, not ${examples}.`);
    }
    const { sum } = this;
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + examples * (delta[i] as number);
    this.examples += examples;
    this.count += 1;
  }

  /** Adds a part of another sum, `values` standing from index `start`; {@link addTotals} closes the merge. */
  addPart(start: number, values: Float64Array): void {
    for (let i = 0; i < values.length; i++)
      this.sum[start + i] = (this.sum[start + i] as number) + (values[i] as number);
  }

  /** Takes over the counts of a sum whose parts were all added. */
  addTotals(other: { examples: number; count: number }): void {
    this.examples += other.examples;
    this.count += other.count;
  }

  /** Turns the base checkpoint into the next one in place: `w + sum / n`, rounded once to float32.
   * @throws RangeError when nothing was added. */
  applyTo(weights: Float32Array): void {
    if (this.examples === 0) throw new RangeError("There is nothing to average.");
    for (let i = 0; i < weights.length; i++) {
      weights[i] = (weights[i] as number) + (this.sum[i] as number) / this.examples;
    }
  }
}
