import { sgd } from "./sgd";
import type { OptimizerRule } from "./optimizer";

/** Keeps the step finite where the updates cancel; the paper has a small constant there. */
const EPSILON = 1e-12;

/**
 * FedExP (Jhunjhunwala et al. 2023, arXiv 2301.09604, equation 6): as sgd, `max(1, mean_k |D_k|^2 / (2 (|D|^2 + eps)))` times as far,
 * which is further where the clients' updates point away from one another.
 */
export const fedexp: OptimizerRule = {
  ...sgd,
  seesUpdates: true,
  scale: (meanSquare, square) => Math.max(1, meanSquare / (2 * (square + EPSILON))),
};
