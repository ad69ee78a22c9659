/**
 * What the server makes of the cohort's averaged delta. Each optimizer is a file here that says all of it, and a line in registry.ts: the
 * protocol, the form, the command line, the edge and the lab follow it. All of them work coordinate by coordinate, so that a model can
 * be stepped block by block.
 */
export interface OptimizerRule {
  /** Whether it remembers anything between rounds: {@link ServerMoments}. */
  readonly remembers: boolean;
  /** Whether it goes by norms of single updates, which secure aggregation and noise are there to hide, and of which a hub knows its own only. */
  readonly seesUpdates: boolean;
  /**
   * Steps a block of weights in place by the averaged delta D of the same block, and its moments with it.
   * @param moments of the same block, of one that remembers
   */
  step(weights: Float32Array, delta: Float64Array, options: StepOptions, moments: ServerMoments): void;
  /**
   * What the learning rate is multiplied by, of one that sees updates.
   * @param meanSquare the updates' squared norms, averaged as the updates were
   * @param square squared norm of their average
   * Both are of what is stepped: without statistics of batch normalization, and what the round leaves as it is.
   */
  readonly scale?: (meanSquare: number, square: number, options: StepOptions) => number;
}

export interface StepOptions {
  /** eta: 1 with `sgd` is plain FederatedAveraging. */
  learningRate: number;
  /** beta of FedAvgM, beta_1 of the adaptive ones. */
  momentum: number;
  /** beta_2 of FedAdam and FedYogi. */
  beta2: number;
  /** tau: how adaptive it is; added to the root, so a larger one adapts less. */
  tau: number;
  /** eps of FedExP: added to the squared norm of the average. */
  epsilon: number;
}

/** What an optimizer remembers of a block between rounds: two vectors as long as the block. */
export interface ServerMoments {
  first: Float32Array;
  second: Float32Array;
}

/** The moments before the first round: m = 0, and v = tau^2, as Reddi et al. initialize it. */
export function initialMoments(length: number, { tau }: Pick<StepOptions, "tau">): ServerMoments {
  return { first: new Float32Array(length), second: new Float32Array(length).fill(tau * tau) };
}
