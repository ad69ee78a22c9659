import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import { encodeCheckpoint, decodeCheckpoint } from "../../src/core/checkpoint";
import { initializeWeights } from "../../src/core/initialize";
import { MODELS, summarize, type ModelSpec } from "../../src/core/model";
import type { ProblemCode } from "../../src/core/problems";
import {
  taskNameSchema,
  TASKS,
  type CheckIn,
  type CheckInAnswer,
  type History,
  type LiveEvent,
  type Round,
  type RoundConfig,
  type Task,
  type TaskName,
} from "../../src/core/protocol";
import { shuffle } from "../../src/core/random";
import type { UpdateMetadata } from "../../src/core/update";
import type { UpdateLocation } from "./aggregator";
import { sha256Hex } from "./digest";
import { checkpointKey, updateKey, type Env } from "./env";
import { RoundStore, type RoundRow } from "./round-store";

/** Seed of the initialization: the year of FER2013. */
const INITIAL_SEED = 2013;
/** A client that waits and has not asked for this long has gone. */
const WAITING_MS = 30_000;
/** An accepted update that is not counted after this long is put in the queue again. */
const REQUEUE_MS = 10_000;
const HISTORY = 1000;

/** What became of an upload. A refusal crosses to the router as data: an exception would lose its class on the way. */
export type UploadAnswer =
  { status: "go-on" | "accepted" | "already-accepted" } | { status: "refused"; code: ProblemCode };

/**
 * Keeps the state of one task's rounds: selecting, training, aggregating, published or abandoned. Everything is in
 * SQLite; every transition is one transaction, made by a request or by the alarm, so that a round ends also when every
 * client has left.
 */
export class Coordinator extends DurableObject<Env> {
  readonly #store: RoundStore;
  readonly #task: TaskName;
  readonly #model: ModelSpec;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#task = v.parse(taskNameSchema, ctx.id.name);
    this.#model = MODELS[TASKS[this.#task].model];
    this.#store = new RoundStore(ctx.storage.sql, this.#task);
    void ctx.blockConcurrencyWhile(() => this.#initialize());
  }

