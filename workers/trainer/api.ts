import type { Evaluation } from "../../src/model/evaluation";
import type { ModelSpec } from "../../src/model/model";
import type { Assignment, Plan } from "../../src/federation/protocol";
import type { KeptState } from "../../src/federation/strategies/live";
import type { Vectors } from "../../src/federation/strategies/strategy";
import type { Backend } from "../tf/backend";
import type { Rung, Started } from "../tf/rungs";
import type { OptimizerState } from "../tf/network";

/** Pictures with labels: `pixels` holds as many grey levels for each of `labels` as the model has inputs. */
export interface Examples {
  pixels: Uint8Array<ArrayBuffer>;
  labels: Uint8Array<ArrayBuffer>;
}

/** Where a training stands: `batch` batches of epoch `epoch` are done (both from 0). */
export interface Position {
  epoch: number;
  batch: number;
}

export interface TrainingJob {
  model: ModelSpec;
  /** The base checkpoint, a safetensors file. */
  checkpoint: Uint8Array<ArrayBuffer>;
  train: Examples;
  heldOut: Examples;
  plan: Plan;
  /** Pictures to rehearse, laid out like examples, where the plan wants that. */
  rehearsal?: Uint8Array<ArrayBuffer> | undefined;
  /** Decides the order of the faces and the dropout masks. */
  seed: number;
  backend: Backend;
  /** This device's own batch normalization, where the plan keeps it local and there is one: see src/model/batch-norm.ts. */
  localNorms?: Float32Array<ArrayBuffer> | undefined;
  /** What this device has kept of a strategy's earlier rounds, and what of them its server remembers. */
  kept?: KeptState | undefined;
  remembered?: Assignment["remembered"];
  /** The file of that vector, where its clients are told it. */
  memory?: Uint8Array<ArrayBuffer> | undefined;
  /** Goes on from a {@link Snapshot} of the same job. */
  resume?: Snapshot | undefined;
}

/** What a training needs to go on after a reload. */
export interface Snapshot {
  position: Position;
  weights: Float32Array<ArrayBuffer>;
  optimizer: OptimizerState;
  heldOut: Evaluation;
  initialLoss: number | null;
  /** Sums over the batches of the epoch so far. */
  sums: EpochSums;
  /** The best epoch so far on the held-out faces, where the plan stops early. */
  best: Best | null;
  /** Milliseconds trained so far. */
  elapsedMs: number;
  /** What has come of the shared model's training, where a strategy then trains one of the device's own and all else is of that. */
  shared?: SharedResult | null;
}

/** What has come of the training of the shared model. */
export type SharedResult = Omit<TrainingResult, "trainingMs" | "backend">;

export interface EpochSums {
  loss: number;
  hits: number;
  examples: number;
}

export interface Best {
  /** On the held-out faces. */
  evaluation: Evaluation;
  weights: Float32Array<ArrayBuffer>;
  /** Epochs since then. */
  staleEpochs: number;
}

export type Progress =
  | { phase: "starting" }
  | { phase: "evaluating"; backend: Backend }
  | {
      phase: "training";
      backend: Backend;
      epoch: number;
      epochs: number;
      /** Batches done, and of the whole training. */
      batch: number;
      batches: number;
      /** Of the last batch, with dropout on. */
      loss: number;
      accuracy: number;
      imagesPerSecond: number;
      secondsLeft: number;
    };

export interface TrainingResult {
  /** The trained weights minus the base checkpoint's. */
  delta: Float32Array<ArrayBuffer>;
  examples: number;
  /** Means over the last epoch, weighted by the batches' sizes, with dropout on. */
  train: { examples: number; loss: number; accuracy: number };
  /** The base checkpoint on the held-out faces. */
  heldOut: Evaluation;
  /** The trained weights on the held-out faces. */
  heldOutAfter: Evaluation;
  /** Mean loss of the base checkpoint on the training faces, where the plan asks for it. */
  initialLoss: number | null;
  /** The trained batch normalization, where the plan keeps it on the device; the delta then has zeros in its place. */
  localNorms: Float32Array<ArrayBuffer> | null;
  /** What a strategy keeps on the device for its next round, none of which is in the delta; null where the plan names none. */
  kept: Vectors | null;
  /** Epochs that were trained: fewer than planned when the training stopped early. */
  epochs: number;
  trainingMs: number;
  backend: Backend;
}

/** What of a model is a device's own, and takes the place of a checkpoint's: see src/model/batch-norm.ts and strategies/live.ts. */
export interface OwnWeights {
  localNorms?: Float32Array<ArrayBuffer> | undefined;
  kept?: KeptState | undefined;
  /** Where a round's checkpoints are judged: how many of its layers are a device's own. */
  personalLayers?: number;
}

/** What training steps on a fixed batch gave: whether a backend computes right, and how fast. */
export interface Probe {
  backend: Backend;
  /** Of the batch in training mode, before the first step. */
  loss: number;
  /** Of the same batch in inference mode, after the last step: right only if every gradient was. */
  lossAfter: number;
  /** Milliseconds to start the backend, build the network and set its weights. */
  startMs: number;
  /** Of each step; the first one on a GPU compiles its kernels too. */
  stepMs: number[];
  /** Of one face, the best of some. */
  inferenceMs: number;
  /** Tensors that the whole probe has left behind: 0, or there is a leak. */
  tensorsLeft: number;
}

/** The name of the error that a training ends in when {@link TrainerApi.pause} was called: its snapshot has been handed out. */
export const PAUSED = "PausedError";

/** The name of the error that a training ends in when its loss is no longer a number: doing it again does not help. */
export const DIVERGED = "DivergedError";

/** The name of the error that a training ends in that its backend cannot do: another one can. */
export const WRONG_BACKEND = "WrongBackendError";

/** What the page can ask of the trainer. To cancel at once, stop the worker. */
export interface TrainerApi {
  /** Starts WASM on a rung or one below it. @throws what `startWasm` throws */
  prepare(highest: Rung): Promise<Started>;
  train(
    job: TrainingJob,
    onProgress: (progress: Progress) => void,
    onSnapshot: (snapshot: Snapshot) => Promise<void>,
  ): Promise<TrainingResult>;
  /** Takes `steps` steps on a batch of `examples` generated ones from a checkpoint of a model. */
  probe(
    model: ModelSpec,
    checkpoint: Uint8Array<ArrayBuffer>,
    examples: number,
    steps: number,
    backend: Backend,
  ): Promise<Probe>;
  /** How a checkpoint of a model does on some examples. */
  evaluate(
    model: ModelSpec,
    checkpoint: Uint8Array<ArrayBuffer>,
    examples: Examples,
    backend: Backend,
    own?: OwnWeights,
  ): Promise<Evaluation>;
  /** Ends the training under way after its batch, with a snapshot. */
  pause(): Promise<void>;
}
