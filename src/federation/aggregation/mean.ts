import type { LinearAggregation } from "./aggregation";

/** FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): `sum_k n_k delta_k / sum_k n_k`. */
export const mean: LinearAggregation = {
  isLinear: true,
  needsInitialLoss: false,
  needsSteps: false,
  seesUpdates: false,
  isForHubs: true,
  weigh: ({ examples, discount }) => ({ weight: examples * discount, denominator: examples }),
  divisor: ({ denominator }) => denominator,
};
