import type { PictureKind } from "../data/own-labels";
import { joinEvaluations, type Evaluation } from "../model/evaluation";
import type { ModelName, ModelSpec } from "../model/model";
import type { Vectors } from "../federation/strategies/strategy";
import type { Plan } from "../federation/protocol";

/** What the lab asks of a worker, in a browser's or in Node's: one client's training at a time. */

export interface LabExamples {
  pixels: Uint8Array;
  labels: Uint8Array;
  /** Whose each is, where the data say so. */
  clients?: Uint32Array;
  /** How many labels there are, where they are the data's own. */
  classes?: number;
}

/** All examples of a run; in shared memory where there is some, so that every worker reads the same bytes. */
export interface LabData {
  train: LabExamples;
  test: LabExamples;
  /** What the pictures are, where data set and labels are of somebody's own. */
  kind?: PictureKind;
  /** Test examples with an attacker's patch, and the label that it wants for them. */
  triggered?: { pixels: Uint8Array; labels: Uint8Array };
  /** Pictures to rehearse, where the plan wants that. */
  rehearsal?: Uint8Array;
}

export interface ClientTask {
  weights: Float32Array;
  /** Places in the training examples. */
  train: Uint32Array;
  heldOut: Uint32Array;
  plan: Plan;
  seed: number;
  /** The client's own batch normalization, where the plan keeps it local and there is one. */
  norms: Float32Array | null;
  /**
   * Where there is a strategy with a state: what this client is told and has kept; null in its first round. A name, where it is not the
   * run's own, but that of a live round.
   */
  strategy?: { name?: string; options: unknown; clients: number; broadcast: Vectors; state: Vectors | null };
}

export interface ClientResult {
  /** The trained weights minus those of the task. */
  delta: Float32Array;
  /** Means over the last epoch, with dropout on. */
  loss: number;
  accuracy: number;
  /** Of the task's weights on the training examples, where the plan asks for it. */
  initialLoss: number | null;
  norms: Float32Array | null;
  /** The trained weights on the held-out examples; in a run whose strategy has one, the client's own model. */
  heldOut: Evaluation;
  /** What a strategy keeps and sends beside the delta. */
  strategy?: { state: Vectors; sent: Vectors };
}

export interface EvaluationJob {
  weights: Float32Array;
  of: "train" | "test" | "triggered";
  examples: Uint32Array;
}

export interface LabWorkerApi {
  /** @param strategy the name of a strategy, or in Node its file */
  /** @param model one of the registry, or any network */
  start(
    model: ModelName | ModelSpec,
    data: LabData,
    backend: "wasm" | "webgpu",
    strategy?: string | null,
  ): Promise<void>;
  train(task: ClientTask): Promise<ClientResult>;
  evaluate(job: EvaluationJob): Promise<Evaluation>;
}

/** Examples that a worker evaluates at once; fixed, so that sums come out the same however many workers there are. */
const CHUNK = 1000;

/** Some workers that share out a run's work. */
export class LabPool {
  readonly #idle: LabWorkerApi[];
  readonly #waiting: { resolve: (worker: LabWorkerApi) => void; reject: (reason: Error) => void }[] = [];
  readonly #underWay = new Set<Promise<unknown>>();

  /** @param workers have been started with the run's model and data */
  constructor(readonly workers: readonly LabWorkerApi[]) {
    this.#idle = [...workers];
  }

  train(task: ClientTask): Promise<ClientResult> {
    return this.#use((worker) => worker.train(task));
  }

  async evaluate({ examples, ...job }: EvaluationJob): Promise<Evaluation> {
    const chunks: Promise<Evaluation>[] = [];
    for (let at = 0; at < examples.length; at += CHUNK) {
      chunks.push(this.#use((worker) => worker.evaluate({ ...job, examples: examples.slice(at, at + CHUNK) })));
    }
    return joinEvaluations(await Promise.all(chunks));
  }

  /** After a run that has failed: what waits for a worker is given up, and what is under way ends, before the workers are told anything else. */
  async giveUp(): Promise<void> {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("The run is over."));
    await Promise.allSettled(this.#underWay);
  }

  async #use<T>(work: (worker: LabWorkerApi) => Promise<T>): Promise<T> {
    const worker =
      this.#idle.pop() ??
      (await new Promise<LabWorkerApi>((resolve, reject) => this.#waiting.push({ resolve, reject })));
    const done = work(worker);
    this.#underWay.add(done);
    try {
      return await done;
    } finally {
      this.#underWay.delete(done);
      const next = this.#waiting.shift();
      if (next) next.resolve(worker);
      else this.#idle.push(worker);
    }
  }
}
