import type { RoundConfig } from "../protocol";
import { remembers } from "../strategies/live";
import type { LinearOptions, Weight } from "./aggregation";
import { linearOf } from "./registry";

/** What the edge knows of an update before it is added. */
export interface UpdateFacts {
  /** n_k */
  examples: number;
  /** Steps of local SGD that made it: on all examples of its client, also on those that do not count. */
  steps: number;
  /** L2 norm of the whole delta. */
  norm: number;
  /** F_k(w_t): mean loss of the base checkpoint on the client's training faces. Only q-FedAvg asks for it. */
  initialLoss: number | null;
  /** Versions that were published since its base. 0 in a synchronous round. */
  staleness: number;
}

/**
 * The weight of an update's delta in a rule that is a sum, and what it adds to the denominator. Whatever the rule:
 *
 * - Norm clipping (Sun et al. 2019, arXiv 1911.07963, section 4): `delta_k * min(1, c / |delta_k|)`.
 * - FedBuff (Nguyen et al. 2022, arXiv 2106.06639, appendix, the staleness function of section 5): `delta_k / sqrt(1 + s)`
 *   for an update that is s versions late; the denominator stays, so that stale updates count less.
 * - DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963, algorithm 1, with all weights 1): the clipped delta; what the sum is divided by
 *   is then not the number of updates that came, but of those that were expected.
 * - Where the server remembers something of its strategy, all weights are 1 as well.
 *
 * @param clip the largest norm a delta may have; longer ones are scaled down to it. 0 is off.
 * @throws RangeError when q-FedAvg lacks an update's loss
 */
export function linearWeight(
  { examples, steps, norm, initialLoss, staleness }: UpdateFacts,
  config: LinearOptions & Pick<RoundConfig, "aggregation" | "noise"> & Partial<Pick<RoundConfig, "strategy">>,
  clip: number,
): Weight {
  const { aggregation, noise, strategy = "none" } = config;
  const clipped = clip > 0 && norm > clip ? clip / norm : 1;
  const discount = clipped / Math.sqrt(1 + staleness);
  if (noise > 0 || remembers({ strategy })) return { weight: discount, denominator: 1 };
  return linearOf(aggregation).weigh({ examples, steps, norm: norm * clipped, initialLoss, discount }, config);
}

/**
 * How much of an average of updates the server takes where its base counts as `prior` examples with nothing to change:
 * `n^2 / (n^2 + prior^2)`. A few faces move the model hardly at all, many nearly all the way. With n instead of its square, which is the
 * posterior mean of a normal model with that many prior observations (Gelman et al. 2013, Bayesian Data Analysis, section 2.5), ten rounds
 * of three clients of whom one errs did harm, and twenty clients helped less: docs/lab.md has both. 1 where the prior is 0.
 */
export function shrinkage(examples: number, prior: number): number {
  if (prior === 0) return 1;
  return examples ** 2 / (examples ** 2 + prior ** 2);
}
