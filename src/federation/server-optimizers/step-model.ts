import type { ModelSummary, TensorSpec } from "../../model/model";
import type { BlockAverage } from "../aggregation/robust-average";
import type { OptimizerRule, ServerMoments } from "./optimizer";
import { squareWithin, steppedSpans } from "./stepped-spans";
import { optimizerRule, SERVER_OPTIMIZERS, type ServerOptimizer } from "./registry";

/** Numbers of a block: 8 MB of float64. An optimizer's moments are kept by these blocks. */
export const BLOCK = 1_000_000;

export interface ServerStep {
  optimizer: ServerOptimizer;
  /** A rule in the optimizer's place: a strategy's. */
  rule?: OptimizerRule | undefined;
  average: BlockAverage;
  /** How much of the average is taken: see `shrinkage`. */
  share: number;
  /** Tensors that stay as they are: a client's own batch normalization, for example. */
  keep: (tensor: TensorSpec) => boolean;
  /** The optimizer's moments of a block, to be changed in place; null where it has none. */
  moments: (start: number, length: number) => Promise<ServerMoments | null>;
  /** Told the average of every block once, before its step. */
  onAverage?: (start: number, average: Float64Array) => Promise<void>;
  /** The mean of the squared norms of what is stepped of the updates, for an optimizer that sees them. */
  meanSquare?: number;
  /** Told the moments of every block after its step. */
  onMoments?: (start: number, moments: ServerMoments) => Promise<void>;
}

/** Steps all weights of a model in place by the average of a round's updates, block by block, wherever those lie. */
export async function stepModel(
  { tensors, parameters }: ModelSummary,
  weights: Float32Array,
  {
    optimizer,
    rule = optimizerRule(optimizer.kind),
    average,
    share,
    keep,
    moments,
    meanSquare = 0,
    onAverage,
    onMoments,
  }: ServerStep,
): Promise<void> {
  let options = optimizer;
  if (rule.scale) {
    const spans = steppedSpans(tensors, keep);
    let square = 0;
    for (let start = 0; start < parameters; start += BLOCK) {
      square += squareWithin(spans, start, await average(start, Math.min(BLOCK, parameters - start)));
    }
    options = { ...optimizer, learningRate: optimizer.learningRate * rule.scale(meanSquare, square, optimizer) };
  }
  for (let start = 0; start < parameters; start += BLOCK) {
    const block = weights.subarray(start, Math.min(parameters, start + BLOCK));
    const inBlock = tensors.filter(({ offset, size }) => offset < start + block.length && offset + size > start);
    const mean = await average(start, block.length);
    await onAverage?.(start, mean);
    const delta = share === 1 ? mean : mean.map((value) => value * share);
    const own = await moments(start, block.length);
    const { first, second } = own ?? { first: new Float32Array(0), second: new Float32Array(0) };
    for (const tensor of inBlock) {
      if (keep(tensor)) continue;
      const from = Math.max(0, tensor.offset - start);
      const to = Math.min(block.length, tensor.offset + tensor.size - start);
      const part = { first: first.subarray(from, to), second: second.subarray(from, to) };
      // Batch-norm statistics are no parameters, and a step could make a variance negative: they are averaged, whatever the optimizer.
      if (tensor.trainable) rule.step(block.subarray(from, to), delta.subarray(from, to), options, part);
      else
        SERVER_OPTIMIZERS.sgd.step(
          block.subarray(from, to),
          delta.subarray(from, to),
          { ...options, learningRate: 1 },
          part,
        );
    }
    if (own) await onMoments?.(start, own);
  }
}
