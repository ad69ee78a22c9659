import { setMaxListeners } from "node:events";
import { promisify } from "node:util";
import zlib from "node:zlib";
import * as v from "valibot";
import { encodeDelta } from "../src/federation/codecs/delta";
import { isRingCodec } from "../src/federation/codecs/registry";
import { MODELS, summarize, type ModelSummary } from "../src/model/model";
import {
  checkInAnswerSchema,
  problemSchema,
  taskSchema,
  type Assignment,
  type CheckInAnswer,
  type CheckpointInfo,
} from "../src/federation/protocol";
import { TASKS, type TaskName } from "../src/federation/tasks/registry";

export { TASK_NAMES } from "../src/federation/tasks/registry";

import { seededRandom } from "../src/base/random";
import { follow, maskedBody, type SecureMember } from "../src/federation/secagg/member";
import { secureStepSchema, type SecureMessage, type SecureStep } from "../src/federation/secagg/messages";
import { ringOf, type RingFacts } from "../src/federation/secagg/ring";
import { clientIdOf, createSigningKey, sign, type Signable } from "../src/federation/signing";
import { encodeUpdate } from "../src/federation/update";

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
const NOTHING_MEASURED = { trainLoss: 1, trainAccuracy: 0.5 };

/** A request, signed where it has a key. */
type Call = { key?: Promise<CryptoKeyPair>; method?: "POST" | "PUT" } & Pick<Signable, "body" | "headers">;

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

/** A client that leaves on purpose. */
class LeftError extends Error {}

/**
 * A client without a browser, for scripts, tests and load: it speaks the whole protocol, and sends whatever delta it is given.
 * Every call goes on trying while the edge is away.
 */
export class HeadlessClient {
  readonly model: ModelSummary;

  constructor(
    readonly url: () => string,
    readonly task: TaskName,
    readonly signal: AbortSignal,
  ) {
    this.model = summarize(MODELS[TASKS[task].model]);
    // As many listen as there are requests under way, of all clients that share it.
    setMaxListeners(0, signal);
  }

  /** The open round that it knows of, and its key for that round; nothing before it has asked. */
  #identity: { round: number | null; key: Promise<CryptoKeyPair> } | undefined;
  /** What it was given under each key. */
  readonly #keys = new Map<string, Promise<CryptoKeyPair>>();

  /** Asks once what to do. @throws RefusalError */
  async checkIn(examples: number): Promise<CheckInAnswer> {
    for (;;) {
      this.#identity ??= { round: await this.#openRound(), key: createSigningKey() };
      const { round, key } = this.#identity;
      const body = JSON.stringify({ examples, round });
      const answer = v.parse(
        checkInAnswerSchema,
        await this.#ask(this.#path("check-ins"), { method: "POST", body, key }),
      );
      if (answer.decision === "train") this.#keys.set(answer.assignment.id, key);
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

  /** The bytes of a checkpoint. @throws RefusalError */
  async checkpoint({ sha256 }: CheckpointInfo): Promise<Uint8Array<ArrayBuffer>> {
    return this.#request(`/api/checkpoints/${sha256}`, {});
  }

  /**
   * Takes part in a round with secure aggregation with a delta that is clipped already.
   * @param until the step before which this client leaves; it stays to the end without one
   * @returns whether the round was published, or undefined where this client has left
   * @throws SecureError, RefusalError
   */
  async sendSecure(
    assignment: Assignment,
    delta: Float32Array,
    facts: RingFacts,
    until?: "shares" | "vector" | "confirmation",
  ): Promise<boolean | undefined> {
    const { round, id, secure, plan } = assignment;
    if (!secure || !isRingCodec(plan.codec)) throw new Error("Not a secure round.");
    const path = this.#path(`rounds/${round}/secure/${id}`);
    const send = async (message?: SecureMessage): Promise<SecureStep> => {
      if (until === "shares" && message?.step === "shares") throw new LeftError();
      const key = this.#keyOf(assignment);
      const init = message ? ({ method: "POST", body: JSON.stringify(message) } as const) : {};
      return v.parse(secureStepSchema, await this.#ask(path, { ...init, key }));
    };
    const member: SecureMember = {
      ...{ round: `${this.task}/${round}`, state: undefined, send },
      save: () => Promise.resolve(),
      pause: () => this.#pause(0.05),
    };
    try {
      const step = await follow(member, "mask");
      if (step.step === "over") return step.published;
      if (until === "vector") return undefined;
      const ring = ringOf(this.model, { codec: plan.codec, ...secure });
      const body = await maskedBody(member, step, ring, { delta, facts, seed: round, rotation: round });
      await this.#request(this.#path(`rounds/${round}/updates/${id}`), {
        ...{ method: "PUT", body, key: this.#keyOf(assignment) },
      });
      if (until === "confirmation") return undefined;
      const over = await follow(member, "over");
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
    const { codec, topShare: share } = assignment.plan;
    const content =
      codec === "float32" ? delta : encodeDelta(this.model, delta, { codec, share, seed: assignment.round });
    const update = encodeUpdate(this.model, content, {
      codec,
      task: this.task,
      round: assignment.round,
      base: assignment.checkpoint.sha256,
      examples,
      ...measured,
      ...{ evalExamples: 0, evalLoss: 0, evalAccuracy: 0 },
      ...{ bytesDown: 0, trainingMs: 0, backend: "headless" },
    });
    // Bytes never repeat in a row of float32 numbers: looking for it takes three times as long, and finds nothing.
    const strategy = codec === "float32" ? zlib.constants.Z_HUFFMAN_ONLY : zlib.constants.Z_DEFAULT_STRATEGY;
    return gzip(update, { strategy, chunkSize: update.length + 65_536 });
  }

  /** Sends what {@link pack} has made, once or again after a failure. @returns what the edge answered @throws RefusalError */
  async upload(assignment: Assignment, file: Uint8Array<ArrayBuffer>): Promise<string> {
    const answer = await this.#ask(this.#path(`rounds/${assignment.round}/updates/${assignment.id}`), {
      method: "PUT",
      body: file,
      headers: { "content-encoding": "gzip" },
      key: this.#keyOf(assignment),
    });
    return v.parse(v.object({ status: v.string() }), answer).status;
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
        const headers = key ? await sign({ method: "GET", url, ...init }, await key, Date.now()) : {};
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
