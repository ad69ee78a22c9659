import { DurableObject } from "cloudflare:workers";
import { CheckpointReader, type ReadBytes } from "../../src/model/checkpoint";
import { decodeDreams, DreamsError } from "../../src/model/dreams";
import { compareAnswers, type DreamVerdict } from "../../src/federation/guard";
import { summarize, type ModelSpec } from "../../src/model/model";
import { FormatError } from "../../src/model/safetensors";
import { networkOf } from "../../src/federation/tasks/network";
import { taskNamed, type TaskName } from "../../src/federation/tasks/registry";
import { Forward } from "../tf/kernels/forward";
import kernels from "../tf/kernels/kernels-simd-single.wasm";
import { checkpointKey, type Env } from "./env";

/** Why there is no judgement. */
export interface NotJudged {
  failure:
    /** A checkpoint is not in the store. */
    | "no-checkpoint"
    /** A checkpoint's file is not one of the model. */
    | "bad-checkpoint"
    /** The task has no dreamed pictures, or they are not among the deployed files, or are none. */
    | "no-dreams"
    /** A model's answers are no numbers. */
    | "not-finite";
  detail: string;
}

class JudgeError extends Error {
  override readonly name = "JudgeError";
  constructor(
    readonly failure: NotJudged["failure"],
    message: string,
  ) {
    super(message);
  }
}

/**
 * Holds what a candidate checkpoint says of the dreamed faces that ship against what its base says of them: evidence that does not
 * depend on who came. It runs both by the kernels that the browsers train with (not relaxed, so that the verdict is the same
 * everywhere) and reads each checkpoint tensor by tensor. There is one judge for all tasks, who judges one candidate after the
 * other and keeps the memory of its kernels for the next: what is left to the garbage collector counts until it comes.
 */
export class Judge extends DurableObject<Env> {
  readonly #forward = new Forward(kernels);
  #turn: Promise<unknown> = Promise.resolve();

  /** @param base and `candidate`: SHA-256 of checkpoints of this task in the store */
  judge(task: TaskName, base: string, candidate: string): Promise<DreamVerdict | NotJudged> {
    const verdict = this.#turn.then(() => this.#judge(task, base, candidate));
    this.#turn = verdict.catch(() => undefined);
    return verdict;
  }

  async #judge(task: TaskName, base: string, candidate: string): Promise<DreamVerdict | NotJudged> {
    const model = networkOf(task);
    try {
      const dreams = await this.#dreams(task);
      const before = await this.#answers(model, base, dreams);
      const after = await this.#answers(model, candidate, dreams);
      return compareAnswers(before, after, summarize(model).classes);
    } catch (error) {
      if (error instanceof JudgeError) return { failure: error.failure, detail: error.message };
      throw error;
    }
  }

  /** Logits. */
  async #answers(model: ModelSpec, sha256: string, dreams: Uint8Array): Promise<Float32Array> {
    const object = await this.env.STORE.get(checkpointKey(sha256));
    if (!object) throw new JudgeError("no-checkpoint", `There is no checkpoint ${sha256}.`);
    const body = object.body.getReader({ mode: "byob" });
    try {
      const file = await CheckpointReader.open(readFrom(body), summarize(model));
      const logits = await this.#forward.logits(model, (name) => file.tensor(name), dreams);
      if (logits.every(Number.isFinite)) return logits;
      throw new JudgeError("not-finite", `What the checkpoint ${sha256} says is no number.`);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new JudgeError("bad-checkpoint", `The checkpoint ${sha256} cannot be read: ${error.message}`);
    } finally {
      await body.cancel();
    }
  }

  /** The pixels of a task's dreamed pictures. */
  async #dreams(task: TaskName): Promise<Uint8Array> {
    const { dreams } = taskNamed(task);
    if (dreams === null) throw new JudgeError("no-dreams", `The task ${task} has no dreamed pictures.`);
    const response = await this.env.ASSETS.fetch(new URL(dreams, "https://assets"));
    if (!response.ok) throw new JudgeError("no-dreams", `${dreams} is not among the deployed files.`);
    try {
      return await decodeDreams(new Uint8Array(await response.arrayBuffer()), summarize(networkOf(task)).inputs);
    } catch (error) {
      if (error instanceof DreamsError) throw new JudgeError("no-dreams", error.message);
      throw error;
    }
  }
}

const readFrom =
  (body: ReadableStreamBYOBReader): ReadBytes =>
  async (count) => {
    const { value } = await body.readAtLeast(count, new Uint8Array(count));
    if (value?.length === count) return value;
    throw new FormatError("truncated", `The file ends ${count - (value?.length ?? 0)} bytes too early.`);
  };
