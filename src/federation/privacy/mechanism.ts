import type { NoiseRule } from "../round/rule";
import { addGaussian } from "./discrete-gaussian";

/** Makes the mean of a sum, in place, and adds a rule's noise to it: DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963). */
export function toMean(sum: Float64Array, denominator: number, rule: NoiseRule | null): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) / denominator;
  if (rule && rule.deviation > 0) addGaussian(sum, rule.deviation);
}
