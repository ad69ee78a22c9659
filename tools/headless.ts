import { setMaxListeners } from "node:events";
import { promisify } from "node:util";
import zlib from "node:zlib";
import * as v from "valibot";
import { FederatedClient, type ClientRequest } from "../src/federation/federated-client";
import { decodeCheckpoint } from "../src/model/checkpoint";
import { summarize, type ModelSummary } from "../src/model/model";
import {
  problemSchema,
  taskSchema,
  type Assignment,
  type CheckInAnswer,
  type CheckpointInfo,
  type Evaluation,
  type EvaluationTask,
} from "../src/federation/protocol";
import { networkOf } from "../src/federation/tasks/network";
import { descriptionOf, tasksSchema } from "../src/federation/tasks/description";
import { findTask, noteTask, type TaskName } from "../src/federation/tasks/registry";
import type { TaskDescription } from "../src/federation/tasks/task";

import { verified } from "../src/base/digest";
import { seededRandom } from "../src/base/random";
import { follow, type SecureMember } from "../src/federation/secagg/member";
import type { SecureMessage, SecureStep } from "../src/federation/secagg/messages";
import type { RingFacts } from "../src/federation/secagg/ring";
import { encodeTrained, maskClipped, type Trained } from "../src/federation/trained-update";
import { clientIdOf, createSigningKey, sign, type Signable } from "../src/federation/signing";

