import type { ModelSummary, TensorSpec } from "../../model/model";
import { isNorm } from "../../model/batch-norm";
import { noiseOf } from "../privacy/noise-scale";
import type { RoundConfig } from "../protocol";
import type { ServerOptimizer } from "../server-optimizers/registry";
import { personalLayersOf } from "../strategies/live";
import { lastLayers } from "../strategies/personal-layers";

/** What a round's configuration says of how its updates become the next weights, for whoever adds and averages them. */

/**
 * Whether nobody may learn who takes part in a round, nor how many: with noise of the edge the accountant counts on a draw that is a
 * secret. Such a round runs whoever was drawn, closes at its deadline alone, and nothing is told of its cohort.
 */
export const hidesCohort = ({ noise, secure }: Pick<RoundConfig, "noise" | "secure">): boolean => noise > 0 && !secure;

/** Whether nobody may learn what a single client has sent: with noise, or under masks. */
export const hidesUpdates = ({ noise, secure }: Pick<RoundConfig, "noise" | "secure">): boolean => noise > 0 || secure;

/** Whether the goal ends a round: with noise everybody who was drawn counts, or one client would decide whether another does. */
export const endsAtGoal = ({ noise }: Pick<RoundConfig, "noise">): boolean => noise === 0;

/** DP-FedAvg: what a sum is divided by, and the standard deviation of the noise on each number of the average. */
export interface NoiseRule {
  denominator: number;
  deviation: number;
}

/**
 * How the noise of a round is scaled; null where it has none. The sum is divided by the goal, which is fixed before anybody comes: with
 * what came, one client could change everybody's part.
 */
export function noiseRuleOf({
  noise,
  clipQuantile,
  updateClip,
  goalCount,
  secure,
}: Pick<RoundConfig, "noise" | "clipQuantile" | "updateClip" | "goalCount" | "secure">): NoiseRule | null {
  if (noise === 0) return null;
  const deviation = (noiseOf({ noise, clipQuantile, goalCount }) * updateClip) / goalCount;
  // With secure aggregation the clients have added it.
  return { denominator: goalCount, deviation: secure ? 0 : deviation };
}

export const optimizerOf = (
  config: Pick<
    RoundConfig,
    "serverOptimizer" | "serverLearningRate" | "serverMomentum" | "serverBeta2" | "serverTau" | "serverEpsilon"
  >,
): ServerOptimizer => ({
  kind: config.serverOptimizer,
  learningRate: config.serverLearningRate,
  momentum: config.serverMomentum,
  beta2: config.serverBeta2,
  tau: config.serverTau,
  epsilon: config.serverEpsilon,
});

/** What of a model stays as it is in a round's base, whatever its updates hold. */
export interface Kept {
  batchNorm: boolean;
  /** How many of the last layers: those that clients have for themselves. */
  lastLayers: number;
}

/** Batch normalization where clients keep their own or it is frozen, and the personal layers of a strategy that has some. */
export const keptOf = (config: Pick<RoundConfig, "batchNorm" | "strategy" | "personalLayers">): Kept => ({
  batchNorm: config.batchNorm !== "average",
  lastLayers: personalLayersOf(config),
});

/** Whether a tensor stays as it is in the base. */
export const isKept = (model: ModelSummary, tensor: TensorSpec, kept: Kept): boolean =>
  (kept.batchNorm && isNorm(model, tensor)) || lastLayers(model, kept.lastLayers).includes(tensor);
