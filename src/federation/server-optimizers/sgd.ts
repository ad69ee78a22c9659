import type { OptimizerRule } from "./optimizer";

/** FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): `w += eta * D`. */
export const sgd: OptimizerRule = {
  remembers: false,
  seesUpdates: false,
  step(weights, delta, { learningRate }) {
    for (let i = 0; i < weights.length; i++) weights[i] = (weights[i] ?? 0) + learningRate * (delta[i] ?? 0);
  },
};
