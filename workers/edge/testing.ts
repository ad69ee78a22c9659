import { reset } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { afterEach, beforeEach, expect } from "vitest";
import { decodeCheckpoint } from "../../src/core/checkpoint";
import { MODELS, summarize } from "../../src/core/model";
import {
  DEFAULT_ROUND,
  TASKS,
  type Assignment,
  type CheckInAnswer,
  type History,
  type Problem,
  type Round,
  type RoundConfig,
  type Task,
  type TaskName,
} from "../../src/core/protocol";
import { seededRandom } from "../../src/core/random";
import { encodeUpdate, type UpdateMetadata } from "../../src/core/update";

/** What the edge's tests do with a task, as its clients and its administrator do it. */
export class TestTask {
  readonly model;
  readonly #api: string;

  constructor(readonly name: TaskName) {
    this.model = summarize(MODELS[TASKS[name].model]);
    this.#api = `http://edge/api/tasks/${name}`;
    beforeEach(async () => {
      await reset();
    });
    afterEach(async () => {
      await reset();
    });
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return exports.default.fetch(`${this.#api}${path}`, init);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.fetch(path)).json();
  }

  admin(method: string, path: string, body?: unknown, token = "test-token"): Promise<Response> {
    return this.fetch(path, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** Starts rounds whose cohort is chosen at once. */
  async startRound(config: Partial<RoundConfig> = {}): Promise<void> {
    const response = await this.admin("POST", "/rounds", { ...DEFAULT_ROUND, selectionSeconds: 0, ...config });
    expect(response.status).toBe(201);
  }

  async checkIn(client: string, { examples = 4, heldOut = 0 } = {}): Promise<CheckInAnswer> {
    const response = await this.fetch("/check-ins", {
      method: "POST",
      body: JSON.stringify({ client, examples, heldOut }),
    });
    expect(response.status).toBe(200);
    return response.json();
  }

  /** Checks clients in until each is told to train. */
  async cohort(size: number): Promise<Assignment[]> {
    const clients = Array.from({ length: size }, () => crypto.randomUUID());
    for (const client of clients) await this.checkIn(client);
    const answers = await Promise.all(clients.map((client) => this.checkIn(client)));
    return answers.map((answer) => {
      if (answer.decision !== "train") throw new Error(`not selected: ${JSON.stringify(answer)}`);
      return answer.assignment;
    });
  }

  metadataFor({ round, checkpoint, plan }: Assignment, examples: number): UpdateMetadata {
    return {
      codec: plan.codec,
      task: this.name,
      round,
      base: checkpoint.sha256,
      examples,
      trainLoss: 2,
      trainAccuracy: 0.25,
      evalExamples: 1,
      evalLoss: 3,
      evalAccuracy: 0,
      bytesDown: checkpoint.bytes,
      trainingMs: 1000,
      backend: "test",
    };
  }

  randomDelta(seed: number): Float32Array {
    const random = seededRandom(seed);
    return Float32Array.from({ length: this.model.parameters }, () => (random() - 0.5) / 10);
  }

  async upload(
    assignment: Pick<Assignment, "id" | "round">,
    body: Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
    cf: RequestInitCfProperties = {},
  ): Promise<{ status: number; body: { status?: string } & Partial<Problem> }> {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
    const response = await this.fetch(`/rounds/${assignment.round}/updates/${assignment.id}`, {
      method: "PUT",
      headers: { "content-digest": `sha-256=:${btoa(String.fromCharCode(...digest))}:`, ...headers },
      body,
      cf,
    });
    return { status: response.status, body: await response.json() };
  }

  /** Uploads a delta for an assignment, which must be accepted. */
  async send(
    assignment: Assignment,
    delta: Float32Array,
    examples = 4,
    more: Partial<UpdateMetadata> = {},
  ): Promise<void> {
    const body = encodeUpdate(this.model, delta, { ...this.metadataFor(assignment, examples), ...more });
    expect(await this.upload(assignment, body)).toEqual({ status: 202, body: { status: "accepted" } });
  }

  /** Waits until a condition on the task's history holds. */
  async until(condition: (history: History) => boolean, what: string): Promise<History> {
    for (let i = 0; i < 300; i++) {
      const history = await this.get<History>("/rounds");
      if (condition(history)) return history;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(
      `It did not come to this: ${what}. ${JSON.stringify((await this.get<History>("/rounds")).rounds.at(-1))}`,
    );
  }

  async published(version: number): Promise<Task> {
    const { task } = await this.until(({ task }) => task.checkpoint.version >= version, `version ${version}`);
    return task;
  }

  async ended(number: number): Promise<Round> {
    const { rounds } = await this.until(({ rounds }) => rounds[number - 1]?.endedAt != null, `round ${number} ends`);
    return rounds[number - 1] as Round;
  }

  async download(task: Pick<Task, "checkpoint">): Promise<Float32Array> {
    return decodeCheckpoint(await this.file(task), this.model);
  }

  async file({ checkpoint }: Pick<Task, "checkpoint">): Promise<Uint8Array<ArrayBuffer>> {
    const response = await exports.default.fetch(`http://edge/api/checkpoints/${checkpoint.sha256}`);
    expect(response.headers.get("cache-control")).toContain("immutable");
    const file = new Uint8Array(await response.arrayBuffer());
    expect(file.length).toBe(checkpoint.bytes);
    return file;
  }
}

/** The largest difference of two vectors, coordinate by coordinate. */
export function worst(found: Float32Array, expected: (i: number) => number): number {
  let most = 0;
  for (let i = 0; i < found.length; i++) most = Math.max(most, Math.abs((found[i] as number) - expected(i)));
  return most;
}
