import type * as v from "valibot";
import type { ModelSummary } from "../../model/model";

/**
 * A strategy of federated optimization in one file: what its clients and its server do, what they remember between rounds, and what
 * travels between them. Everything that is remembered or sent is named vectors of numbers, so that it can be stored and sent as it is.
 */

export type Vectors = Record<string, Float32Array>;

/** What both sides know of a run. */
export interface StrategyContext<Options> {
  options: Options;
  /** Whose tensors say where in a vector each of them lies. */
  model: Pick<ModelSummary, "parameters" | "tensors">;
  /** N: all clients that there are. */
  clients: number;
}

/** One client's part of a round. */
export interface ClientContext<Options> extends StrategyContext<Options> {
  /** w_t, which the server has sent; not to be changed. */
  global: Float32Array;
  /** What the server sent beside it. */
  broadcast: Vectors;
  /** What this client has kept since its last round; of `client.init` in its first. */
  state: Vectors;
  /** eta_l, the epochs that it trains, and the steps of local SGD that it takes in all of them. */
  learningRate: number;
  epochs: number;
  steps: number;
  /** Steps that were taken before the training was interrupted, where it goes on from there. */
  done?: number;
}

/** A part of the flat vector of weights. */
export interface Span {
  offset: number;
  size: number;
}

/** What runs where in live rounds, of a strategy whose clients remember something and send nothing beside their update. */
export interface LiveStrategy<Options> {
  /** The vectors that a device keeps from round to round, and how many numbers each must have: others are not used. */
  keeps(context: StrategyContext<Options>): Record<string, number>;
  /** What each client has for itself: its update holds nothing of it, and the edge leaves it as it is, whatever is sent. */
  personal?(context: StrategyContext<Options>): Span[];
  /**
   * Whether a device whose vectors are kept plays with a model of its own, the shared one with its own layers, or the shared one: held
   * against its last model in training, or corrected for how its own examples differ from the others'.
   */
  plays: "own-model" | "own-layers" | "shared-model" | "shared-corrected";
  /** The weights that it plays with then; a new vector. */
  playedWith?(context: StrategyContext<Options>, weights: Float32Array, state: Vectors): Float32Array<ArrayBuffer>;
  /** What its clients can train on. */
  backends: readonly ("wasm" | "webgpu")[];
  /** The server's part; without one it averages and steps as the round says. */
  server?: LiveServer<Options>;
  /** What a round calls options whose names mean something else in other configurations. */
  named?: Readonly<Record<string, string>>;
}

/**
 * What a live round's server does beside its clients: it knows the mean of their deltas, all of which count the same, and remembers one
 * vector as long as the weights, which goes with the version that it belongs to.
 */
export interface LiveServer<Options> {
  /**
   * What of its memory clients are told beside the weights, where they are told: it is then a file of its own, as a checkpoint's, and goes
   * with the version.
   * @param memory zeros are not told, before the first round
   */
  told?(context: StrategyContext<Options>, memory: Float32Array): Vectors;
  /** Whether it has to know each update with the steps that made it, and not their sum only. */
  seesUpdates: boolean;
  /** Options, as a round calls them, by which what is remembered, here and on the devices, is measured: with other ones both begin anew. */
  measuredBy?: readonly string[];
  /** Steps a block of trainable weights in place, and what is remembered of the same block. */
  step(context: StrategyContext<Options>, block: ServerBlock): void;
}

export interface ServerBlock {
  weights: Float32Array;
  /** Zeros before the first round. */
  memory: Float32Array;
  /** Of the updates' deltas: as much of it as the round takes. */
  mean: Float64Array;
  /** |P| */
  updates: number;
  /** `sum_k delta_k / K_k` with the steps K_k that a client has taken; of a server that sees updates. */
  perStep: Float32Array;
  /** eta_l and eta_g */
  learningRate: number;
  serverLearningRate: number;
}

/** What a client sends. */
export interface StrategyUpdate {
  client: number;
  examples: number;
  /** The trained weights minus w_t. */
  delta: Float32Array;
  /** The vectors that `wire.up` names. */
  sent: Vectors;
}

/**
 * A model of another time that a training holds its own network against, beside w_t, by what both make of each example before their last
 * layer: see workers/tf/contrast.ts.
 */
