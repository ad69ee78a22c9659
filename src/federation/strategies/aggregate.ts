import type { ModelSummary, TensorSpec } from "../../model/model";
import type { Aggregation } from "../protocol";
import {
  addDistances,
  bulyanBlock,
  bulyanSelection,
  meanBlock,
  medianBlock,
  multiKrum,
  trimmedMeanBlock,
} from "./robust";
import { stepServer, type ServerMoments, type ServerOptimizer } from "./server-optimizers";

/** How a round's updates become the next weights, wherever those lie: on the edge, or in the lab's simulation. */

/** Numbers of a block: 8 MB of float64. An optimizer's moments are kept by these blocks. */
export const BLOCK = 1_000_000;

/** The average of the updates, for `length` coordinates from `start` on. */
export type BlockAverage = (start: number, length: number) => Promise<Float64Array>;

/** The same coordinates of some updates, which are named by their places among all. */
export type Rows = (which: readonly number[], start: number, length: number) => Promise<Float32Array[]>;

export interface RobustRule {
  aggregation: Exclude<Aggregation, "mean" | "q-fair">;
  /** f: wrong updates that it has to bear. */
  byzantine: number;
  /** n */
  updates: number;
  parameters: number;
  /** Numbers of each update that are held at once. */
  piece: number;
}

/** How each rule makes one block of those of the updates that it has chosen. */
const BLOCKS: Record<RobustRule["aggregation"], (rows: Float32Array[], out: Float64Array, byzantine: number) => void> =
  {
    median: medianBlock,
    "trimmed-mean": (rows, out, byzantine) => trimmedMeanBlock(rows, byzantine, out),
    krum: meanBlock,
    "multi-krum": meanBlock,
    bulyan: (rows, out, byzantine) => bulyanBlock(rows, byzantine, out),
  };

/**
 * A robust average, by block; Krum and Bulyan first go through all updates for the distances.
 * @throws RangeError when the cohort is too small for the rule
 */
export async function robustAverage(
  { aggregation, byzantine, updates, parameters, piece }: RobustRule,
  rows: Rows,
): Promise<BlockAverage> {
  let chosen = Array.from({ length: updates }, (_, i) => i);
  if (aggregation === "krum" || aggregation === "multi-krum" || aggregation === "bulyan") {
    const distances = new Float64Array(updates * updates);
    for (let start = 0; start < parameters; start += piece) {
      addDistances(await rows(chosen, start, Math.min(piece, parameters - start)), distances);
    }
    chosen =
      aggregation === "bulyan"
        ? bulyanSelection(distances, updates, byzantine)
        : multiKrum(distances, updates, byzantine, aggregation === "krum" ? 1 : updates - byzantine);
  }
  const combine = BLOCKS[aggregation];
  return async (start, length) => {
    const out = new Float64Array(length);
    for (let at = 0; at < length; at += piece) {
      const count = Math.min(piece, length - at);
      combine(await rows(chosen, start + at, count), out.subarray(at, at + count), byzantine);
    }
    return out;
  };
}

export interface ServerStep {
  optimizer: ServerOptimizer;
  average: BlockAverage;
  /** How much of the average is taken: see {@link shrinkage}. */
  share: number;
  /** Tensors that stay as they are: a client's own batch normalization, for example. */
  keep: (tensor: TensorSpec) => boolean;
  /** The optimizer's moments of a block, to be changed in place; null where it has none. */
  moments: (start: number, length: number) => Promise<ServerMoments | null>;
  /** Told the moments of every block after its step. */
  onMoments?: (start: number, moments: ServerMoments) => Promise<void>;
}

/** Steps all weights of a model in place by the average of a round's updates, block by block: see {@link stepServer}. */
export async function stepModel(
  { tensors, parameters }: ModelSummary,
  weights: Float32Array,
  { optimizer, average, share, keep, moments, onMoments }: ServerStep,
): Promise<void> {
  for (let start = 0; start < parameters; start += BLOCK) {
    const block = weights.subarray(start, Math.min(parameters, start + BLOCK));
    const inBlock = tensors.filter(({ offset, size }) => offset < start + block.length && offset + size > start);
    const mean = await average(start, block.length);
    const delta = share === 1 ? mean : mean.map((value) => value * share);
    const own = await moments(start, block.length);
    for (const tensor of inBlock) {
      if (keep(tensor)) continue;
      const from = Math.max(0, tensor.offset - start);
      const to = Math.min(block.length, tensor.offset + tensor.size - start);
      const part = own && { first: own.first.subarray(from, to), second: own.second.subarray(from, to) };
      // Batch-norm statistics are no parameters: they are averaged, whatever the optimizer.
      stepServer(block.subarray(from, to), delta.subarray(from, to), part, optimizer, !tensor.trainable);
    }
    if (own) await onMoments?.(start, own);
  }
}
