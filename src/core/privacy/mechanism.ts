import type { RoundConfig } from "../protocol";
import { addGaussian } from "./discrete-gaussian";
import { noiseOf } from "./noise-scale";

/** What a round with noise does that the accountant counts on, in the words of DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963). */

/** Poisson sampling: each client that waits is drawn by itself. @param random uniform in [0, 1) */
export const drawEach = <T>(waiting: readonly T[], fraction: number, random: () => number): T[] =>
  waiting.filter(() => random() < fraction);

/** Whether the goal ends a round: with noise everybody who was drawn counts, or one client would decide whether another does. */
export const endsAtGoal = ({ noise }: Pick<RoundConfig, "noise">): boolean => noise === 0;

/** What a sum of clipped updates is divided by, whoever came, and the deviation of the noise that the mean gets; null without noise. */
export interface NoiseRule {
  denominator: number;
  deviation: number;
}

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

/** Makes the mean of a sum, in place, and adds a rule's noise to it. */
export function toMean(sum: Float64Array, denominator: number, rule: NoiseRule | null): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) / denominator;
  if (rule && rule.deviation > 0) addGaussian(sum, rule.deviation);
}