/** The edge said no. */
export class RefusalError extends Error {
  override readonly name = "RefusalError";
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const gzip = promisify(zlib.gzip);

/** Of a training that never was. */
const NOTHING_MEASURED = { loss: 1, accuracy: 0.5 };

/** A request, signed where it has a key. */
type Call = { key?: CryptoKeyPair; method?: ClientRequest["method"] } & Pick<Signable, "body" | "headers">;

const jsonOf = (body: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(body));

/**
 * A whole answer: one that breaks off was none. `fetch` itself leaves a listener with the signal of every request until garbage is
 * collected, and looks through all of them at the next.
 */
async function fetchWhole(
  url: string,
  init: RequestInit,
  signal: AbortSignal,
): Promise<{ status: number; body: Uint8Array<ArrayBuffer> }> {
  const own = new AbortController();
  const abort = (): void => {
    own.abort(signal.reason);
  };
  signal.addEventListener("abort", abort);
  try {
    const response = await fetch(url, { ...init, signal: own.signal });
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** There is no such task on the edge; its message names those that there are. */
export class NoTaskError extends Error {
  override readonly name = "NoTaskError";
}

/**
 * What a task is: a built-in one at once, any other as the edge has it, which is asked until it answers.
 * @throws NoTaskError
 */
export async function learnTask(url: string, name: TaskName, signal: AbortSignal): Promise<TaskDescription> {
  const known = findTask(name);
  if (known) return known;
  for (;;) {
    signal.throwIfAborted();
    try {
      const { status, body } = await fetchWhole(`${url}/api/tasks`, {}, signal);
      if (status < 300) {
        const { tasks } = v.parse(tasksSchema, jsonOf(body));
        for (const { name, added } of tasks) if (added) noteTask(name, descriptionOf(added), Date.now());
        const found = findTask(name);
        if (found) return found;
        throw new NoTaskError(`there is no task ${name}; there are ${tasks.map(({ name }) => name).join(", ")}.`);
      }
    } catch (error) {
      if (error instanceof NoTaskError || error instanceof v.ValiError) throw error;
      signal.throwIfAborted();
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** A client that leaves on purpose. */
class LeftError extends Error {}

/**
 * A client without a browser, for scripts, tests and load: it speaks the whole protocol, and sends whatever delta it is given.
 * Every call goes on trying while the edge is away.
 */
export class HeadlessClient {
  /** @param task which is known here: {@link learnTask} */
  constructor(
    readonly url: () => string,
    readonly task: TaskName,
    readonly signal: AbortSignal,
  ) {
    // As many listen as there are requests under way, of all clients that share it.
    setMaxListeners(0, signal);
  }

  /** Of the task's network. */
  get model(): ModelSummary {
    return summarize(networkOf(this.task));
  }

  /** The open round that it knows of, and its key for that round; nothing before it has asked. */
  #identity: { round: number | null; key: Promise<CryptoKeyPair> } | undefined;
  /** What every client does alike. */
  readonly #client = new FederatedClient(({ path, ...init }, key) => this.#ask(path, { ...init, key }));
  /** What it was given under each key. */
  readonly #keys = new Map<string, Promise<CryptoKeyPair>>();

  /** Asks once what to do. @param heldOut examples that it can evaluate a candidate on @throws RefusalError */
  async checkIn(examples: number, heldOut = 0): Promise<CheckInAnswer> {
    for (;;) {
      this.#identity ??= { round: await this.#openRound(), key: createSigningKey() };
      const { round, key } = this.#identity;
      const answer = await this.#client.checkIn(this.task, { examples, heldOut, round }, await key);
      if (answer.decision === "train") this.#keys.set(answer.assignment.id, key);
      if (answer.decision === "evaluate") this.#keys.set(answer.evaluation.id, key);
      if (answer.decision !== "wait" || answer.reason !== "other-round") return answer;
      this.#identity = { round: answer.round, key: createSigningKey() };
    }
  }

  async #openRound(): Promise<number | null> {
    return v.parse(taskSchema, await this.#ask(`/api/tasks/${this.task}`, {})).round;
  }

  /** What the edge calls this client in the round of an assignment. */
  async idFor(assignment: Assignment): Promise<string> {
    return clientIdOf(await this.#keyOf(assignment));
  }

  #keyOf({ id }: Pick<Assignment, "id">): Promise<CryptoKeyPair> {
    const key = this.#keys.get(id);
    if (!key) throw new Error(`${id} was not given to this client.`);
    return key;
  }

  /** Checks in, as often as the edge asks for it, until there is something to train. @throws RefusalError */
  async assignment(examples: number): Promise<Assignment> {
    for (;;) {
      const answer = await this.checkIn(examples);
      if (answer.decision === "train") return answer.assignment;
      await this.#pause(answer.decision === "wait" ? answer.retryAfterSeconds : 1);
    }
  }

  /** The bytes of a checkpoint, or of another file of its kind. @throws RefusalError, IntegrityError */
  async checkpoint({ sha256 }: Pick<CheckpointInfo, "sha256">): Promise<Uint8Array<ArrayBuffer>> {
    return verified(await this.#request(`/api/checkpoints/${sha256}`, {}), sha256);
  }

  /** What the server of a round's strategy remembers, where its clients are told it. @throws RefusalError, IntegrityError, FormatError */
  async memory({ remembered }: Assignment): Promise<Float32Array | undefined> {
    return remembered?.vector && decodeCheckpoint(await this.checkpoint(remembered.vector), this.model);
  }

  /** Says how a candidate and its base do. @throws RefusalError */
  async sendEvaluation(asked: EvaluationTask, evaluation: Evaluation): Promise<void> {
    await this.#client.sendEvaluation(asked, evaluation, await this.#keyOf(asked));
  }

  /** Takes an update back, or leaves before there is one. @throws RefusalError */
  async withdraw(assignment: Assignment): Promise<"withdrawn" | "too-late"> {
    return this.#client.withdrawUpdate(assignment, await this.#keyOf(assignment));
  }

  /**
   * Takes part in a round with secure aggregation.
   * @param train makes the update, clipped, once the members have agreed on their masks; its `onAccepted` is called once the edge has
   * taken it and is done with it
   * @param until the step before which this client leaves; it stays to the end without one
   * @returns whether the round was published, or undefined where this client has left
   * @throws SecureError, RefusalError
   */
  async sendSecure(
    assignment: Assignment,
    train: () => Promise<{ delta: Float32Array; facts: RingFacts; onAccepted?: () => void }>,
    until?: "shares" | "vector" | "confirmation",
  ): Promise<boolean | undefined> {
    const { round } = assignment;
    const key = await this.#keyOf(assignment);
    const send = async (message?: SecureMessage): Promise<SecureStep> => {
      if (until === "shares" && message?.step === "shares") throw new LeftError();
      return this.#client.secureStep(assignment, message, key);
    };
    const member: SecureMember = {
      round: `${this.task}/${round}`,
      state: undefined,
      send,
      save: () => Promise.resolve(),
      pause: () => this.#pause(0.05),
    };
    try {
      const step = await follow(member, "mask");
      if (step.step === "over") return step.published;
      if (until === "vector") return undefined;
      const clipped = await train();
      // Asked again: the training may have outlived the round.
      const still = await follow(member, "mask");
      if (still.step === "over") return still.published;
      const body = await maskClipped(member, still, assignment, clipped, round);
      await this.#client.sendUpdate(assignment, body, key);
      if (until === "confirmation") return undefined;
      const over = await follow(member, "over");
      clipped.onAccepted?.();
      return over.step === "over" && over.published;
    } catch (error) {
      if (error instanceof LeftError) return undefined;
      throw error;
    }
  }

  /**
   * Sends a delta, once or again after a failure.
   * @param measured of the training; numbers that mean nothing where there was none
   * @returns what the edge answered
   * @throws RefusalError
   */
  async send(
    assignment: Assignment,
    delta: Float32Array,
    examples: number,
    measured = NOTHING_MEASURED,
  ): Promise<string> {
    return this.upload(assignment, await this.pack(assignment, delta, examples, measured));
  }

  /** The gzipped file that a delta travels in. */
  async pack(
    assignment: Assignment,
    delta: Float32Array,
    examples: number,
    measured = NOTHING_MEASURED,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const trained = {
      delta,
      examples,
      train: measured,
      heldOut: { examples: 0, loss: 0, accuracy: 0 },
      initialLoss: null,
      trainingMs: 0,
      backend: "headless",
    } as const;
    return (await this.packTrained(assignment, trained, { left: undefined, seed: assignment.round, bytesDown: 0 }))
      .file;
  }

  /** The same of a training, with what the codec has lost of it. @see encodeTrained */
  async packTrained(
    assignment: Assignment,
    trained: Trained,
    options: Parameters<typeof encodeTrained>[2],
  ): Promise<ReturnType<typeof encodeTrained>> {
    const { file: update, residual } = encodeTrained(assignment, trained, options);
    const { codec } = assignment.plan;
    // Bytes never repeat in a row of float32 numbers: looking for it takes three times as long, and finds nothing.
    const strategy = codec === "float32" ? zlib.constants.Z_HUFFMAN_ONLY : zlib.constants.Z_DEFAULT_STRATEGY;
    return { file: await gzip(update, { strategy, chunkSize: update.length + 65_536 }), residual };
  }

  /** Sends what {@link pack} has made, once or again after a failure. @returns what the edge answered @throws RefusalError */
  async upload(assignment: Assignment, file: Uint8Array<ArrayBuffer>): Promise<string> {
    return this.#client.sendUpdate(assignment, file, await this.#keyOf(assignment));
  }

  /**
   * A signed request for an assignment's update, for who sends it by other means than {@link upload}: a part of it, twice, or in order to
   * take the update back.
   * @param file what it says that its body is
   */
  async signedRequest(
    { round, id }: Pick<Assignment, "round" | "id">,
    method: "PUT" | "DELETE",
    file?: Uint8Array<ArrayBuffer>,
  ): Promise<{ url: string; headers: Record<string, string> }> {
    const url = `${this.url()}${this.#path(`rounds/${round}/updates/${id}`)}`;
    const headers = file ? { "content-encoding": "gzip" } : {};
    return { url, headers: await sign({ method, url, headers, body: file }, await this.#keyOf({ id }), Date.now()) };
  }

  #path(rest: string): string {
    return `/api/tasks/${this.task}/${rest}`;
  }

  /** As {@link #request}, for what is answered in JSON. */
  async #ask(path: string, init: Call): Promise<unknown> {
    return jsonOf(await this.#request(path, init));
  }

  /** What a request is answered. @throws RefusalError */
  async #request(path: string, { key, ...init }: Call): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      this.signal.throwIfAborted();
      try {
        const url = `${this.url()}${path}`;
        const headers = key ? await sign({ method: "GET", url, ...init }, key, Date.now()) : {};
        const { status, body } = await fetchWhole(url, { ...init, body: init.body ?? null, headers }, this.signal);
        if (status < 300) return body;
        const problem = v.safeParse(problemSchema, jsonOf(body));
        if (problem.success && status < 500 && status !== 429) {
          throw new RefusalError(problem.output.code, problem.output.detail);
        }
      } catch (error) {
        if (error instanceof RefusalError) throw error;
        this.signal.throwIfAborted();
      }
      await this.#pause(0.2);
    }
  }

  #pause(seconds: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

/** A delta of small numbers that the same seed gives again. */
export function randomDelta(model: ModelSummary, seed: number): Float32Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const delta = Float32Array.from({ length: model.parameters }, () => (random() - 0.5) / 100);
  // No honest client's delta makes a variance negative, and no edge publishes one that is.
  for (const { name, offset, size } of model.tensors) {
    if (!name.endsWith("/moving_variance")) continue;
    for (let i = offset; i < offset + size; i++) delta[i] = Math.abs(delta[i] as number);
  }
  return delta;
}
