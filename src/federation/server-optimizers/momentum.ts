import type { OptimizerRule } from "./optimizer";

/** FedAvgM (Hsu et al. 2019, arXiv 1909.06335, section 4): `m = beta m + D; w += eta * m`. */
export const momentum: OptimizerRule = {
  remembers: true,
  seesUpdates: false,
  step(weights, delta, { learningRate, momentum: beta }, { first }) {
    for (let i = 0; i < weights.length; i++) {
      const m = beta * (first[i] ?? 0) + (delta[i] ?? 0);
      first[i] = m;
      weights[i] = (weights[i] ?? 0) + learningRate * m;
    }
  },
};

/**
 * FedMom (Huo et al. 2020, arXiv 2002.02090, algorithm 3): `v' = w + eta D; w = v' + beta (v' - v)`, of which `first` holds `w - v`, so
 * that it begins with zeros: `m = beta (m + eta D); w += eta D + m`.
 */
export const nesterov: OptimizerRule = {
  ...momentum,
  step(weights, delta, { learningRate, momentum: beta }, { first }) {
    for (let i = 0; i < weights.length; i++) {
      const step = learningRate * (delta[i] ?? 0);
      const m = beta * ((first[i] ?? 0) + step);
      first[i] = m;
      weights[i] = (weights[i] ?? 0) + step + m;
    }
  },
};
