import type { OptimizerRule } from "./optimizer";

/** v from its last value and D^2. */
type SecondMoment = (v: number, square: number, beta2: number) => number;

/**
 * FedAdagrad, FedAdam, FedYogi (Reddi et al. 2021, arXiv 2003.00295, algorithm 2): `m = beta_1 m + (1 - beta_1) D`, then v, and
 * `w += eta * m / (sqrt(v) + tau)`.
 */
const adaptive = (secondMoment: SecondMoment): OptimizerRule => ({
  remembers: true,
  seesUpdates: false,
  step(weights, delta, { learningRate, momentum, beta2, tau }, { first, second }) {
    for (let i = 0; i < weights.length; i++) {
      const d = delta[i] ?? 0;
      const m = momentum * (first[i] ?? 0) + (1 - momentum) * d;
      const v = secondMoment(second[i] ?? 0, d * d, beta2);
      first[i] = m;
      second[i] = v;
      weights[i] = (weights[i] ?? 0) + (learningRate * m) / (Math.sqrt(v) + tau);
    }
  },
});

export const adagrad = adaptive((v, square) => v + square);
export const adam = adaptive((v, square, beta2) => beta2 * v + (1 - beta2) * square);
export const yogi = adaptive((v, square, beta2) => v - (1 - beta2) * square * Math.sign(v - square));
