import type { RoundConfig } from "../protocol";

/**
 * How a cohort's updates become one. Each rule is a file here that says all of it, and a line in registry.ts: the protocol, the form, the
 * command line, the edge and the lab follow it.
 */
export type AggregationRule = LinearAggregation | RobustAggregation;

interface Capabilities {
  /** Whether it goes by what single updates are like, which secure aggregation and noise are there to hide. */
  readonly seesUpdates: boolean;
  /** Whether hubs that know the sums of their own clients only can come to it. */
  readonly isForHubs: boolean;
  /** Why it does not go with how clients train, in words; undefined where it does. */
  readonly conflict?: (config: Pick<RoundConfig, "optimizer" | "proximal" | "patience">) => string | undefined;
}

/** A weighted sum, `sum_k weight_k * delta_k`, and what it is divided by: updates are added as they come. */
export interface LinearAggregation extends Capabilities {
  readonly isLinear: true;
  /** Whether a client has to say F_k(w_t), the loss of the base checkpoint on its training faces. */
  readonly needsInitialLoss: boolean;
  /** Whether it goes by the steps that a client has taken. */
  readonly needsSteps: boolean;
  weigh(update: WeighedUpdate, options: LinearOptions): Weight;
  /** What the sum is divided by. */
  divisor(totals: { examples: number; denominator: number }): number;
}

export interface WeighedUpdate {
  /** n_k */
  examples: number;
  /** tau_k: steps of local SGD that made the delta. */
  steps: number;
  /** L2 norm of the delta, after it was clipped. */
  norm: number;
  /** F_k(w_t), where the rule asks for it. */
  initialLoss: number | null;
  /** What the delta is multiplied by before anything else: its clip, and its staleness. */
  discount: number;
}

/** The weight of an update's delta, and what it adds to the denominator. */
export interface Weight {
  weight: number;
  denominator: number;
}

/** What of a round's configuration its linear rule goes by. */
export type LinearOptions = Pick<RoundConfig, "q" | "learningRate" | "epochs" | "batchSize">;

/**
 * An average that bears updates which are wrong or hostile. It needs every update: the coordinate-wise ones a block of each at a
 * time, the others the distances between all of them as well. Examples do not weigh here: a liar could claim a million.
 */
export interface RobustAggregation extends Capabilities {
  readonly isLinear: false;
  readonly needsDistances: boolean;
  /** The fewest updates among which it bears f wrong ones: its paper's own condition. A round with a lower goal is not begun. */
  readonly leastUpdates: (byzantine: number) => number;
  /** @param cohort of at least so many updates */
  prepare(cohort: ComparedCohort): Prepared;
}

export interface ComparedCohort {
  /** n */
  updates: number;
  /** f: wrong updates that it has to bear. */
  byzantine: number;
  /** Squared, n x n row by row; empty where the rule needs none. */
  distances: Float64Array;
}

export interface Prepared {
  /** The updates that are averaged, by their places among all; all of them where it is absent. */
  chosen?: readonly number[];
  /** Makes one block of the same block of each of them. */
  combine: (rows: readonly Float32Array[], out: Float64Array) => void;
}