  /** Publishes version 0, once: the checkpoint that was deployed with the app, else a seeded random initialization. */
  async #initialize(): Promise<void> {
    if (this.#store.latestCheckpoint()) return;
    const model = summarize(this.#model);
    const deployed = await this.#deployedCheckpoint();
    if (deployed) decodeCheckpoint(deployed, model); // Throws here, not on a thousand devices, when it is damaged.
    const file =
      deployed ??
      encodeCheckpoint(
        model,
        initializeWeights(this.#model, INITIAL_SEED),
        { task: this.#task, version: "0" },
        "float32",
      );
    const sha256 = await sha256Hex(file);
    await this.env.STORE.put(checkpointKey(sha256), file, { sha256 });
    const checkpoint = { version: 0, sha256, bytes: file.length, trained: deployed !== undefined };
    this.#store.addCheckpoint(checkpoint, Date.now());
  }

  async #deployedCheckpoint(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const path = this.env.INITIAL_CHECKPOINTS[this.#task];
    if (path === undefined) return undefined;
    const response = await this.env.ASSETS.fetch(new URL(path, "https://assets"));
    if (!response.ok) throw new Error(`${path} is not among the deployed files.`);
    return new Uint8Array(await response.arrayBuffer());
  }

  task(): Task {
    const checkpoint = this.#store.latestCheckpoint();
    if (!checkpoint) throw new Error("The task has no checkpoint.");
    const { trained, ...info } = checkpoint;
    return { task: this.#task, model: TASKS[this.#task].model, checkpoint: info, trained };
  }

  history(): History {
    return { task: this.task(), rounds: this.#store.rounds(HISTORY) };
  }

  /** Opens a round that waits for clients, unless one is under way. */
  async startRounds(config: RoundConfig): Promise<Round | "round-open"> {
    if (this.#store.openRound()) return "round-open";
    const number = this.#open(config);
    await this.#schedule();
    return this.#store.round(number);
  }

  async stopRound(): Promise<Round | "no-open-round"> {
    const round = this.#store.openRound();
    if (!round) return "no-open-round";
    this.#store.abandon(round.number, "Stopped by the administrator.", Date.now());
    this.#announce(round.number);
    await this.#schedule();
    return this.#store.round(round.number);
  }

  /** Tells a client to train, or when to ask again. Asking again is harmless and gets the same assignment. */
  async checkIn(client: CheckIn): Promise<CheckInAnswer> {
    const open = this.#store.openRound();
    if (!open) return wait("no-round", 5);
    const label = (await sha256Hex(new TextEncoder().encode(`${client.client}/${open.number}`))).slice(0, 8);
    const now = Date.now();
    const changed = this.ctx.storage.transactionSync(() => {
      const round = this.#store.openRound();
      if (round?.state !== "selecting" || round.number !== open.number) return false;
      this.#store.forgetWaiting(now - WAITING_MS);
      this.#store.wait(client, label, now);
      this.#select(round, now);
      return true;
    });
    if (changed) this.#announce(open.number);
    const round = this.#store.openRound();
    if (!round) return wait("no-round", 5);
    const known = this.#store.assignment(round, client.client);
    if (changed) await this.#schedule();
    if (known?.state === "training") return { decision: "train", assignment: known.assignment };
    if (known) return wait("already-sent", 3);
    return round.state === "selecting" ? wait("selecting", 2) : wait("not-selected", 5);
  }

  /** Whether an upload is worth reading, before its body is. */
  admit(round: number, id: string, digest: string): UploadAnswer {
    const refused = (code: ProblemCode): UploadAnswer => this.refuse(round, code);
    const update = this.#store.update(id);
    if (!update) return refused("not-selected");
    if (update.round !== round) return refused("wrong-round");
    if (update.state === "uploaded" || update.state === "counted") {
      return update.digest === digest ? { status: "already-accepted" } : refused("repeated-id");
    }
    const open = this.#store.openRound();
    if (open?.number !== round || open.state !== "training") return refused("round-closed");
    return { status: "go-on" };
  }

  /** Accepts an update whose bytes are in R2. After this it counts, once, whatever fails. */
  async accept(
    round: number,
    id: string,
    upload: { digest: string; bytes: number; metadata: UpdateMetadata },
  ): Promise<UploadAnswer> {
    const now = Date.now();
    const answer = this.ctx.storage.transactionSync((): UploadAnswer => {
      const admitted = this.admit(round, id, upload.digest);
      if (admitted.status !== "go-on") return admitted;
      const base = this.#store.checkpoint(this.#store.openRound()?.base ?? 0);
      if (upload.metadata.round !== round || upload.metadata.task !== this.#task)
        return this.refuse(round, "wrong-round");
      if (upload.metadata.base !== base.sha256) return this.refuse(round, "wrong-base");
      this.#store.setUploaded(id, upload.digest, upload.bytes, upload.metadata, now);
      return { status: "accepted" };
    });
    if (answer.status === "accepted") {
      this.#announce(round);
      await this.#schedule();
    }
    return answer;
  }

  /** Counts a refusal on the dashboard and returns it. */
  refuse(round: number, code: ProblemCode): UploadAnswer {
    if (this.#store.roundExists(round)) {
      this.#store.refuse(round, code);
      this.#announce(round);
    }
    return { status: "refused", code };
  }

  /** Notes that an accepted update was put in the queue; the alarm does it again if it is not counted soon. */
  queued(id: string): void {
    this.#store.setQueued(id, Date.now());
  }

  /** The shard that adds an update, the least loaded one when it is first asked for; null when it counts no more. */
  shardOf(id: string): { shard: string; update: UpdateLocation } | null {
    const update = this.#store.update(id);
    const open = this.#store.openRound();
    if (!update?.digest || !update.metadata || update.round !== open?.number || update.state !== "uploaded")
      return null;
    let { shard } = update;
    if (shard === null) {
      const loads = this.#store.shardLoads(update.round);
      const shards = Array.from({ length: Math.max(1, Number(this.env.AGGREGATOR_SHARDS)) }, (_, i) => i);
      shard = shards.reduce((best, i) => ((loads.get(i) ?? 0) < (loads.get(best) ?? 0) ? i : best), 0);
      this.#store.setShard(id, shard);
    }
    return {
      shard: this.#shardName(update.round, shard),
      update: { id, key: updateKey(this.#task, update.round, id, update.digest), examples: update.metadata.examples },
    };
  }

  /** A shard has added this update. */
  async counted(id: string): Promise<void> {
    const changed = this.ctx.storage.transactionSync(() => {
      const update = this.#store.update(id);
      const round = this.#store.openRound();
      if (!update || update.state !== "uploaded" || update.round !== round?.number) return undefined;
      this.#store.setCounted(id);
      const tally = this.#store.tally(round.number);
      const enough = tally.counted >= round.config.goalCount || tally.training + tally.uploaded === 0;
      if (round.state === "training" && enough) this.#store.startAggregating(round.number);
      return round.number;
    });
    if (changed === undefined) return;
    this.#announce(changed);
    await this.#schedule();
  }

  /** Drives what no request drives: deadlines, merging, lost queue messages, clearing up. Safe to run at any time. */
  override async alarm(): Promise<void> {
    const now = Date.now();
    const round = this.#store.openRound();
    if (round) {
      if (round.state === "training" && round.deadline !== null && now >= round.deadline) this.#close(round, now);
      await this.#requeue(round.number, now);
      if (this.#store.openRound()?.state === "aggregating" && this.#store.tally(round.number).uploaded === 0) {
        await this.#merge(round);
      }
    }
    for (const number of this.#store.uncleaned()) await this.#clean(number);
    await this.#schedule();
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") !== "websocket") return new Response("WebSocket expected", { status: 426 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.send(JSON.stringify({ type: "history", history: this.history() } satisfies LiveEvent));
    return Promise.resolve(new Response(null, { status: 101, webSocket: client }));
  }

  override webSocketMessage(): void {
    // Watchers only listen.
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }

  #open(config: RoundConfig): number {
    const base = this.task().checkpoint.version;
    const number = this.#store.addRound(config, base, Date.now());
    this.#announce(number);
    return number;
  }

  /** Chooses the cohort once enough clients wait that a share C of them reaches the goal. */
  #select(round: RoundRow, now: number): void {
    const { goalCount, fraction, deadlineSeconds } = round.config;
    const waiting = this.#store.waiting();
    if (waiting.length < Math.ceil(goalCount / fraction)) return;
    const random = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
    for (const client of shuffle(waiting, random).slice(0, goalCount)) this.#store.assign(round.number, client, now);
    this.#store.clearWaiting();
    this.#store.startTraining(round.number, now + deadlineSeconds * 1000, now);
  }

  /** At the deadline: average what has come if it is at least half the goal, else give the round up. */
  #close(round: RoundRow, now: number): void {
    const { counted, uploaded } = this.#store.tally(round.number);
    const needed = Math.ceil(round.config.goalCount / 2);
    if (counted + uploaded >= needed) this.#store.startAggregating(round.number);
    else {
      const reason = `At the deadline ${counted + uploaded} of ${round.config.goalCount} updates had arrived; ${needed} were needed.`;
      this.#store.abandon(round.number, reason, now);
    }
    this.#announce(round.number);
  }

  async #requeue(round: number, now: number): Promise<void> {
    for (const id of this.#store.uncounted(round, now - REQUEUE_MS)) {
      await this.env.UPDATES.send({ task: this.#task, id });
      this.#store.setQueued(id, now);
    }
  }

  async #merge(round: RoundRow): Promise<void> {
    const [root, ...others] = [...this.#store.shardLoads(round.number).keys()].map((i) =>
      this.#shardName(round.number, i),
    );
    if (root === undefined) throw new Error(`Round ${round.number} has no shard to merge.`);
    const base = this.#store.checkpoint(round.base);
    const { counted, examples } = this.#store.tally(round.number);
    const version = base.version + 1;
    const merged = await this.#aggregator(root).merge(
      others,
      base.sha256,
      { count: counted, examples },
      { codec: "float32", task: this.#task, version: String(version), round: String(round.number), base: base.sha256 },
    );
    const next = this.ctx.storage.transactionSync(() => {
      if (this.#store.openRound()?.number !== round.number) return undefined;
      this.#store.addCheckpoint({ ...merged, version, trained: true }, Date.now());
      this.#store.publish(round.number, version, Date.now());
      const { rounds } = round.config;
      return rounds > 1 ? this.#open({ ...round.config, rounds: rounds - 1 }) : 0;
    });
    if (next !== undefined) this.#announce(round.number);
  }

  /** Forgets the sums and deletes the updates of a round that has ended. */
  async #clean(round: number): Promise<void> {
    for (const shard of this.#store.shardLoads(round).keys()) {
      await this.#aggregator(this.#shardName(round, shard)).clear();
    }
    const { objects } = await this.env.STORE.list({ prefix: `updates/${this.#task}/${round}/` });
    if (objects.length > 0) {
      await this.env.STORE.delete(objects.map(({ key }) => key));
      return; // There may be more than one page: the next alarm looks again.
    }
    this.#store.setCleaned(round);
  }

  /** Sets the alarm to the next moment at which something may be due. */
  async #schedule(): Promise<void> {
    const now = Date.now();
    const due: number[] = [];
    const round = this.#store.openRound();
    if (round?.state === "aggregating") due.push(now);
    if (round?.state === "training" && round.deadline !== null) due.push(round.deadline);
    if (round && this.#store.uncounted(round.number, Infinity).length > 0) due.push(now + REQUEUE_MS);
    if (this.#store.uncleaned().length > 0) due.push(now);
    if (due.length > 0) await this.ctx.storage.setAlarm(Math.max(now + 50, Math.min(...due)));
  }

  #shardName(round: number, shard: number): string {
    return `${this.#task}/${round}/${shard}`;
  }

  #aggregator(name: string) {
    return this.env.AGGREGATOR.get(this.env.AGGREGATOR.idFromName(name));
  }

  #announce(round: number): void {
    const sockets = this.ctx.getWebSockets();
    if (sockets.length === 0) return;
    const event: LiveEvent = { type: "round", round: this.#store.round(round), task: this.task() };
    const text = JSON.stringify(event);
    for (const socket of sockets) socket.send(text);
  }
}

/** Spreads the clients' next check-ins evenly over one to two times `seconds`. */
function wait(reason: Extract<CheckInAnswer, { decision: "wait" }>["reason"], seconds: number): CheckInAnswer {
  return { decision: "wait", reason, retryAfterSeconds: seconds * (1 + Math.random()) };
}
