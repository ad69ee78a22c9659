import type { ModelSummary, TensorSpec } from "../../model/model";
import type { Aggregation, LinearAggregation } from "../protocol";
import {
  addDistances,
  bulyanBlock,
  bulyanSelection,
  geometricMedianWeights,
  meanBlock,
  medianBlock,
  multiKrum,
  trimmedMeanBlock,
  weightedBlock,
} from "./robust";
import { extrapolation, stepServer, type ServerMoments, type ServerOptimizer } from "./server-optimizers";

/** How a round's updates become the next weights, wherever those lie: on the edge, or in the lab's simulation. */

/** Numbers of a block: 8 MB of float64. An optimizer's moments are kept by these blocks. */
export const BLOCK = 1_000_000;

/** The average of the updates, for `length` coordinates from `start` on. */
export type BlockAverage = (start: number, length: number) => Promise<Float64Array>;

/** The same coordinates of some updates, which are named by their places among all. */
export type Rows = (which: readonly number[], start: number, length: number) => Promise<Float32Array[]>;

export interface RobustRule {
  aggregation: Exclude<Aggregation, LinearAggregation>;
  /** f: wrong updates that it has to bear. */
  byzantine: number;
  /** n */
  updates: number;
  parameters: number;
  /** Numbers of each update that are held at once. */
  piece: number;
}

/** How a rule makes one block of those of the updates that it has chosen. */
type Block = (rows: Float32Array[], out: Float64Array, byzantine: number) => void;
const BLOCKS: Record<Exclude<RobustRule["aggregation"], "geometric-median">, Block> = {
  median: medianBlock,
  "trimmed-mean": (rows, out, byzantine) => trimmedMeanBlock(rows, byzantine, out),
  krum: meanBlock,
  "multi-krum": meanBlock,
  bulyan: (rows, out, byzantine) => bulyanBlock(rows, byzantine, out),
};

/**
 * A robust average, by block; Krum, Bulyan and the geometric median first go through all updates for the distances.
 * @throws RangeError when the cohort is too small for the rule
 */
export async function robustAverage(
  { aggregation, byzantine, updates, parameters, piece }: RobustRule,
  rows: Rows,
): Promise<BlockAverage> {
  let chosen = Array.from({ length: updates }, (_, i) => i);
  let combine: Block;
  if (aggregation === "median" || aggregation === "trimmed-mean") combine = BLOCKS[aggregation];
  else {
    const distances = new Float64Array(updates * updates);
    for (let start = 0; start < parameters; start += piece) {
      addDistances(await rows(chosen, start, Math.min(piece, parameters - start)), distances);
    }
    if (aggregation === "geometric-median") {
      const weights = geometricMedianWeights(distances, updates);
      combine = (rows, out) => weightedBlock(rows, weights, out);
    } else {
      combine = BLOCKS[aggregation];
      chosen =
        aggregation === "bulyan"
          ? bulyanSelection(distances, updates, byzantine)
          : multiKrum(distances, updates, byzantine, aggregation === "krum" ? 1 : updates - byzantine);
    }
  }
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
  /** The mean of the updates' squared norms, which FedExP's step is made of. */
  meanSquare?: number;
  /** Told the moments of every block after its step. */
  onMoments?: (start: number, moments: ServerMoments) => Promise<void>;
}

/** Steps all weights of a model in place by the average of a round's updates, block by block: see {@link stepServer}. */
export async function stepModel(
  { tensors, parameters }: ModelSummary,
  weights: Float32Array,
  { optimizer: asked, average, share, keep, moments, meanSquare = 0, onMoments }: ServerStep,
): Promise<void> {
  let optimizer = asked;
  if (asked.kind === "fedexp") {
    let square = 0;
    for (let start = 0; start < parameters; start += BLOCK) {
      for (const value of await average(start, Math.min(BLOCK, parameters - start))) square += value * value;
    }
    optimizer = { ...asked, learningRate: asked.learningRate * extrapolation(meanSquare, square) };
  }
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
