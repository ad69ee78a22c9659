import {
  createExecutionContext,
  listDurableObjectIds,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { summarize, type ModelSummary } from "../../src/model/model";
import type {
  Assignment,
  CheckInAnswer,
  History,
  Problem,
  Round,
  RoundConfig,
  Task,
} from "../../src/federation/protocol";
import { FederatedClient } from "../../src/federation/federated-client";
import { networkOf } from "../../src/federation/tasks/network";
import type { TaskName } from "../../src/federation/tasks/registry";
import { seededRandom } from "../../src/base/random";
import { createSigningKey, sign, type Signable } from "../../src/federation/signing";
import { NOTEBOOK_ROUND } from "../../src/federation/default-round";
import { encodeUpdate, type UpdateMetadata } from "../../src/federation/update";
import edge from "./index";

/**
 * Asks the edge. Its handler is called as it is, and not through `exports`: there, each request costs more than the last one
 * (github.com/cloudflare/workers-sdk/issues/15092, mended in versions that do not run on Node 20).
 */
export async function fetchEdge(url: string, init?: RequestInit): Promise<Response> {
  const request = new Request(url, init);
  // As the wire does it.
  if (init?.body instanceof Uint8Array) request.headers.set("content-length", String(init.body.length));
  return edge.fetch(request, env, createExecutionContext());
}

/**
 * The task objects that there are. The pool asks Node for them over HTTP, on a connection that Node gives up after five idle seconds: a
 * workerd that had its hands full until now has not seen that yet, and loses its question.
 */
async function taskObjects(tries = 3): Promise<DurableObjectId[]> {
  try {
    return await listDurableObjectIds(env.COORDINATOR);
  } catch (error) {
    if (tries === 1) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return taskObjects(tries - 1);
  }
}

/**
 * Waits until no task clears up behind a round any more: an alarm does that at once, and workerd waits for ever where an object is taken
 * away in the middle of its alarm.
 */
async function atRest(): Promise<void> {
  const busy = (_: unknown, { storage }: DurableObjectState): boolean =>
    storage.sql.exec("SELECT 1 FROM rounds WHERE cleaned = 0 AND ended_at IS NOT NULL").toArray().length > 0;
  for (const id of await taskObjects()) {
    const stub = env.COORDINATOR.get(id);
    for (let tries = 0; tries < 100; tries++) {
      // One that was broken on purpose is never at rest.
      if (!(await runInDurableObject(stub, busy).catch(() => false))) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const clock = Date.now.bind(Date);

/** What the edge's tests do with a task, as its clients and its administrator do it. */
export class TestTask {
  readonly #api: string;

  constructor(readonly name: TaskName) {
    this.#api = `http://edge/api/tasks/${name}`;
    beforeEach(async () => {
      await reset();
    });
    afterEach(async () => {
      await atRest();
      await reset();
    });
  }

  /** What pages ask, in the way that they ask it. */
  readonly #client = new FederatedClient(async ({ path, ...init }, key) => {
    const response = await this.fetchSigned(path.replace(`/api/tasks/${this.name}`, ""), key, init);
    expect(response.status).toBe(200);
    return response.json();
  });
  /** The keys of clients, by their names in a test and the round. */
  readonly #keys = new Map<string, CryptoKeyPair>();
  /** Whose keys the assignments were given to. */
  readonly #owners = new Map<string, CryptoKeyPair>();

  /** Of its network; an added task is known here once it was asked for. */
  get model(): ModelSummary {
    return summarize(networkOf(this.name));
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetchEdge(`${this.#api}${path}`, init);
  }

  /**
   * A request signed with a key, or with that of the client that was given an id.
   * @param forged what is sent in the place of the signed body
   */
  async fetchSigned(
    path: string,
    by: CryptoKeyPair | Pick<Assignment, "id">,
    init: Partial<Signable> & Pick<RequestInit, "cf"> = {},
    forged = init.body,
  ): Promise<Response> {
    const key = "id" in by ? (this.#owners.get(by.id) ?? (await createSigningKey())) : by;
    const { method = "GET", headers = {}, body, cf } = init;
    const url = `${this.#api}${path}`;
    const signed = await sign({ method, url, headers, body }, key, Date.now());
    return fetchEdge(url, {
      method,
      headers: signed,
      ...(forged !== undefined && { body: forged }),
      ...(cf && { cf }),
    });
  }

  /** A client's key for a round. */
  async keyOf(client: string, round: number | null): Promise<CryptoKeyPair> {
    const name = `${client}/${round}`;
    const key = this.#keys.get(name) ?? (await createSigningKey());
    this.#keys.set(name, key);
    return key;
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

  /** Starts rounds of plain FederatedAveraging whose cohort is chosen at once: their updates are the numbers of tests, of any size. */
  async startRound(config: Partial<RoundConfig> = {}): Promise<void> {
    const response = await this.admin("POST", "/rounds", { ...NOTEBOOK_ROUND, selectionSeconds: 0, ...config });
    expect(response.status).toBe(201);
  }

  async checkIn(client: string, { examples = 100, heldOut = 0 } = {}): Promise<CheckInAnswer> {
    let round: number | null = null;
    for (;;) {
      const key = await this.keyOf(client, round);
      const answer = await this.#client.checkIn(this.name, { examples, heldOut, round }, key);
      if (answer.decision === "train") this.#owners.set(answer.assignment.id, key);
      if (answer.decision === "evaluate") this.#owners.set(answer.evaluation.id, key);
      if (answer.decision !== "wait" || answer.reason !== "other-round") return answer;
      ({ round } = answer);
    }
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
      backend: "wasm",
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
    const path = `/rounds/${assignment.round}/updates/${assignment.id}`;
    const response = await this.fetchSigned(path, assignment, { method: "PUT", headers, body, cf });
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

  /** Waits until a condition on the task's history holds, for less than a test may take: its speed is not what is tested. */
  async until(condition: (history: History) => boolean, what: string): Promise<History> {
    for (const start = Date.now(); Date.now() - start < 90_000;) {
      const history = await this.get<History>("/rounds");
      if (condition(history)) return history;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(
      `It did not come to this: ${what}. ${JSON.stringify((await this.get<History>("/rounds")).rounds.at(-1))}`,
    );
  }

  /** Lets the clock be some seconds ahead of what it is, and what is due then happen. Mocks are restored by whoever uses it. */
  async later(seconds: number): Promise<void> {
    vi.spyOn(Date, "now").mockImplementation(() => clock() + seconds * 1000);
    await runDurableObjectAlarm(this.#coordinator());
  }

  /** Waits until so many updates of a round are in its sum, also where the edge tells nobody. */
  async summed(round: number, updates: number): Promise<void> {
    const counted = (): Promise<number> =>
      runInDurableObject(this.#coordinator(), (_, { storage }) => {
        const query = "SELECT count(*) AS n FROM updates WHERE round = ? AND state = 'counted'";
        return Number(storage.sql.exec(query, round).one()["n"]);
      });
    await expect.poll(counted, { timeout: 90_000 }).toBe(updates);
  }

  #coordinator() {
    return env.COORDINATOR.get(env.COORDINATOR.idFromName(this.name));
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
    const response = await fetchEdge(`http://edge/api/checkpoints/${checkpoint.sha256}`);
    expect(response.headers.get("cache-control")).toContain("immutable");
    const file = new Uint8Array(await response.arrayBuffer());
    expect(file.length).toBe(checkpoint.bytes);
    return file;
  }
}

/** The cosines of deltas to an average over a model's parameters, the least first, as any textbook has them. */
export function cosinesTo(
  { tensors }: Pick<ModelSummary, "tensors">,
  deltas: readonly Float32Array[],
  average: (i: number) => number,
  keep: (i: number) => boolean = () => false,
): number[] {
  const places = tensors
    .filter(({ trainable }) => trainable)
    .flatMap(({ offset, size }) => Array.from({ length: size }, (_, i) => offset + i))
    .filter((i) => !keep(i));
  const mean = places.map(average);
  const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0);
  return deltas
    .map((delta) => places.map((i) => delta[i] ?? NaN))
    .map((delta) => dot(delta, mean) / Math.sqrt(dot(delta, delta) * dot(mean, mean)))
    .sort((a, b) => a - b);
}

/** The cosines that a round tells of its clients, the least first. */
export const cosinesOf = ({ cohort }: Round): number[] =>
  cohort.map(({ cosine }) => cosine ?? NaN).sort((a, b) => a - b);

/** The largest difference of two vectors, coordinate by coordinate. */
export function worst(found: Float32Array, expected: (i: number) => number): number {
  let most = 0;
  for (let i = 0; i < found.length; i++) most = Math.max(most, Math.abs((found[i] as number) - expected(i)));
  return most;
}
