import type { LinearAggregation } from "./aggregation";

/**
 * q-FedAvg (Li et al. 2020, arXiv 1905.10497, algorithm 2): with L = 1 / eta and F = F_k(w_t), `weight = L F^q` and
 * `denominator = q F^(q-1) L^2 |delta_k|^2 + L F^q`; q = 0 is the plain mean.
 */
export const qFair: LinearAggregation = {
  isLinear: true,
  needsInitialLoss: true,
  needsSteps: false,
  seesUpdates: true,
  isForHubs: true,
  weigh({ norm, initialLoss, discount }, { q, learningRate }) {
    if (initialLoss === null) throw new RangeError("q-FedAvg needs the loss of the base checkpoint from every client.");
    // The paper adds 1e-10 to the loss, so that a client without any loss has a weight.
    const loss = initialLoss + 1e-10;
    const lipschitz = 1 / learningRate;
    return {
      weight: lipschitz * loss ** q * discount,
      denominator: q * loss ** (q - 1) * (lipschitz * norm) ** 2 + lipschitz * loss ** q,
    };
  },
  divisor: ({ denominator }) => denominator,
};
