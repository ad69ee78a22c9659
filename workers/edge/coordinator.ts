import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint";
import { normOf } from "../../src/core/privacy/clip";
import { sha256Hex } from "../../src/core/digest";
import { isPlateau } from "../../src/core/early-stopping";
import { objectionTo, type DreamVerdict } from "../../src/core/guard";
import { initializeWeights } from "../../src/core/initialize";
import { MODELS, summarize, type ModelSpec } from "../../src/core/model";
import type { ProblemCode } from "../../src/core/problems";
import {
  changeableOf,
  conflictOf,
  isRobust,
  taskNameSchema,
  TASKS,
  type CheckIn,
  type CheckInAnswer,
  type CheckpointRecord,
  type DeadLetter,
  type Evaluation,
  type History,
  type HubState,
  type Page,
  type Round,
  type RoundConfig,
  type Task,
  type TaskName,
} from "../../src/core/protocol";
import { nextClip } from "../../src/core/privacy/adaptive-clip";
import { drawEach, endsAtGoal, noiseRuleOf } from "../../src/core/privacy/mechanism";
import { whyUnusable } from "../../src/core/secagg/check";
import type { SecureMessage, SecureStep } from "../../src/core/secagg/messages";
import { ringOf, type Ring } from "../../src/core/secagg/ring";
import { UnmaskingError, type Correction } from "../../src/core/secagg/server";
import { shuffle } from "../../src/core/random";
import { linearWeight } from "../../src/core/strategies/weights";
import type { Signer } from "../../src/core/signing";
import type { UpdateSummary } from "../../src/core/update";
import type { ComparedUpdate, MergePlan, PublishedFile, UpdateLocation, WeightedUpdate } from "./aggregator";
import { bounded, clipOf, factorOf } from "./bounds";
import { checkpointKey, differenceKey, hubOf, judgeOf, updateKey, type Env } from "./env";
import type { HubPlan, HubProgress } from "./hub";
import { nameOf } from "./identity";

import { log } from "./log";
import { RoundStore, type RoundRow, type UpdateRow, type WaitingClient } from "./round-store";
import { MOST_MEMBERS, RoundView } from "./round-view";
import { SecureStore } from "./secure-store";
import type { VectorFormat } from "./upload";
import { Uploads } from "./uploads";
import { Watchers } from "./watchers";

/** Seed of the initialization: the year of FER2013. */
const INITIAL_SEED = 2013;
/** A client that waits and has not asked for this long has gone; more where clients are told to stay away for longer. */
const WAITING_MS = 30_000;
/** The longest that the averaging of a round may take: whatever fails for so long will not work any more. */
const AGGREGATING_MS = 600_000;
/** The longest that one upload may take. */
const UPLOAD_MS = 600_000;
/** An accepted update that is not counted after this long is put in the queue again. */
const REQUEUE_MS = 5_000;
/** After an alarm that failed. */
const RETRY_MS = 3_000;
/** How often hubs that gossip are asked how far they are, and after how long without an answer one is given up. */
const HUB_POLL_MS = 300;
/** How often it is seen whether the last member has opened its shares. */
const SECURE_POLL_MS = 200;
const HUB_SILENCE_MS = 10_000;
/** Clocks of two machines that run the object one after the other may differ by this. */
const CLOCK_SLACK_MS = 5_000;
/** Check-ins a second that a Coordinator wants at most: beyond it, clients are told to come back later. */
const CHECK_INS_PER_SECOND = 100;

/** When a round that waits for clients is given up, and when one whose updates cannot be averaged is. */
const waitsUntil = ({ openedAt, config }: RoundRow): number => openedAt + config.waitSeconds * 1000;
const aggregatesUntil = ({ aggregatingAt, config }: RoundRow): number =>
  (aggregatingAt ?? 0) + AGGREGATING_MS + (config.secure ? 3000 * config.secureStepSeconds : 0);
const isOverdue = (round: RoundRow, now: number): boolean =>
  round.state === "aggregating" && now >= aggregatesUntil(round);

const newHub = (name: string): HubState => ({
  ...{ name, state: "waiting", updates: 0, block: 0, blocks: 0 },
  ...{ epoch: 0, asked: 0, lost: 0 },
});

/** Where an update is added: by a hub of the round, or by an Aggregator of this name. */
export interface UpdatePlace {
  hub: boolean;
  round: number;
  shard: string;
  update: WeightedUpdate;
}

/** What became of an upload. A refusal crosses to the router as data: an exception would lose its class on the way. */
export type UploadAnswer =
  | { status: "accepted" | "already-accepted" }
  | { status: "refused"; code: ProblemCode }
  /** The upload is worth reading; as a masked vector, where its round wants one. */
  | { status: "go-on"; vector: VectorFormat | null };

/** That an upload may begin: until when it is of use, and its name, by which its end is told. */
export type Admission =
  | Exclude<UploadAnswer, { status: "go-on" }>
  | { status: "go-on"; vector: VectorFormat | null; until: number; upload: string };

/**
 * Keeps the state of one task's rounds: selecting, training, aggregating, published or abandoned. Everything is in
 * SQLite; every transition is one transaction, made by a request or by the alarm, so that a round ends also when every
 * client has left.
 */
