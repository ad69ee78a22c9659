import * as v from "valibot";
import { encodeDelta } from "../src/core/codecs/codec";
import { gzip } from "../src/core/gzip";
import { MODELS, summarize, type ModelSummary } from "../src/core/model";
import {
  checkInAnswerSchema,
  problemSchema,
  TASKS,
  type Assignment,
  type CheckInAnswer,
  type CheckpointInfo,
  type TaskName,
} from "../src/core/protocol";
import { seededRandom } from "../src/core/random";
import { follow, maskedBody, type SecureMember } from "../src/core/secagg/member";
import { secureStepSchema, type SecureMessage, type SecureStep } from "../src/core/secagg/messages";
import { ringOf, type RingFacts } from "../src/core/secagg/ring";
import { encodeUpdate } from "../src/core/update";

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

/** A client that leaves on purpose. */
class LeftError extends Error {}

/**
 * A client without a browser, for scripts, tests and load: it speaks the whole protocol, and sends whatever delta it is given.
 * Every call goes on trying while the edge is away.
 */
export class HeadlessClient {
  readonly id: string = crypto.randomUUID();
  readonly model: ModelSummary;

  constructor(
    readonly url: () => string,
    readonly task: TaskName,
    readonly signal: AbortSignal,
  ) {
    this.model = summarize(MODELS[TASKS[task].model]);
  }

  /** Asks once what to do. @throws RefusalError */
  async checkIn(examples: number): Promise<CheckInAnswer> {
    const body = JSON.stringify({ client: this.id, examples });
    const response = await this.#request(this.#path("check-ins"), { method: "POST", body });
    return v.parse(checkInAnswerSchema, await response.json());
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
    const response = await this.#request(`/api/checkpoints/${sha256}`, {});
    return new Uint8Array(await response.arrayBuffer());
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
    if (!secure || (plan.codec !== "int8" && plan.codec !== "int4")) throw new Error("Not a secure round.");
    const path = this.#path(`rounds/${round}/secure/${id}`);
    const send = async (message?: SecureMessage): Promise<SecureStep> => {
      if (until === "shares" && message?.step === "shares") throw new LeftError();
      const init = message ? { method: "POST", body: JSON.stringify(message) } : {};
      return v.parse(secureStepSchema, await (await this.#request(path, init)).json());
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
      const digest = Buffer.from(await crypto.subtle.digest("SHA-256", body)).toString("base64");
      await this.#request(this.#path(`rounds/${round}/updates/${id}`), {
        ...{ method: "PUT", body, headers: { "content-digest": `sha-256=:${digest}:` } },
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
    measured = { trainLoss: 1, trainAccuracy: 0.5 },
  ): Promise<string> {
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
    const file = await gzip(update);
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", file)).toString("base64");
    const response = await this.#request(this.#path(`rounds/${assignment.round}/updates/${assignment.id}`), {
      method: "PUT",
      body: file,
      headers: { "content-digest": `sha-256=:${digest}:`, "content-encoding": "gzip" },
    });
    return v.parse(v.object({ status: v.string() }), await response.json()).status;
  }

  #path(rest: string): string {
    return `/api/tasks/${this.task}/${rest}`;
  }

  async #request(path: string, init: RequestInit): Promise<Response> {
    for (;;) {
      this.signal.throwIfAborted();
      let response: Response;
      try {
        response = await fetch(`${this.url()}${path}`, { ...init, signal: this.signal });
        if (response.ok) return response;
        const problem = v.safeParse(problemSchema, await response.json());
        if (problem.success && response.status < 500 && response.status !== 429) {
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
  return Float32Array.from({ length: model.parameters }, () => (random() - 0.5) / 100);
}
