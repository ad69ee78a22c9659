/**
 * Server optimizers: what the server makes of the cohort's averaged delta. All of them work coordinate by coordinate, so a
 * model can be stepped block by block.
 */

export const SERVER_OPTIMIZERS = ["sgd", "momentum", "nesterov", "adagrad", "adam", "yogi", "fedexp"] as const;

export interface ServerOptimizer {
  kind: (typeof SERVER_OPTIMIZERS)[number];
  /** eta: 1 with `sgd` is plain FederatedAveraging. */
  learningRate: number;
  /** beta of FedAvgM, beta_1 of the adaptive ones. */
  momentum: number;
  /** beta_2 of FedAdam and FedYogi. */
  beta2: number;
  /** tau: how adaptive it is; added to the root, so a larger one adapts less. */
  tau: number;
}

/** What an optimizer remembers of a block between rounds: a vector or two, as long as the block. */
export interface ServerMoments {
  first: Float32Array;
  second: Float32Array;
}

/** Whether a rule remembers anything, and so whether {@link stepServer} needs moments. */
export const hasMoments = ({ kind }: Pick<ServerOptimizer, "kind">): boolean => kind !== "sgd" && kind !== "fedexp";

/** Keeps FedExP's step finite where the updates cancel; its paper has a small constant there. */
const EPSILON = 1e-12;

/**
 * FedExP's server step (Jhunjhunwala et al. 2023, arXiv 2301.09604, equation 6): `max(1, mean_k |D_k|^2 / (2 (|D|^2 + eps)))`, larger
 * where the clients' updates point away from one another.
 * @param meanSquare the updates' squared norms, averaged as the updates were
 * @param square squared norm of their average
 */
export const extrapolation = (meanSquare: number, square: number): number =>
  Math.max(1, meanSquare / (2 * (square + EPSILON)));

/** The moments before the first round: m = 0, and v = tau^2, as Reddi et al. initialize it. */
export function initialMoments(length: number, { tau }: ServerOptimizer): ServerMoments {
  return { first: new Float32Array(length), second: new Float32Array(length).fill(tau * tau) };
}

/**
 * Steps a block of weights in place by the averaged delta `D` of the same block, and its moments with it.
 *
 * - sgd: FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): `w += eta * D`
 * - momentum: FedAvgM (Hsu et al. 2019, arXiv 1909.06335, section 4): `m = beta m + D; w += eta * m`
 * - nesterov: FedMom (Huo et al. 2020, arXiv 2002.02090, algorithm 3): `v' = w + eta D; w = v' + beta (v' - v)`, of which
 *   `first` holds `w - v`, so that it begins with zeros: `m = beta (m + eta D); w += eta D + m`
 * - fedexp: as sgd, with a learning rate that {@link extrapolation} has been multiplied into
 * - adagrad, adam, yogi: FedAdagrad, FedAdam, FedYogi (Reddi et al. 2021, arXiv 2003.00295, algorithm 2):
 *   `m = beta_1 m + (1 - beta_1) D`, then `v += D^2`, or `v = beta_2 v + (1 - beta_2) D^2`, or
 *   `v -= (1 - beta_2) D^2 sign(v - D^2)`, and `w += eta * m / (sqrt(v) + tau)`
 *
 * @param plain whether the block is only averaged, `w += D`: batch-norm statistics are no parameters, and an adaptive step
 *   could make a variance negative
 */
export function stepServer(
  weights: Float32Array,
  delta: Float64Array,
  moments: ServerMoments | null,
  { kind, learningRate, momentum, beta2, tau }: ServerOptimizer,
  plain: boolean,
): void {
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i] as number;
    const d = delta[i] as number;
    if (plain) {
      weights[i] = w + d;
      continue;
    }
    if (kind === "sgd" || kind === "fedexp" || !moments) {
      weights[i] = w + learningRate * d;
      continue;
    }
    const { first, second } = moments;
    if (kind === "momentum") {
      const m = momentum * (first[i] as number) + d;
      first[i] = m;
      weights[i] = w + learningRate * m;
      continue;
    }
    if (kind === "nesterov") {
      const m = momentum * ((first[i] as number) + learningRate * d);
      first[i] = m;
      weights[i] = w + learningRate * d + m;
      continue;
    }
    const m = momentum * (first[i] as number) + (1 - momentum) * d;
    const old = second[i] as number;
    const square = d * d;
    const v =
      kind === "adagrad"
        ? old + square
        : kind === "adam"
          ? beta2 * old + (1 - beta2) * square
          : old - (1 - beta2) * square * Math.sign(old - square);
    first[i] = m;
    second[i] = v;
    weights[i] = w + (learningRate * m) / (Math.sqrt(v) + tau);
  }
}