export class Coordinator extends DurableObject<Env> {
  readonly #store: RoundStore;
  readonly #view: RoundView;
  readonly #watchers: Watchers;
  readonly #uploads = new Uploads();
  readonly #secure: SecureStore;
  readonly #task: TaskName;
  readonly #model: ModelSpec;
  /** Check-ins a second, averaged over the last ten or so, and when it was last brought up to date. */
  #rate = { perSecond: 0, at: 0 };
  /** The time of the latest check-in. */
  #lastSeen = 0;
  /** Since when a hub of the open round has not answered. */
  readonly #silentSince = new Map<string, number>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#task = v.parse(taskNameSchema, nameOf(ctx));
    this.#model = MODELS[TASKS[this.#task].model];
    this.#store = new RoundStore(ctx.storage.sql, this.#task);
    this.#view = new RoundView(ctx.storage.sql, this.#store);
    this.#watchers = new Watchers(ctx, {
      round: (number) => this.#view.round(number, MOST_MEMBERS),
      task: () => this.task(),
      history: () => this.history(),
    });
    this.#secure = new SecureStore(ctx.storage.sql, this.#task);
    void ctx.blockConcurrencyWhile(async () => {
      await this.#initialize();
      // Whatever ended the object before may have ended it between a transition and its alarm.
      await this.#schedule();
    });
  }

  /** Publishes version 0, once: the checkpoint that was deployed with the app, else a seeded random initialization. */
  async #initialize(): Promise<void> {
    const model = summarize(this.#model);
    if (this.#store.nextVersion() > 0) {
      // An older edge has not noted how large the weights are that updates are held against.
      const current = this.#store.currentCheckpoint();
      if (current?.norm !== null) return;
      const stored = await this.env.STORE.get(checkpointKey(current.sha256));
      if (!stored) return;
      const weights = decodeCheckpoint(new Uint8Array(await stored.arrayBuffer()), model);
      this.#store.setNorm(current.version, normOf(weights));
      return;
    }
    const deployed = await this.#deployedCheckpoint();
    // Throws here, not on a thousand devices, when it is damaged.
    const weights = deployed ? decodeCheckpoint(deployed, model) : initializeWeights(this.#model, INITIAL_SEED);
    const file = deployed ?? encodeCheckpoint(model, weights, { task: this.#task, version: "0" }, "float32");
    const sha256 = await sha256Hex(file);
    await this.env.STORE.put(checkpointKey(sha256), file, { sha256 });
    const norm = normOf(weights);
    const checkpoint = { version: 0, sha256, bytes: file.length, trained: deployed !== undefined, norm };
    this.#store.addCheckpoint(checkpoint, "published", null, Date.now());
  }

  async #deployedCheckpoint(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const path = this.env.INITIAL_CHECKPOINTS[this.#task];
    if (path === undefined) return undefined;
    const response = await this.env.ASSETS.fetch(new URL(path, "https://assets"));
    if (!response.ok) throw new Error(`${path} is not among the deployed files.`);
    return new Uint8Array(await response.arrayBuffer());
  }

  task(): Task {
    const checkpoint = this.#store.currentCheckpoint();
    if (!checkpoint) throw new Error("The task has no checkpoint.");
    const { trained, norm: _, ...info } = checkpoint;
    const privacy = this.#store.mechanisms();
    return { task: this.#task, model: TASKS[this.#task].model, checkpoint: info, trained, privacy };
  }

  /** The latest rounds, or those before one. */
  history(page: Partial<Page> = {}): History {
    return { task: this.task(), rounds: this.#view.page(page) };
  }

  /** A round with all its members; undefined where there is none of this number. */
  round(number: number): Round | undefined {
    return this.#store.roundExists(number) ? this.#view.round(number) : undefined;
  }

  /** Opens a round that waits for clients, unless one is under way. */
  async startRounds(config: RoundConfig): Promise<Round | "round-open"> {
    const number = this.ctx.storage.transactionSync(() => {
      if (this.#store.openRound()) return undefined;
      this.#store.setEarlyStop(null);
      this.#store.dropAll();
      return this.#open(config, null);
    });
    if (number === undefined) return "round-open";
    this.#announce(number);
    await this.#schedule();
    return this.#view.round(number);
  }

  /** Changes the open round's configuration, as far as its fields let it: what its clients were told stays. */
  async changeRound(
    change: Partial<RoundConfig>,
  ): Promise<Round | "no-open-round" | { fixed: string[] } | { conflict: string }> {
    const round = this.#store.openRound();
    if (!round) return "no-open-round";
    const config = { ...round.config, ...change };
    const conflict = conflictOf(config);
    if (conflict !== undefined) return { conflict };
    const allowed = round.state === "selecting" ? ["selecting", "open"] : ["open"];
    const keys = (Object.keys(change) as (keyof RoundConfig)[]).filter((key) => config[key] !== round.config[key]);
    const fixed = keys.filter((key) => !allowed.includes(changeableOf(key)));
    if (fixed.length > 0) return { fixed };
    this.#store.setConfig(round.number, config);
    if (config.topology !== round.config.topology) this.#setUpHubs(round.number, config);
    // Another goal may have been reached already, or not any more.
    if (round.state === "selecting") this.#choose(round.number, Date.now());
    this.#announce(round.number);
    await this.#schedule();
    return this.#view.round(round.number);
  }

  checkpoints(): CheckpointRecord[] {
    return this.#store.checkpoints();
  }

  /** Goes back to a published checkpoint: clients get it, and the next round starts from it. */
  rollBack(version: number): CheckpointRecord[] | "not-found" | "round-open" {
    if (this.#store.openRound()) return "round-open";
    const known = this.#store.checkpoints().find((one) => one.version === version);
    if (known?.status !== "published") return "not-found";
    this.#store.setCurrent(version);
    log("rollback", { task: this.#task, version });
    return this.#store.checkpoints();
  }

  deadLetters(): DeadLetter[] {
    return this.#store.deadLetters();
  }

  /** The queue has given an update up: it no longer holds the round up, and waits to be replayed. */
  async dead(id: string, reason: string): Promise<void> {
    if (!this.#store.setDead(id, reason)) return;
    log("dead-letter", { task: this.#task, id, reason });
    const update = this.#store.update(id);
    if (update) this.#announce(update.round);
    await this.#closeIfComplete();
  }

  /** Puts a dead update into the queue again, while its round still takes updates. */
  async replay(id: string): Promise<"replayed" | "not-found" | "round-closed"> {
    const update = this.#store.update(id);
    if (update?.state !== "dead") return "not-found";
    const open = this.#store.openRound();
    if (open?.number !== update.round || open.state !== "training") return "round-closed";
    this.#store.revive(id, Date.now());
    await this.env.UPDATES.send({ task: this.#task, id });
    await this.#schedule();
    return "replayed";
  }

  /** What the metrics say of this task. */
  metrics(): { checkpoint: number; waiting: number; checkInsPerSecond: number } & ReturnType<RoundStore["counts"]> {
    return {
      checkpoint: this.task().checkpoint.version,
      waiting: this.#store.countWaiting(),
      checkInsPerSecond: this.#rate.perSecond,
      ...this.#store.counts(),
    };
  }

  async stopRound(): Promise<Round | "no-open-round"> {
    const round = this.#store.openRound();
    if (!round) return "no-open-round";
    this.#store.abandon(round.number, "Stopped by the administrator.", Date.now());
    this.#announce(round.number);
    await this.#schedule();
    return this.#view.round(round.number);
  }

  /** Whether a signed request is the first of its kind, and of the client that its id was given to. */
  claim(signer: Signer, id?: string): "claimed" | "replayed" | "other-key" {
    const owner = id === undefined ? undefined : this.#store.ownerOf(id);
    // An id that was never given out has no owner, and what is asked of it is refused: nothing of it is kept.
    if (id !== undefined && owner === undefined) return "claimed";
    if (owner !== undefined && owner !== signer.client) return "other-key";
    return this.#store.isNew(signer, Date.now()) ? "claimed" : "replayed";
  }

  /** Tells a client to train, to evaluate, or when to ask again. Asking again is harmless and gets the same answer. */
  async checkIn(client: string, checkIn: CheckIn): Promise<CheckInAnswer> {
    const now = Date.now();
    await this.#noticeClock(now);
    this.#countCheckIn(now);
    const open = this.#store.openRound();
    if (!open) return this.#wait(this.#store.earlyStop === undefined ? "no-round" : "early-stopped", 5);
    // A key that was made for another round would link the two.
    if (checkIn.round !== open.number) return this.#wait("other-round", 0);
    const label = (await sha256Hex(Uint8Array.from(new TextEncoder().encode(`${client}/${open.number}`)))).slice(0, 8);
    const changed = this.ctx.storage.transactionSync(() => {
      const round = this.#store.openRound();
      if (round?.number !== open.number) return false;
      if (round.config.mode === "async") return this.#join(round, { client, label, examples: checkIn.examples }, now);
      if (round.state !== "selecting") return false;
      this.#store.wait(client, checkIn, label, now);
      this.#choose(round.number, now);
      return true;
    });
    if (changed) {
      this.#announce(open.number);
      await this.#schedule();
    }
    const round = this.#store.openRound();
    if (!round) return this.#wait("no-round", 5);
    const known = this.#store.assignment(round, client);
    if (known?.state === "training") return { decision: "train", assignment: known.assignment };
    if (round.state === "evaluating" && checkIn.heldOut > 0) {
      const evaluation = this.#evaluationFor(round, client, now);
      if (evaluation) return evaluation;
    }
    if (known) return this.#wait("already-sent", 3);
    return round.state === "selecting" ? this.#wait("selecting", 2) : this.#wait("not-selected", 5);
  }

  /** Takes an evaluator's answer; one that comes twice, or too late, changes nothing, and one that tells more than was asked is refused. */
  async evaluated(id: string, evaluation: Evaluation): Promise<"accepted" | "already-accepted" | "not-asked"> {
    const asked = this.#store.roundOfEvaluation(id);
    if (asked !== undefined && evaluation.confusion && !this.#store.round(asked).config.evaluateByClass)
      return "not-asked";
    const number = this.#store.answerEvaluation(id, evaluation);
    if (number === undefined) return "already-accepted";
    const round = this.#store.openRound();
    if (round?.number === number && round.state === "evaluating") this.#concludeIfKnown(round, Date.now());
    this.#announce(number);
    await this.#schedule();
    return "accepted";
  }

  /**
   * A member's answer in a round with secure aggregation, or only its question: what does it have to do next? One whose answer cannot
   * be right is out of the round, and the others go on without it.
   */
  async secure(round: number, id: string, message: SecureMessage | null): Promise<SecureStep | { refused: string }> {
    const unusable = message?.step === "keys" ? await whyUnusable(message) : undefined;
    const open = this.#store.openRound();
    const update = this.#store.update(id);
    if (open?.number !== round || !open.config.secure || update?.assignedRound !== round) {
      const published = this.#store.roundExists(round) && this.#view.round(round, 0).state === "published";
      return { step: "over", published };
    }
    if (message) {
      const refused = this.ctx.storage.transactionSync(() => {
        const why = this.#secure.take(round, id, message, unusable);
        if (why !== undefined) {
          this.#secure.exclude(round, id);
          this.#store.drop(id);
        }
        return why;
      });
      this.#advanceSecure(round, Date.now());
      if (refused !== undefined) {
        log("secure-member-out", { task: this.#task, round, reason: refused });
        this.#announce(round);
        await this.#closeIfComplete();
        return { refused };
      }
      await this.#schedule();
    }
    return this.#secure.stepOf(round, id);
  }

  /** Takes a round with secure aggregation to its next step, when that is due. */
  #advanceSecure(number: number, now: number): void {
    const changed = this.ctx.storage.transactionSync(() => {
      const round = this.#store.openRound();
      if (round?.number !== number) return false;
      let next = this.#secure.advance(number, round.config, now);
      const tally = this.#store.tally(number);
      if (!next && round.state === "aggregating" && tally.uploaded === 0) {
        const counted = this.#store.countedUpdates(number).map(({ id }) => id);
        next = this.#secure.close(number, counted, round.config, now);
      }
      if (!next) return false;
      if ("stuck" in next) this.#giveUp(round, next.stuck, now);
      else for (const id of next.out) this.#store.drop(id);
      return true;
    });
    if (changed) this.#announce(number);
  }

  /** The ring of a round's masked vectors. */
  #ring(round: RoundRow): Ring {
    const { codec } = round.config;
    if (codec !== "int8" && codec !== "int4") throw new Error(`There is no ring for ${codec}.`);
    return ringOf(summarize(this.#model), { codec, ...this.#store.secureFacts(round) });
  }

  /** Whether an upload is worth reading, before its body is, and until when. Its end is to be told: {@link uploadOver}. */
  admit(assignedRound: number, id: string, digest: string): Admission {
    const answer = this.#judge(assignedRound, id, digest);
    if (answer.status !== "go-on") return answer;
    const now = Date.now();
    // After its deadline a round takes nothing; a moment later, so that it is the Coordinator that says so.
    const until = Math.min(now + UPLOAD_MS, (this.#store.openRound()?.deadline ?? now + UPLOAD_MS) + 1000);
    const upload = this.#uploads.begin(id, until, now);
    if (upload === undefined) return this.refuse(assignedRound, "too-many-requests");
    return { ...answer, until, upload };
  }

  uploadOver(id: string, upload: string): void {
    this.#uploads.end(id, upload);
  }

  #judge(assignedRound: number, id: string, digest: string): UploadAnswer {
    const refused = (code: ProblemCode) => this.refuse(assignedRound, code);
    const update = this.#store.update(id);
    if (!update) return refused("not-selected");
    if (update.assignedRound !== assignedRound) return refused("wrong-round");
    if (update.state === "uploaded" || update.state === "counted" || update.state === "dead") {
      return update.digest === digest ? { status: "already-accepted" } : refused("repeated-id");
    }
    if (this.#store.earlyStop !== undefined) return refused("early-stopped");
    // Withdrawn by its client, or out of the round.
    if (update.state === "dropped") return refused("round-closed");
    const open = this.#store.openRound();
    if (open?.config.mode === "async") {
      // It counts in the open round, whichever it was assigned in.
      return open.state === "training" ? { status: "go-on", vector: null } : { status: "refused", code: "round-busy" };
    }
    if (open?.number !== assignedRound || open.state !== "training") return refused("round-closed");
    if (!open.config.secure) return { status: "go-on", vector: null };
    // A vector that nobody has agreed on masks for would stay masked for ever.
    if (!this.#secure.wantsVector(open.number, id)) return refused("not-selected");
    const { bits, length } = this.#ring(open);
    return { status: "go-on", vector: { bits, length } };
  }

  /** Accepts an update whose bytes are in R2. After this it counts, once, whatever fails. */
  async accept(
    assignedRound: number,
    id: string,
    upload: { digest: string; bytes: number; summary: UpdateSummary; continent: string | null; upload: string },
  ): Promise<UploadAnswer> {
    const now = Date.now();
    this.#uploads.end(id, upload.upload);
    let place = assignedRound;
    const answer = this.ctx.storage.transactionSync((): UploadAnswer => {
      const admitted = this.#judge(assignedRound, id, upload.digest);
      const update = this.#store.update(id);
      const open = this.#store.openRound();
      if (admitted.status !== "go-on" || !update || !open) return admitted;
      const { metadata } = upload.summary;
      if (metadata === null) {
        // A masked vector says nothing of where it belongs; its id does.
        this.#store.setUploaded(id, upload, { round: open.number, staleness: 0 }, now);
        return { status: "accepted" };
      }
      if (metadata.round !== assignedRound || metadata.task !== this.#task) {
        return this.refuse(assignedRound, "wrong-round");
      }
      if (metadata.codec !== open.config.codec) return this.refuse(assignedRound, "wrong-codec");
      if (metadata.base !== this.#store.checkpoint(update.base).sha256) return this.refuse(assignedRound, "wrong-base");
      if (open.config.aggregation === "q-fair" && metadata.initialLoss === undefined) {
        return this.refuse(assignedRound, "bad-header");
      }
      place = open.number;
      const counted = bounded(metadata, update.claimed, open.config);
      const summary = { ...upload.summary, metadata: counted };
      this.#store.setUploaded(id, { ...upload, summary }, { round: place, staleness: open.base - update.base }, now);
      if (open.config.topology === "gossip" && upload.continent !== null) {
        const near = this.env.HUBS.find(({ continents }) => continents.includes(upload.continent ?? ""))?.name;
        const hub = this.#store.hubs(place).findIndex(({ name, state }) => name === near && state !== "gone");
        if (hub >= 0) this.#store.setShard(id, hub);
      }
      return { status: "accepted" };
    });
    if (answer.status === "accepted") {
      this.#announce(place);
      await this.#schedule();
    }
    return answer;
  }

  /** Takes an update back, for as long as no mean has been made of it: its bytes are deleted, and its round goes on without it. */
  async withdraw(assignedRound: number, id: string): Promise<"withdrawn" | "not-found" | "too-late"> {
    const update = this.#store.update(id);
    if (update?.assignedRound !== assignedRound) return "not-found";
    const open = this.#store.openRound();
    const isPending = update.state === "training" || update.state === "dropped";
    if (!isPending && (open?.number !== update.round || open.state !== "training")) return "too-late";
    this.#store.drop(id);
    log("update-withdrawn", { task: this.#task, round: update.round });
    await this.#removeWithdrawn(update.round);
    this.#announce(update.round);
    await this.#closeIfComplete();
    return "withdrawn";
  }

  async #removeWithdrawn(round: number): Promise<void> {
    for (const update of this.#store.withdrawn(round)) {
      if (update.shard !== null) {
        const hub = this.#store.hubs(round)[update.shard];
        const place = hub
          ? hubOf(this.env, this.#task, round, hub.name)
          : this.#aggregator(this.#shardName(round, update.shard));
        await place.remove(update.id);
      }
      await this.env.STORE.delete(this.#keyOf(update));
      this.#store.forgetUpdate(update.id);
    }
  }

  /** Counts a refusal on the dashboard and returns it. */
  refuse(round: number, code: ProblemCode): { status: "refused"; code: ProblemCode } {
    if (this.#store.roundExists(round)) {
      this.#store.refuse(round, code);
      this.#announce(round);
    }
    return { status: "refused", code };
  }

  /**
   * The shard that adds an update, the least loaded one when it is first asked for; null when no shard has to: the update
   * counts no more, or its round's rule needs all updates at once.
   */
  async shardOf(id: string): Promise<UpdatePlace | null> {
    const update = this.#store.update(id);
    const open = this.#store.openRound();
    if (!update?.digest || update.round !== open?.number || update.state !== "uploaded") return null;
    if (isRobust(open.config)) {
      const object = await this.env.STORE.head(this.#keyOf(update));
      if (!object) throw new Error(`${this.#keyOf(update)} is not in the store.`);
      await this.counted(id, null);
      return null;
    }
    let { shard } = update;
    const hub = open.config.topology === "gossip";
    if (shard === null) {
      const loads = this.#store.shardLoads(update.round);
      const shards = hub
        ? this.#livingHubs(update.round)
        : Array.from({ length: Math.max(1, Number(this.env.AGGREGATOR_SHARDS)) }, (_, i) => i);
      if (shards.length === 0) throw new Error("No hub of the round answers.");
      shard = shards.reduce((best, i) => ((loads.get(i) ?? 0) < (loads.get(best) ?? 0) ? i : best));
      this.#store.setShard(id, shard);
    }
    const place = { hub, round: update.round, shard: this.#placeName(update.round, shard) };
    if (open.config.secure) {
      const weights = { examples: 0, weight: 1, denominator: 0, vector: this.#ring(open).length };
      return { ...place, update: { ...this.#locate(update), ...weights } };
    }
    if (!update.metadata) return null;
    const { examples, initialLoss = null } = update.metadata;
    const { aggregation, q, learningRate, noise } = open.config;
    const facts = { examples, norm: update.norm ?? 0, initialLoss, staleness: update.staleness };
    const rule = {
      q: aggregation === "q-fair" ? q : null,
      clientLearningRate: learningRate,
      clip: clipOf(open.config, this.#store.normOf(update.base)),
      equally: noise > 0,
    };
    return { ...place, update: { ...this.#locate(update), examples, ...linearWeight(facts, rule), vector: 0 } };
  }

  /** A shard has added this update; null where the rule needs no shard. */
  async counted(id: string, shard: string | null): Promise<void> {
    const round = this.ctx.storage.transactionSync(() => {
      const update = this.#store.update(id);
      const open = this.#store.openRound();
      if (!update || update.state !== "uploaded" || update.round !== open?.number) return undefined;
      // Taken away from that shard in the meantime: another one has still to add it.
      if (shard !== (update.shard === null ? null : this.#placeName(update.round, update.shard))) return undefined;
      this.#store.setCounted(id);
      return open.number;
    });
    if (round === undefined) return;
    this.#announce(round);
    await this.#closeIfComplete();
  }

  /**
   * Begins to aggregate once the goal is reached, or in a synchronous round once nobody is left to wait for. With noise the goal ends
   * nothing: everybody who was drawn counts, or one client's update would decide whether another's does.
   */
  async #closeIfComplete(): Promise<void> {
    const number = this.ctx.storage.transactionSync(() => {
      const open = this.#store.openRound();
      if (open?.state !== "training") return undefined;
      const now = Date.now();
      const { counted, training, uploaded } = this.#store.tally(open.number);
      const alone = open.config.mode === "sync" && training + uploaded === 0;
      const enough = endsAtGoal(open.config) && counted >= open.config.goalCount;
      if (enough || (alone && (counted > 0 || open.config.noise > 0))) {
        this.#store.startAggregating(open.number, open.config.mode === "sync", now);
      } else if (alone) this.#giveUp(open, "Every client of the round has left.", now);
      return open.number;
    });
    if (number !== undefined) this.#announce(number);
    await this.#schedule();
  }

  /** Drives what no request drives: deadlines, merging, lost queue messages, clearing up. Safe to run at any time. */
  override async alarm(): Promise<void> {
    try {
      await this.#drive(Date.now());
      await this.#schedule();
    } catch (error) {
      // The store or a shard fails. The platform would try six times and give up; a round must not hang for that.
      log("alarm-failed", { task: this.#task, error: String(error) });
      const round = this.#store.openRound();
      if (round && isOverdue(round, Date.now())) {
        this.#giveUp(round, `The updates could not be averaged: ${String(error)}`, Date.now());
      }
      await this.ctx.storage.setAlarm(Date.now() + RETRY_MS);
    }
  }

  async #drive(now: number): Promise<void> {
    const round = this.#store.openRound();
    if (round) {
      if (round.state === "selecting") this.#driveSelection(round, now);
      if (round.state === "training" && round.deadline !== null && now >= round.deadline) this.#close(round, now);
      if (round.state === "evaluating" && round.evaluateUntil !== null && now >= round.evaluateUntil) {
        this.#conclude(round, now);
        this.#announce(round.number);
      }
      await this.#requeue(round.number, now);
      await this.#removeWithdrawn(round.number);
      if (round.config.secure) this.#advanceSecure(round.number, now);
      const open = this.#store.openRound();
      if (open?.number === round.number && open.state === "aggregating") {
        if (isOverdue(open, now)) this.#giveUp(open, "The updates could not be averaged in time.", now);
        else if (this.#store.tally(round.number).uploaded === 0) await this.#merge(open);
      }
    }
    for (const number of this.#store.uncleaned()) await this.#clean(number);
    this.#view.foldOld();
  }

  /** While clients are awaited: those who have gone are forgotten, the cohort is chosen in its time, and nothing waits for ever. */
  #driveSelection(round: RoundRow, now: number): void {
    const before = this.#store.countWaiting();
    this.#choose(round.number, now);
    const after = this.#store.countWaiting();
    if (this.#store.openRound()?.state === "selecting" && now >= waitsUntil(round)) {
      const { goalCount, fraction, waitSeconds } = round.config;
      const wanted = Math.ceil(goalCount / fraction);
      this.#giveUp(round, `In ${waitSeconds} s ${after} of the ${wanted} clients that it needs had checked in.`, now);
    } else if (before !== after) this.#announce(round.number);
  }

  /** Chooses the cohort of a round from those who still wait, if it is time to. */
  #choose(number: number, now: number): void {
    this.ctx.storage.transactionSync(() => {
      const round = this.#store.openRound();
      if (round?.number !== number || round.state !== "selecting") return;
      this.#store.forgetWaiting(now - this.#patience());
      this.#select(round, now);
    });
  }

  /** How long a client that waits may stay away: more than what it was told to. */
  #patience(): number {
    return Math.max(WAITING_MS, 8000 * this.#crowd());
  }

  /** In a crowd, by how much clients are told to come back later. */
  #crowd(): number {
    return Math.max(1, this.#rate.perSecond / CHECK_INS_PER_SECOND);
  }

  /** Ends a round without a checkpoint, and goes on with its series. */
  #giveUp(round: RoundRow, reason: string, now: number): void {
    this.ctx.storage.transactionSync(() => {
      if (this.#store.openRound()?.number !== round.number) return;
      this.#store.abandon(round.number, reason, now);
      log("round-abandoned", { task: this.#task, round: round.number, reason });
      this.#goOn(round);
    });
    this.#announce(round.number);
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") !== "websocket") return new Response("WebSocket expected", { status: 426 });
    const socket = this.#watchers.add();
    if (!socket) return Promise.resolve(new Response("Too many watch already.", { status: 503 }));
    return Promise.resolve(new Response(null, { status: 101, webSocket: socket }));
  }

  override webSocketMessage(socket: WebSocket): void {
    // All that a watcher has to say is that it reads.
    this.#watchers.reads(socket);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }

  /** Opens a round from the current checkpoint. An async one takes clients at once. */
  #open(config: RoundConfig, run: number | null): number {
    const now = Date.now();
    const number = this.#store.addRound(config, this.task().checkpoint.version, run, now);
    // Who waited for a round that was stopped bears a name of that round.
    this.#store.clearWaiting();
    this.#uploads.clear();
    if (config.mode === "async") {
      this.#store.dropStale(this.task().checkpoint.version - config.maxStaleness);
      this.#store.startTraining(number, now + config.deadlineSeconds * 1000, now);
    }
    this.#setUpHubs(number, config);
    this.#silentSince.clear();
    log("round-open", { task: this.#task, round: number });
    return number;
  }

  /** An async round: a client trains as soon as fewer than 1.3 times the goal are at work. @returns whether it joined */
  #join(round: RoundRow, client: WaitingClient, now: number): boolean {
    const { goalCount, overSelection, deadlineSeconds } = round.config;
    if (round.state !== "training" || this.#store.assignment(round, client.client)) return false;
    // Who has been silent for half of a round keeps nobody out any more, though its update would still count.
    if (this.#store.atWork(now - deadlineSeconds * 500) >= Math.ceil(goalCount * overSelection)) return false;
    this.#store.assign(round, client, now);
    return true;
  }

  /**
   * Chooses the cohort: a share C of the waiting clients, at least the goal, at most the goal and some for those who will
   * leave. It waits a little for more clients once enough for the goal are there.
   */
  #select(round: RoundRow, now: number): void {
    const { goalCount, fraction, overSelection, deadlineSeconds, selectionSeconds, noise } = round.config;
    const count = this.#store.countWaiting();
    if (count < Math.ceil(goalCount / fraction)) {
      // Some have left again, or the goal is another: the choice waits for more.
      if (round.selectAt !== null) this.#store.setSelectAt(round.number, null);
      return;
    }
    const most = Math.ceil(goalCount * overSelection);
    if (count < Math.ceil(most / fraction) && selectionSeconds > 0) {
      if (round.selectAt === null) this.#store.setSelectAt(round.number, now + selectionSeconds * 1000);
      if (round.selectAt === null || now < round.selectAt) return;
    }
    const waiting = this.#store.waiting();
    const size = Math.min(most, Math.max(goalCount, Math.floor(count * fraction)));
    const random = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
    // With noise each by itself: what the accountant knows is Poisson sampling.
    const drawn = noise > 0 ? drawEach(waiting, fraction, random) : shuffle(waiting, random).slice(0, size);
    for (const client of drawn) this.#store.assign(round, client, now);
    this.#store.clearWaiting();
    this.#store.startTraining(round.number, now + deadlineSeconds * 1000, now);
    if (round.config.secure) {
      const ids = this.#store.assignedIds(round.number);
      this.#secure.begin(round.number, ids, round.config, now);
    }
    const needed = Math.ceil(goalCount / 2);
    if (drawn.length < needed) {
      this.#giveUp(round, `The draw gave ${drawn.length} of ${count} clients; ${needed} are needed.`, now);
    }
  }

  /**
   * At the deadline: average what has come if it is at least half the goal, else give the round up. With noise, average it in any case:
   * whether one client's update came must not decide whether the others' are seen. Its threshold was at the draw.
   */
  #close(round: RoundRow, now: number): void {
    const { goalCount, mode, noise, secure } = round.config;
    const { counted, uploaded } = this.#store.tally(round.number);
    const needed = noise > 0 && !secure ? 0 : Math.ceil(goalCount / 2);
    if (counted + uploaded >= needed) {
      this.#store.startAggregating(round.number, mode === "sync", now);
      this.#announce(round.number);
      return;
    }
    const reason = `At the deadline ${counted + uploaded} of ${goalCount} updates had arrived; ${needed} were needed.`;
    this.#giveUp(round, reason, now);
  }

  async #requeue(round: number, now: number): Promise<void> {
    for (const id of this.#store.uncounted(round, now - REQUEUE_MS)) {
      await this.env.UPDATES.send({ task: this.#task, id });
      this.#store.setQueued(id, now);
    }
  }

  /** Makes the candidate of a round that has all its updates, and has it evaluated or publishes it. */
  async #merge(round: RoundRow): Promise<void> {
    const { config } = round;
    const base = this.#store.checkpoint(round.base);
    const { counted, examples } = this.#store.tally(round.number);
    const version = this.#store.nextVersion();
    if (counted === 0 && config.noise === 0) {
      this.#giveUp(round, "Every update of the round is a dead letter.", Date.now());
      return;
    }
    const corrections = config.secure ? await this.#corrections(round) : null;
    if (corrections === undefined) return;
    const plan = {
      secure: corrections && { ring: this.#ring(round), corrections, rotation: round.number },
      aggregation: config.aggregation,
      byzantine: config.byzantine,
      optimizer: {
        kind: config.serverOptimizer,
        learningRate: config.serverLearningRate,
        momentum: config.serverMomentum,
        beta2: config.serverBeta2,
        tau: config.serverTau,
      },
      prior: config.prior,
      keepBatchNorm: config.batchNorm !== "average",
      downloadCodec: config.downloadCodec,
      privacy: noiseRuleOf(config),
      base: { sha256: base.sha256, version: base.version },
      version,
      expected: { count: counted, examples },
      metadata: {
        codec: "float32",
        task: this.#task,
        version: String(version),
        round: String(round.number),
        base: base.sha256,
      },
    } satisfies Partial<MergePlan>;
    let merged: PublishedFile | undefined;
    try {
      if (config.topology === "gossip") merged = await this.#gossip(round, plan);
      else {
        const robust = isRobust(config);
        const shards = robust ? [] : [...this.#store.shardLoads(round.number).keys()];
        merged = await this.#aggregator(`${this.#task}/${round.number}/merge`).merge({
          ...plan,
          shards: shards.map((i) => this.#shardName(round.number, i)),
          updates: robust ? this.#compared(round) : [],
        });
      }
      if (!merged) return;
    } catch (error) {
      // Too few updates for a robust rule, or hubs that do not agree: no later try can help. Everything else is tried again by the next alarm.
      if (!(error instanceof RangeError)) throw error;
      this.#giveUp(round, error.message, Date.now());
      return;
    }
    const dreams = await this.#dreamsOf(round, merged.sha256);
    if (dreams === undefined) return;
    const { differenceBytes, facts, ...file } = merged;
    const checkpoint = {
      ...file,
      ...(differenceBytes !== undefined && { difference: { from: base.sha256, bytes: differenceBytes } }),
    };
    this.ctx.storage.transactionSync(() => {
      const open = this.#store.openRound();
      if (open?.number !== round.number || open.state !== "aggregating") return;
      const now = Date.now();
      if (facts) this.#store.setFacts(round.number, facts);
      this.#store.setDreams(round.number, dreams);
      this.#store.addCheckpoint({ ...checkpoint, version, trained: true }, "candidate", round.number, now);
      this.#store.startEvaluating(round.number, version, now + config.evaluationSeconds * 1000);
      if (config.evaluators === 0) this.#conclude({ ...round, state: "evaluating" }, now);
    });
    this.#announce(round.number);
  }

  /**
   * What a round's candidate says of dreamed faces, held against its base.
   * @returns null where the round does not ask for it, or its base knows nothing that could be forgotten; undefined where the candidate
   *   cannot be used, and the round has been given up
   * @throws Error where the judge has not what it needs: tried again by the next alarm, until the round's time for it is over
   */
  async #dreamsOf(round: RoundRow, candidate: string): Promise<DreamVerdict | null | undefined> {
    const base = this.#store.checkpoint(round.base);
    if (round.config.agreement === 0 || !this.#store.isTrained(round.base)) return null;
    const verdict = await judgeOf(this.env).judge(TASKS[this.#task].model, base.sha256, candidate);
    if (!("failure" in verdict)) return verdict;
    const { failure, detail } = verdict;
    if (failure === "no-checkpoint" || failure === "no-dreams") throw new Error(detail);
    this.#giveUp(round, detail, Date.now());
    return undefined;
  }

  /** Every counted update of a round, for a rule that compares them. */
  #compared({ number, config }: RoundRow): ComparedUpdate[] {
    return this.#store.countedUpdates(number).map((update) => ({
      ...this.#locate(update),
      factor: factorOf(update.norm ?? 0, clipOf(config, this.#store.normOf(update.base))),
    }));
  }

  /** What takes the masks off a round's sum; undefined while its members still open their shares, or when they cannot. */
  async #corrections(round: RoundRow): Promise<Correction[] | undefined> {
    try {
      return await this.#secure.corrections(round.number, Date.now());
    } catch (error) {
      if (!(error instanceof UnmaskingError)) throw error;
      this.#giveUp(round, error.message, Date.now());
      return undefined;
    }
  }

  /** Indices of the hubs of a round that have not been given up. */
  #livingHubs(round: number): number[] {
    return this.#store.hubs(round).flatMap(({ state }, i) => (state === "gone" ? [] : [i]));
  }

  /**
   * Has the hubs of a round come to the mean, and asks them how far they are.
   * @returns the checkpoint that all of them have agreed on; undefined while they have not
   * @throws RangeError when one has computed another, or none is left
   */
  async #gossip(
    { number }: RoundRow,
    plan: Omit<HubPlan, "round" | "members" | "generation">,
  ): Promise<{ sha256: string; bytes: number; norm: number } | undefined> {
    const before = this.#store.hubs(number);
    const names = before.filter(({ state }) => state !== "gone").map(({ name }) => name);
    if (names.length === 0) throw new RangeError("No hub of the round answers.");
    const generation = 1 + before.length - names.length;
    const hubPlan: HubPlan = { ...plan, round: number, members: names, generation };
    const answers = await Promise.all(
      names.map((name) => this.#answerOf(name, () => hubOf(this.env, this.#task, number, name).mix(hubPlan))),
    );
    const now = Date.now();
    const states = new Map(before.map((hub) => [hub.name, hub]));
    for (const [i, answer] of answers.entries()) {
      const name = names[i] ?? "";
      if (answer) {
        this.#silentSince.delete(name);
        const { checkpoint: _, failure: __, ...progress } = answer;
        states.set(name, { ...newHub(name), ...progress });
      } else if (!this.#silentSince.has(name)) this.#silentSince.set(name, now);
    }
    this.#store.setHubs(number, [...states.values()]);
    const silent = names.filter((name) => now - (this.#silentSince.get(name) ?? now) >= HUB_SILENCE_MS);
    for (const name of silent) await this.hubGone(number, name);
    this.#announce(number);
    const failure = answers.find((answer) => answer?.failure != null)?.failure;
    if (failure != null) throw new RangeError(failure);
    if (answers.some((answer) => answer?.state === "disagrees")) {
      throw new RangeError("A hub has computed another mean than the one that was announced.");
    }
    const [first] = answers;
    const agreed = answers.every(
      (answer) => answer?.checkpoint && answer.checkpoint.sha256 === first?.checkpoint?.sha256,
    );
    return agreed ? (first?.checkpoint ?? undefined) : undefined;
  }

  /** What a hub answers; undefined when it does not within a time. */
  async #answerOf(name: string, ask: () => Promise<HubProgress>): Promise<HubProgress | undefined> {
    try {
      return await Promise.race([ask(), scheduler.wait(HUB_SILENCE_MS / 2)]).then((answer) => answer ?? undefined);
    } catch (error) {
      if (!this.#silentSince.has(name)) log("hub-silent", { task: this.#task, hub: name, error: String(error) });
      return undefined;
    }
  }

  /** Gives a hub of the open round up: the others get its updates, and begin again without it. */
  async hubGone(round: number, name: string): Promise<void> {
    const gone = this.ctx.storage.transactionSync(() => {
      const hubs = this.#store.hubs(round);
      const shard = hubs.findIndex((hub) => hub.name === name && hub.state !== "gone");
      if (this.#store.openRound()?.number !== round || shard < 0) return false;
      hubs[shard] = { ...newHub(name), state: "gone" };
      this.#store.setHubs(round, hubs);
      this.#store.unassignShard(round, shard, Date.now() - REQUEUE_MS);
      return true;
    });
    if (!gone) return;
    this.#silentSince.delete(name);
    log("hub-gone", { task: this.#task, round, hub: name });
    this.#announce(round);
    await this.#schedule();
  }

  /** Hands a waiting client the candidate to evaluate, while more answers are wanted. */
  #evaluationFor(round: RoundRow, client: string, now: number): CheckInAnswer | undefined {
    const { evaluators, overSelection, evaluateByClass: byClass } = round.config;
    const { asked, own } = this.#store.evaluationState(round.number, client);
    const candidate = this.#store.round(round.number).checkpoint;
    if (!candidate || own === "answered" || (own === "none" && asked >= Math.ceil(evaluators * overSelection))) {
      return undefined;
    }
    const id = this.#store.askEvaluation(round.number, client, now);
    const base = this.#store.checkpoint(round.base);
    return {
      decision: "evaluate",
      evaluation: { id, task: this.#task, round: round.number, candidate, base, byClass },
    };
  }

  /** Evaluations that a candidate waits for: those that were asked for, or what its cohort can give where that is less. */
  #wantedEvaluations({ number, config }: RoundRow): number {
    return Math.min(config.evaluators, Math.max(1, this.#store.tally(number).counted));
  }

  /** Publishes or rejects a candidate, by what there is to be said of it: see src/core/guard.ts. */
  #conclude(round: RoundRow, now: number): void {
    this.ctx.storage.transactionSync(() => {
      const open = this.#store.openRound();
      const candidate = this.#store.round(round.number).checkpoint;
      if (open?.number !== round.number || open.state !== "evaluating" || !candidate) return;
      const reason = objectionTo(this.#store.evidence(round.number), this.#store.dreams(round.number), round.config);
      if (reason === null) {
        this.#publish(round, candidate.version, null, now);
        return;
      }
      this.#store.setCheckpointStatus(candidate.version, "rejected");
      this.#store.end(round.number, "rejected", candidate.version, reason, now);
      log("round-rejected", { task: this.#task, round: round.number, reason });
      this.#goOn(round);
    });
  }

  /** The operator's own evaluation of the candidate that waits for one. */
  async operatorEvaluated(round: number, evaluation: Evaluation): Promise<"accepted" | "not-evaluating"> {
    const open = this.#store.openRound();
    if (open?.number !== round || open.state !== "evaluating") return "not-evaluating";
    const now = Date.now();
    this.#store.setOperatorEvaluation(round, evaluation, now);
    this.#concludeIfKnown(open, now);
    this.#announce(round);
    await this.#schedule();
    return "accepted";
  }

  #concludeIfKnown(round: RoundRow, now: number): void {
    const clients = this.#store.evidence(round.number).filter(({ kind }) => kind !== "operator").length;
    if (clients >= this.#wantedEvaluations(round)) this.#conclude(round, now);
  }

  /** In a transaction: makes a candidate the current checkpoint, ends its round, and goes on with the series. */
  #publish(round: RoundRow, version: number, reason: string | null, now: number): void {
    this.#store.setCheckpointStatus(version, "published");
    this.#store.setCurrent(version);
    this.#store.end(round.number, "published", version, reason, now);
    log("round-published", { task: this.#task, round: round.number, version });
    this.#goOn(round);
  }

  /** Opens the series' next round, unless a plateau ends it. */
  #goOn({ number, run, config: before }: RoundRow): void {
    const config = { ...before, updateClip: this.#followNorms(number, before) };
    const rounds = config.rounds - 1;
    const losses = this.#store.runLosses(run);
    if (isPlateau(losses, config) && config.atPlateau !== "go-on") {
      const reason = `No better loss in ${config.stopPatience} rounds: ${losses.map((l) => l.toFixed(3)).join(", ")}.`;
      this.#store.setPlateau(number, reason);
      if (config.atPlateau === "stop") {
        this.#store.setEarlyStop(reason);
        log("early-stop", { task: this.#task, run, reason });
        return;
      }
      // With a lower rate the patience begins anew.
      if (rounds > 0) this.#open({ ...config, rounds, learningRate: config.learningRate / 2 }, null);
      return;
    }
    if (rounds > 0) this.#open({ ...config, rounds }, run);
  }

  /** The clip of the round after this one. */
  #followNorms(round: number, { clipQuantile, updateClip, goalCount, secure, noise }: RoundConfig): number {
    if (clipQuantile === 0) return updateClip;
    const counted = this.#store.countedUpdates(round);
    if (counted.length === 0) return updateClip;
    const below = this.#store.facts(round)?.below ?? counted.filter(({ norm }) => (norm ?? 0) <= updateClip).length;
    const isNoisy = secure && noise > 0;
    return nextClip(updateClip, { below, counted: counted.length, expected: goalCount, isNoisy }, clipQuantile);
  }

  /** Forgets the sums and deletes the updates of a round that has ended, and the checkpoints that the policy lets go. */
  async #clean(round: number): Promise<void> {
    for (const hub of this.#store.hubs(round)) {
      const cleared = hubOf(this.env, this.#task, round, hub.name).clear();
      // One that is gone may never answer again.
      await (hub.state === "gone" ? cleared.catch(() => undefined) : cleared);
    }
    if (this.#store.hubs(round).length === 0) {
      await this.#aggregator(`${this.#task}/${round}/merge`).clear();
      for (const shard of this.#store.shardLoads(round).keys()) {
        await this.#aggregator(this.#shardName(round, shard)).clear();
      }
    }
    for (const assigned of new Set([round, ...this.#store.assignedRounds(round)])) {
      const pending = this.#store.pendingIds(assigned);
      let cursor: string | undefined;
      do {
        const page = await this.env.STORE.list({
          prefix: `updates/${this.#task}/${assigned}/`,
          ...(cursor && { cursor }),
        });
        const keys = page.objects.map(({ key }) => key).filter((key) => !pending.has(key.split("/")[3] ?? ""));
        if (keys.length > 0) await this.env.STORE.delete(keys);
        cursor = page.truncated ? page.cursor : undefined;
      } while (cursor !== undefined);
    }
    for (const { version, sha256 } of this.#store.disposableCheckpoints(Number(this.env.KEEP_CHECKPOINTS))) {
      await this.env.STORE.delete([checkpointKey(sha256), differenceKey(sha256)]);
      const { objects } = await this.env.STORE.list({ prefix: `moments/${this.#task}/${version}/` });
      if (objects.length > 0) await this.env.STORE.delete(objects.map(({ key }) => key));
      this.#store.setCheckpointStatus(version, "deleted");
    }
    this.#secure.forget(round);
    this.#store.setCleaned(round);
  }

  /** Sets the alarm to the next moment at which something may be due. */
  async #schedule(): Promise<void> {
    const now = Date.now();
    const due: number[] = [];
    const round = this.#store.openRound();
    if (round) {
      const { state, config, selectAt, deadline, evaluateUntil } = round;
      if (state === "selecting") {
        const oldest = this.#store.oldestWaiting();
        if (oldest !== null) due.push(oldest + this.#patience() + 1);
        due.push(waitsUntil(round));
      }
      if (state === "aggregating") due.push(aggregatesUntil(round));
      const oldest = this.#store.oldestQueued(round.number);
      const secureUntil = config.secure ? this.#secure.until(round.number) : null;
      if (secureUntil !== null) due.push(secureUntil);
      if (state === "aggregating" && oldest === null) {
        due.push(config.topology === "gossip" ? now + HUB_POLL_MS : config.secure ? now + SECURE_POLL_MS : now);
      }
      if (state === "selecting" && selectAt !== null) due.push(selectAt);
      if (state === "training" && deadline !== null) due.push(deadline);
      if (state === "evaluating" && evaluateUntil !== null) due.push(evaluateUntil);
      // Counted from when it was queued, not from now: else an edge that is killed every few seconds would never get to it.
      if (oldest !== null) due.push(oldest + REQUEUE_MS);
    }
    if (this.#store.uncleaned().length > 0) due.push(now);
    if (due.length > 0) await this.ctx.storage.setAlarm(Math.max(now + 50, Math.min(...due)));
  }

  #locate(update: UpdateRow): UpdateLocation {
    return { id: update.id, key: this.#keyOf(update) };
  }

  #keyOf({ assignedRound, id, digest }: UpdateRow): string {
    return updateKey(this.#task, assignedRound, id, digest ?? "");
  }

  #setUpHubs(round: number, { topology }: RoundConfig): void {
    this.#store.setHubs(round, topology === "gossip" ? this.env.HUBS.map(({ name }) => newHub(name)) : []);
  }

  /** What a shard of a round is called: the name of a hub, or that of an Aggregator. */
  #placeName(round: number, shard: number): string {
    return this.#store.hubs(round)[shard]?.name ?? this.#shardName(round, shard);
  }

  #shardName(round: number, shard: number): string {
    return `${this.#task}/${round}/${shard}`;
  }

  #aggregator(name: string) {
    return this.env.AGGREGATOR.get(this.env.AGGREGATOR.idFromName(name));
  }

  #announce(round: number): void {
    this.#watchers.announce(round);
    // A round that has just ended may have opened the next one.
    const open = this.#store.openRound();
    if (open && open.number !== round) this.#watchers.announce(open.number);
  }

  /** A clock that was set back would leave what is due far in the future: it is due after its time from now, then. */
  async #noticeClock(now: number): Promise<void> {
    if (now < this.#lastSeen - CLOCK_SLACK_MS) {
      const round = this.#store.openRound();
      log("clock-set-back", { task: this.#task, milliseconds: this.#lastSeen - now });
      if (round) this.#store.limitTimes(round, now);
      await this.ctx.storage.deleteAlarm();
      await this.#schedule();
    }
    this.#lastSeen = now;
  }

  #countCheckIn(now: number): void {
    const seconds = Math.max(0, (now - this.#rate.at) / 1000);
    // An exponential average over ten seconds: each check-in adds a tenth, and time takes it away again.
    this.#rate = { perSecond: this.#rate.perSecond * Math.exp(-seconds / 10) + 0.1, at: now };
  }

  /**
   * Pace steering (Bonawitz et al. 2019, arXiv 1902.01046, section 2.3): spreads the clients' next check-ins evenly over one to
   * two times `seconds`, and over more when more clients ask than the Coordinator wants.
   */
  #wait(reason: Extract<CheckInAnswer, { decision: "wait" }>["reason"], seconds: number): CheckInAnswer {
    const crowd = this.#crowd();
    const round = this.#store.openRound()?.number ?? null;
    return { decision: "wait", reason, retryAfterSeconds: seconds * crowd * (1 + Math.random()), round };
  }
}
