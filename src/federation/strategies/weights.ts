import type { Aggregation } from "../protocol";

/** Rules whose average is a weighted sum: each update brings a weight for its delta and a part of the denominator. */

/** What the edge knows of an update before it is added. */
export interface UpdateFacts {
  /** n_k */
  examples: number;
  /** L2 norm of the whole delta. */
  norm: number;
  /** F_k(w_t): mean loss of the base checkpoint on the client's training faces. Only q-FedAvg asks for it. */
  initialLoss: number | null;
  /** Versions that were published since its base. 0 in a synchronous round. */
  staleness: number;
}

export interface LinearRule {
  /** q of q-FedAvg; null weighs by examples. */
  q: number | null;
  /** The client's learning rate, 1 / L in q-FedAvg. */
  clientLearningRate: number;
  /** The largest norm a delta may have; longer ones are scaled down to it. 0 is off. */
  clip: number;
  /** DP-FedAvg: every client weighs the same. */
  equally: boolean;
  /** FedNova: how many steps of SGD a client takes for its examples; null counts none. */
  steps: { epochs: number; batchSize: number } | null;
}

/** tau_k: steps of local SGD, E passes over n examples in batches of B, the last of which may be small. */
export const localSteps = (examples: number, { epochs, batchSize }: { epochs: number; batchSize: number }): number =>
  epochs * Math.max(1, Math.ceil(examples / batchSize));

/**
 * The weight of an update's delta, and what it adds to the denominator: the average is
 * `sum_k weight_k * delta_k / sum_k denominator_k`.
 *
 * - FedAvg (McMahan et al. 2017, algorithm 1): both are n_k.
 * - Norm clipping (Sun et al. 2019, arXiv 1911.07963, section 4): `delta_k * min(1, c / |delta_k|)`.
 * - FedBuff (Nguyen et al. 2022, arXiv 2106.06639, appendix, the staleness function of section 5): `delta_k / sqrt(1 + s)`
 *   for an update that is s versions late; the denominator stays, so that stale updates count less.
 * - DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963, algorithm 1, with all weights 1): the clipped delta; what the sum is divided by
 *   is then not the number of updates that came, but of those that were expected.
 * - q-FedAvg (Li et al. 2020, arXiv 1905.10497, algorithm 2): with L = 1 / eta and F = F_k(w_t),
 *   `weight = L F^q`, `denominator = q F^(q-1) L^2 |delta_k|^2 + L F^q`; q = 0 is the plain mean.
 * - FedNova (Wang et al. 2020, arXiv 2007.07481, equations 6 and 8 with plain SGD, where |a_k|_1 = tau_k): `weight = n_k / tau_k` and
 *   `denominator = n_k tau_k`; see {@link divisorOf}. tau_k follows from the examples that the update counts for: a client that has
 *   more than a round lets it count takes more steps than that.
 *
 * @throws RangeError when q-FedAvg lacks an update's loss
 */
export function linearWeight(
  { examples, norm, initialLoss, staleness }: UpdateFacts,
  { q, clientLearningRate, clip, equally, steps }: LinearRule,
): { weight: number; denominator: number } {
  const clipped = clip > 0 && norm > clip ? clip / norm : 1;
  const discount = clipped / Math.sqrt(1 + staleness);
  if (equally) return { weight: discount, denominator: 1 };
  if (steps) {
    const tau = localSteps(examples, steps);
    return { weight: (examples * discount) / tau, denominator: examples * tau };
  }
  if (q === null) return { weight: examples * discount, denominator: examples };
  if (initialLoss === null) throw new RangeError("q-FedAvg needs the loss of the base checkpoint from every client.");
  // The paper adds 1e-10 to the loss, so that a client without any loss has a weight.
  const loss = initialLoss + 1e-10;
  const lipschitz = 1 / clientLearningRate;
  const length = norm * clipped;
  return {
    weight: lipschitz * loss ** q * discount,
    denominator: q * loss ** (q - 1) * (lipschitz * length) ** 2 + lipschitz * loss ** q,
  };
}

/**
 * What a weighted sum is divided by. FedNova's average is `tau_eff sum_k p_k delta_k / tau_k` with `p_k = n_k / n` and
 * `tau_eff = sum_k p_k tau_k`: with its denominators, `sum_k weight_k delta_k` divided by `n^2 / sum_k n_k tau_k`.
 */
export const divisorOf = (
  aggregation: Aggregation,
  { examples, denominator }: { examples: number; denominator: number },
): number => (aggregation === "fednova" ? examples ** 2 / denominator : denominator);

/**
 * How much of an average of updates the server takes where its base counts as `prior` more examples with nothing to change:
 * `n / (n + prior)`, the posterior mean of a normal model with that many prior observations (Gelman et al. 2013, Bayesian Data
 * Analysis, section 2.5). A few faces move the model a little, many nearly all the way. 1 where the prior is 0.
 */
export const shrinkage = (examples: number, prior: number): number => (prior === 0 ? 1 : examples / (examples + prior));
