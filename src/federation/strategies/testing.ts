import { expect } from "vitest";
import type { ModelSummary } from "../../model/model";
import oracle from "./oracle.json";

/** Holds numbers against somebody else's, relative to their size where they are larger than 1. */
export function expectClose(found: ArrayLike<number>, expected: readonly number[], tolerance = 1e-6): void {
  expect(found).toHaveLength(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((found[i] ?? NaN) - value), `at ${i}`).toBeLessThan(tolerance * Math.max(1, Math.abs(value)));
  });
}

/** NumPy's federations of clients with quadratic losses: tools/strategies-oracle.py. */
export const { A, b, cohorts, start, steps, lr, ...paths } = oracle.more.quadratics;

/** Their weights, as a network's of two layers. */
export const quadratic: Pick<ModelSummary, "parameters" | "tensors"> = {
  parameters: start.length,
  tensors: [
    { name: "body/kernel", shape: [3], size: 3, offset: 0, trainable: true },
    { name: "head/kernel", shape: [start.length - 3], size: start.length - 3, offset: 3, trainable: true },
  ],
};

/** A client's gradient, A_i (w - b_i). */
export const slope = (client: number, w: Float32Array): Float32Array =>
  Float32Array.from(start, (_, row) =>
    (A[client]?.[row] ?? []).reduce((sum, a, i) => sum + a * ((w[i] ?? 0) - (b[client]?.[i] ?? 0)), 0),
  );
