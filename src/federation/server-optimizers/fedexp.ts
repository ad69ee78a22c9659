import { sgd } from "./sgd";
import type { OptimizerRule } from "./optimizer";

/**
 * FedExP (Jhunjhunwala et al. 2023, arXiv 2301.09604, equation 6): as sgd, `max(1, mean_k |D_k|^2 / (2 (|D|^2 + eps)))` times as far,
 * which is further where the clients' updates point away from one another. eps keeps the step from becoming long where the updates have
 * become short; the paper searches for it in 1e-3 to 1e-1. Its model for evaluation is the average of the last two iterates (section 6),
 * since the last one oscillates; the lab can do so (averageLast), and live rounds evaluate and publish the last one.
 */
export const fedexp: OptimizerRule = {
  ...sgd,
  seesUpdates: true,
  scale: (meanSquare, square, { epsilon }) => Math.max(1, meanSquare / (2 * (square + epsilon))),
};