export interface ModelContrast {
  previous: Float32Array;
  /** How much that loss counts beside the labels'. */
  weight: number;
  temperature: number;
}

/** A change of a batch's gradient in place, before it is clipped and stepped by. `weights` are those of the batch. */
export type GradientHook = (gradient: Float32Array, weights: Float32Array) => void;

export interface Strategy<Options = Record<string, unknown>> {
  /** As its paper names it, in lower case. */
  name: string;
  /** Its options with their bounds and defaults; without a schema they are taken as they are given. */
  options?: v.GenericSchema<unknown, Options>;
  /** Absent of what the lab alone runs. */
  live?: LiveStrategy<Options>;
  client: {
    /** What a client remembers before its first round. */
    init?(context: StrategyContext<Options>): Vectors;
    /** Epochs that a client trains, where the round plans others. */
    epochs?(context: StrategyContext<Options>, planned: number): number;
    /** Where the training begins instead of w_t; a new vector. */
    beforeTraining?(context: ClientContext<Options>): Float32Array<ArrayBuffer>;
    gradientHook?(context: ClientContext<Options>): GradientHook;
    /** A loss of its own beside the labels', which runs on WASM alone. */
    contrast?(context: ClientContext<Options>): ModelContrast;
    /**
     * What becomes of a training.
     * @param trained the weights after it
     * @returns what the client keeps and sends; `delta` where that is not `trained - w_t`
     */
    afterTraining?(
      context: ClientContext<Options>,
      trained: Float32Array,
    ): { state?: Vectors; sent?: Vectors; delta?: Float32Array<ArrayBuffer> };
    /**
     * A model of the client's own that is trained beside the shared one, on the same examples, and never sent: where it begins, what
     * changes its gradient, and under which name of the state it is kept.
     */
    personal?: {
      name: string;
      start(context: ClientContext<Options>): Float32Array<ArrayBuffer>;
      gradientHook(context: ClientContext<Options>): GradientHook;
    };
  };
  server: {
    /** What the server remembers before the first round. */
    init?(context: StrategyContext<Options>): Vectors;
    /**
     * Which of the candidates train; all, where it does not say.
     * @param losses of w_t on each candidate's examples, for strategies that name `wire.losses`
     */
    select?(context: StrategyContext<Options>, candidates: readonly number[], losses: readonly number[]): number[];
    /**
     * How many candidates are drawn to be selected from, where `size` are to train: without replacement, by their shares of all examples.
     * Without it those who train are drawn, all alike.
     */
    candidates?(context: StrategyContext<Options>, size: number): number;
    /**
     * One delta of a round's updates, and what the server remembers after it if its candidate is published.
     * @param updates at least one, in the order of the cohort
     */
    aggregate(
      context: StrategyContext<Options>,
      updates: readonly StrategyUpdate[],
      state: Vectors,
    ): { delta: Float64Array; state?: Vectors };
    /** The next weights; `w_t + delta` where it does not say. Statistics of batch normalization are always averaged. */
    step?(context: StrategyContext<Options>, weights: Float32Array, delta: Float64Array, state: Vectors): Float32Array;
  };
  /** What travels beside weights down and delta up, each as long as the weights: names of the server's state, and of `sent`. */
  wire: { down: readonly string[]; up: readonly string[]; losses?: boolean };
}

/** Fills `out` with `sum_k weight_k delta_k`. */
export function weightedSum(
  updates: readonly StrategyUpdate[],
  weights: readonly number[],
  length: number,
): Float64Array {
  const out = new Float64Array(length);
  updates.forEach(({ delta }, k) => {
    const weight = weights[k] ?? 0;
    for (let i = 0; i < length; i++) out[i] = (out[i] as number) + weight * (delta[i] as number);
  });
  return out;
}

/** The mean of deltas, each the same: what the papers' analyses average. */
export const plainMean = (updates: readonly StrategyUpdate[], length: number): Float64Array =>
  weightedSum(
    updates,
    updates.map(() => 1 / updates.length),
    length,
  );

/** The mean of deltas weighted by examples (McMahan et al. 2017, algorithm 1). */
export function examplesMean(updates: readonly StrategyUpdate[], length: number): Float64Array {
  const total = updates.reduce((sum, { examples }) => sum + examples, 0);
  return weightedSum(
    updates,
    updates.map(({ examples }) => examples / total),
    length,
  );
}
