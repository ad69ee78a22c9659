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
 * tau_k follows from the examples that the update counts for: a client that has more than a round lets it count takes more steps than
 * that.
 */
export const fednova: LinearAggregation = {
  isLinear: true,
  needsInitialLoss: false,
  seesUpdates: true,
  // A hub knows its own clients' steps only.
  isForHubs: false,
  conflict: ({ optimizer, proximal, patience }) =>
    optimizer !== "sgd" || proximal > 0 || patience > 0
      ? "FedNova divides by steps of plain SGD: choose optimizer sgd, proximal 0 and patience 0."
      : undefined,
  weigh({ examples, discount }, options) {
    const tau = localSteps(examples, options);
    return { weight: (examples * discount) / tau, denominator: examples * tau };
  },
  divisor: ({ examples, denominator }) => examples ** 2 / denominator,
};
