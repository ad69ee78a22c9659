import { addDistances } from "./blocks";
import { robustOf, type Aggregation } from "./registry";

/** The average of the updates, for `length` coordinates from `start` on. */
export type BlockAverage = (start: number, length: number) => Promise<Float64Array>;

/** The same coordinates of some updates, which are named by their places among all. */
export type Rows = (which: readonly number[], start: number, length: number) => Promise<Float32Array[]>;

export interface RobustCohort {
  aggregation: Aggregation;
  /** f: wrong updates that it has to bear. */
  byzantine: number;
  /** n */
  updates: number;
  parameters: number;
  /** Numbers of each update that are held at once. */
  piece: number;
}

/**
 * A robust average, by block, wherever the updates lie; a rule that compares whole updates first goes through all of them.
 * @throws RangeError when the cohort is too small for the rule
 */
export async function robustAverage(
  { aggregation, byzantine, updates, parameters, piece }: RobustCohort,
  rows: Rows,
): Promise<BlockAverage> {
  const rule = robustOf(aggregation);
  const least = rule.leastUpdates(byzantine);
  if (updates < least) {
    throw new RangeError(
      `${aggregation} needs ${least} updates to bear ${byzantine} wrong ones; there are ${updates}.`,
    );
  }
  const all = Array.from({ length: updates }, (_, i) => i);
  const distances = new Float64Array(rule.needsDistances ? updates * updates : 0);
  if (rule.needsDistances) {
    for (let start = 0; start < parameters; start += piece) {
      addDistances(await rows(all, start, Math.min(piece, parameters - start)), distances);
    }
  }
  const { chosen = all, combine } = rule.prepare({ updates, byzantine, distances });
  return async (start, length) => {
    const out = new Float64Array(length);
    for (let at = 0; at < length; at += piece) {
      const count = Math.min(piece, length - at);
      combine(await rows(chosen, start + at, count), out.subarray(at, at + count));
    }
    return out;
  };
}
