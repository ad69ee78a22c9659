import type { LinearAggregation, LinearOptions } from "./aggregation";

/** tau_k: steps of local SGD, E passes over n examples in batches of B, the last of which may be small. */
export const localSteps = (
  examples: number,
  { epochs, batchSize }: Pick<LinearOptions, "epochs" | "batchSize">,
): number => epochs * Math.max(1, Math.ceil(examples / batchSize));

/**
 * FedNova (Wang et al. 2020, arXiv 2007.07481, equations 6 and 8 with plain SGD, where |a_k|_1 = tau_k):
 * `tau_eff sum_k p_k delta_k / tau_k` with `p_k = n_k / n` and `tau_eff = sum_k p_k tau_k`. With `weight = n_k / tau_k` and
 * `denominator = n_k tau_k` that is the sum divided by `n^2 / sum_k n_k tau_k`.
 *
 * A delta is divided by all the steps that its client has taken, also on examples that do not count. tau_eff is how far everybody's step
 * goes, and grows with the square of what one client claims: there only the steps on examples that count are counted, so that it is at
 * most what a client at the round's cap takes. Where nothing is capped, both are the same.
 */
export const fednova: LinearAggregation = {
  isLinear: true,
  needsInitialLoss: false,
  needsSteps: true,
  seesUpdates: true,
  // A hub knows its own clients' steps only.
  isForHubs: false,
  conflict: ({ optimizer, proximal, patience }) =>
    optimizer !== "sgd" || proximal > 0 || patience > 0
      ? "FedNova divides by steps of plain SGD: choose optimizer sgd, proximal 0 and patience 0."
      : undefined,
  weigh({ examples, steps, discount }, options) {
    return { weight: (examples * discount) / steps, denominator: examples * localSteps(examples, options) };
  },
  divisor: ({ examples, denominator }) => examples ** 2 / denominator,
};
