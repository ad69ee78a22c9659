import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import type { ProblemCode } from "../../src/federation/problems";
import {
  conflictOf,
  taskNameSchema,
  type Alerts as AlertSettings,
  type CheckIn,
  type CheckInAnswer,
  type CheckpointRecord,
  type DeadLetter,
  type Evaluation,
  type History,
  type Invitation,
  type InvitationRequest,
  type NewInvitation,
  type Note,
  type Page,
  type Round,
  type RoundConfig,
  type Task,
  type TaskEvent,
} from "../../src/federation/protocol";
import { isSameTask, type AddedTask, type TaskState } from "../../src/federation/tasks/description";
import { networkOf } from "../../src/federation/tasks/network";
import { taskConflict, taskNamed } from "../../src/federation/tasks/registry";
import { dueAt } from "../../src/federation/round/life";
import { hidesCohort } from "../../src/federation/round/rule";
import type { SecureMessage, SecureStep } from "../../src/federation/secagg/messages";
import type { Signer } from "../../src/federation/signing";
import { addressOf, networkOf as networkOfAddress } from "./address";
import { Admission, type Admitted, type StoredUpload, type UploadAnswer } from "./admission";
import { catalogueOf, knowTask, note } from "./catalogue";
import { CheckIns } from "./check-ins";
import { clean } from "./cleaning";
import { checkpointKey, type Env } from "./env";
import { EventLog } from "./event-log";
import { publishFirst, type FirstCheckpoint } from "./first-checkpoint";
import { nameOf } from "./identity";
import { Invitations, type Uninvited } from "./invitations";
import { log } from "./log";
import { Merger } from "./merging";
import { REQUEUE_MS, UpdatePlaces, type UpdatePlace } from "./placing";
import { RoundDriver, type TaskContext } from "./round-driver";
import { MOST_MEMBERS, RoundView } from "./round-view";
import { SecureRounds } from "./secure-rounds";
import { TaskStore } from "./store/store";
import { Watchers } from "./watchers";

/** After an alarm that failed. */
const RETRY_MS = 3_000;
/** How often hubs that gossip are asked how far they are. */
const HUB_POLL_MS = 300;
/** How often it is seen whether the last member has opened its shares. */
const SECURE_POLL_MS = 200;
/** After so long without a client an open round's operator is told. */
const QUIET_MS = 3_600_000;
/** How often it is kept that clients come. */
const SEEN_MS = 300_000;
/** Clocks of two machines that run the object one after the other may differ by this. */
const CLOCK_SLACK_MS = 5_000;

/**
 * Keeps one task's rounds: a shell of storage, alarms and sockets around the machine that decides them (src/federation/round). Everything is in
 * SQLite; every transition is one transaction, made by a request or by the alarm, so that a round ends also when every client has left.
 */
export class Coordinator extends DurableObject<Env> {
  readonly #context: TaskContext;
  readonly #store: TaskStore;
  readonly #view: RoundView;
  readonly #watchers: Watchers;
  readonly #driver: RoundDriver;
  readonly #secure: SecureRounds;
  readonly #places: UpdatePlaces;
  readonly #merger: Merger;
  readonly #admission: Admission;
  readonly #checkIns: CheckIns;
  readonly #invitations: Invitations;
  /** The time of the latest check-in. */
  #lastSeen = 0;
  #failureNotedAt = 0;
  /** When the alarm is due that was set last; undefined once it has gone off, or nobody knows. */
  #alarmAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const task = v.parse(taskNameSchema, nameOf(ctx));
    this.#store = new TaskStore(ctx.storage.sql, task);
    const events = new EventLog(
      task,
      this.#store,
      (event) => this.#watchers.say({ type: "event", event }),
      (work) => ctx.waitUntil(work),
    );
    this.#context = { env, storage: ctx.storage, task, store: this.#store, events };
    this.#view = new RoundView(this.#store);
    this.#watchers = new Watchers(ctx, {
      round: (number) => this.#view.round(number, MOST_MEMBERS),
      task: () => this.task(),
      history: () => this.history(),
      online: () => this.#checkIns.online(Date.now()),
    });
    const changed = (round: number): void => this.#watchers.announce(round);
    const opened = (): void => {
      this.#admission.clear();
      this.#checkIns.forgetOnline();
      this.#merger.clear();
    };
    this.#driver = new RoundDriver(this.#context, { changed, opened });
    this.#secure = new SecureRounds(this.#context, this.#driver);
    this.#places = new UpdatePlaces(this.#context, this.#driver, this.#secure);
    this.#merger = new Merger(this.#context, this.#driver, this.#secure, this.#places, changed);
    this.#admission = new Admission(this.#context, this.#driver, this.#secure, changed);
    this.#invitations = new Invitations(ctx.storage.sql);
    this.#checkIns = new CheckIns(this.#context, this.#driver, this.#secure, this.#invitations);
    void ctx.blockConcurrencyWhile(async () => {
      await knowTask(env, task);
      await publishFirst(this.#context);
      // Whatever ended the object before may have ended it between a transition and its alarm.
      await this.#schedule();
    });
  }

  task(): Task {
    const current = this.#store.checkpoints.current();
    if (!current) throw new Error("The task has no checkpoint.");
    const { trained, norm: _, ...checkpoint } = current;
    const { task } = this.#context;
    const { rounds, checkpoints, settings } = this.#store;
    return {
      task,
      state: settings.isRetired ? "retired" : "open",
      model: networkOf(task).name,
      checkpoint,
      trained,
      fromScratch: checkpoints.beganAtRandom(),
      round: rounds.open()?.number ?? null,
      privacy: rounds.mechanisms(),
    };
  }

  /** The latest rounds, or those before one. */
  history(page: Partial<Page> = {}): History {
    return { task: this.task(), rounds: this.#view.page(page) };
  }

  /** A round with all its members; undefined where there is none of this number. */
  round(number: number): Round | undefined {
    return this.#store.rounds.exists(number) ? this.#view.round(number) : undefined;
  }

  /** Opens a round that waits for clients, unless one is under way. */
  async startRounds(config: RoundConfig): Promise<Round | "round-open" | "task-retired" | { conflict: string }> {
    if (this.#store.settings.isRetired) return "task-retired";
    // Here, where nobody describes the task otherwise meanwhile.
    const conflict = conflictOf(config) ?? taskConflict(taskNamed(this.#context.task), config);
    if (conflict !== undefined) return { conflict };
    const number = this.ctx.storage.transactionSync(() => {
      if (this.#store.rounds.open()) return undefined;
      this.#store.settings.setEarlyStop(null);
      this.#store.updates.dropAll();
      return this.#driver.open(config, null, Date.now());
    });
    if (number === undefined) return "round-open";
    await this.#schedule();
    return this.#view.round(number);
  }

  /** Changes the open round's configuration, as far as its fields let it: what its clients were told stays. */
  async changeRound(
    change: Partial<RoundConfig>,
  ): Promise<Round | "no-open-round" | { fixed: string[] } | { conflict: string }> {
    const life = this.#store.life();
    if (!life) return "no-open-round";
    // Bounds like SCAFFOLD's reads are of several fields together, and the change need not name them all.
    const conflict = taskConflict(taskNamed(this.#context.task), { ...life.config, ...change });
    if (conflict !== undefined) return { conflict };
    const driven = this.#driver.send({ type: "changed", change }, Date.now());
    if (!driven) return "no-open-round";
    const refused = driven.effects.find((effect) => effect.effect === "refuse");
    if (refused) return "fixed" in refused ? { fixed: refused.fixed } : { conflict: refused.conflict };
    await this.#schedule();
    return this.#view.round(driven.before.number);
  }

  /** Retires the task, or opens it again. What it has published stays. */
  async setState(state: TaskState): Promise<"round-open" | undefined> {
    if (state === "retired" && this.#store.rounds.open()) return "round-open";
    // From here on nobody starts rounds; the list follows, and where that fails, asking again heals it.
    this.#store.settings.setRetired(state === "retired");
    await catalogueOf(this.env).setState(this.#context.task, state);
    this.#context.events.add(state === "retired" ? "task-retired" : "task-reopened", null);
    return undefined;
  }

  /**
   * Describes an added task otherwise: its words and default round at any time, all the rest, with another first version at random, until
   * its first round. No round begins meanwhile.
   * @param state what it is to be afterwards; undefined: as it is
   * @param revision of the task that is to be changed; undefined: whichever it is
   */
  redescribe(
    added: AddedTask,
    state: TaskState | undefined,
    revision: number | undefined,
  ): Promise<"changed-meanwhile" | "has-rounds" | "round-open" | undefined> {
    const { task, env } = this.#context;
    return this.ctx.blockConcurrencyWhile(async () => {
      const known = await catalogueOf(env).get(task);
      if (revision !== undefined && known?.revision !== revision) return "changed-meanwhile";
      if (state === "retired" && this.#store.rounds.open()) return "round-open";
      const isSame = known !== null && isSameTask(known.added, added);
      if (!isSame && this.#store.rounds.hasBeen()) return "has-rounds";
      note(task, await catalogueOf(env).change(task, added));
      if (!isSame) await this.#beginWith(undefined);
      return state && this.setState(state);
    });
  }

  /**
   * Takes a checkpoint as the first version of an added task, until its first round. Its file is stored here, where no other call deletes
   * one meanwhile.
   * @param revision of the task by whose description it was read
   */
  setFirst(checkpoint: FirstCheckpoint, revision: number): Promise<"has-rounds" | "task-changed" | undefined> {
    const { task, env } = this.#context;
    return this.ctx.blockConcurrencyWhile(async () => {
      if (this.#store.rounds.hasBeen()) return "has-rounds";
      if ((await catalogueOf(env).get(task))?.revision !== revision) return "task-changed";
      await this.#beginWith(checkpoint);
      await catalogueOf(env).noteChange(task);
      return undefined;
    });
  }

  /** Begins again, with this checkpoint or at random. */
  async #beginWith(checkpoint: FirstCheckpoint | undefined): Promise<void> {
    const before = this.#store.checkpoints.current();
    this.#store.checkpoints.forgetFirst();
    if (checkpoint) {
      const { file, ...stored } = checkpoint;
      await this.env.STORE.put(checkpointKey(stored.sha256), file, { sha256: stored.sha256 });
      this.#store.checkpoints.add({ version: 0, trained: true, ...stored }, "published", null, Date.now());
    } else await publishFirst(this.#context);
    const after = this.#store.checkpoints.current();
    // Its file names the task, so that no other task has it.
    if (before && before.sha256 !== after?.sha256) await this.env.STORE.delete(checkpointKey(before.sha256));
  }

  checkpoints(): CheckpointRecord[] {
    return this.#store.checkpoints.list();
  }

  /** Goes back to a published checkpoint: clients get it, and the next round starts from it. */
  rollBack(version: number): CheckpointRecord[] | "not-found" | "round-open" {
    if (this.#store.rounds.open()) return "round-open";
    const known = this.#store.checkpoints.list().find((one) => one.version === version);
    if (known?.status !== "published") return "not-found";
    this.#store.settings.setCurrent(version);
    this.#context.events.add("rolled-back", null, `To version ${version}.`);
    return this.#store.checkpoints.list();
  }

  invite(wanted: InvitationRequest): Promise<NewInvitation | undefined> {
    return this.#invitations.make(wanted, Date.now());
  }

  invitations(): Invitation[] {
    return this.#invitations.list(this.#store.rounds.open()?.number ?? null);
  }

  revokeInvitation(id: string): boolean {
    return this.#invitations.revoke(id);
  }

  deadLetters(): DeadLetter[] {
    return this.#store.updates.deadLetters();
  }

  /** The queue has given an update up: it no longer holds the round up, and waits to be replayed. */
  async dead(id: string, reason: string): Promise<void> {
    const member = this.#store.updates.get(id);
    if (!member || !this.#moved(this.#driver.send({ type: "dead", member }, Date.now()))) return;
    this.#store.updates.setReason(id, reason);
    if (!this.#isHidden(member.round)) this.#context.events.add("dead-letter", member.round, reason);
    await this.#schedule();
  }

  /** Puts a dead update into the queue again, while its round still takes updates. */
  async replay(id: string): Promise<"replayed" | "not-found" | "round-closed"> {
    const member = this.#store.updates.get(id);
    if (member?.state !== "dead" || this.#isHidden(member.round)) return "not-found";
    const now = Date.now();
    if (!this.#moved(this.#driver.send({ type: "revived", member }, now))) return "round-closed";
    this.#store.updates.setReason(id, null);
    this.#store.updates.setQueued(id, now);
    await this.env.UPDATES.send({ task: this.#context.task, id });
    this.#context.events.add("replayed", member.round);
    await this.#schedule();
    return "replayed";
  }

  /** What the metrics say of this task. */
  metrics(): { checkpoint: number; waiting: number; checkInsPerSecond: number | null } & ReturnType<
    TaskStore["counts"]
  > {
    const open = this.#store.rounds.open();
    return {
      checkpoint: this.task().checkpoint.version,
      waiting: this.#store.waiting.count(),
      // Who has been drawn asks less often.
      checkInsPerSecond: open && hidesCohort(open.config) ? null : this.#checkIns.perSecond,
      ...this.#store.counts(),
    };
  }

  /** What happened lately, the newest first. */
  events(): TaskEvent[] {
    return this.#store.events.all();
  }

  alerts(): AlertSettings {
    return { webhook: this.#store.settings.webhook ?? null };
  }

  setAlerts({ webhook }: AlertSettings): AlertSettings {
    this.#store.settings.setWebhook(webhook);
    // Not where to: such an address is often all that its secret is.
    this.#context.events.add("alerts-set", null, webhook === null ? "Nobody is told." : "A webhook is told.");
    return this.alerts();
  }

  /** Keeps the operator's words on a round. */
  setNote(number: number, note: Note): Round | "not-found" | "not-possible" {
    if (!this.#store.rounds.exists(number)) return "not-found";
    if (!this.#store.notes.set(number, note)) return "not-possible";
    this.#watchers.announce(number);
    return this.#view.round(number, MOST_MEMBERS);
  }

  async stopRound(): Promise<Round | "no-open-round"> {
    const driven = this.#driver.send({ type: "stopped" }, Date.now());
    if (!driven) return "no-open-round";
    await this.#schedule();
    return this.#view.round(driven.before.number);
  }

  /** Whether a signed request is the first of its kind, and of the client that its id was given to. */
  claim(signer: Signer, id?: string): "claimed" | "replayed" | "other-key" {
    const owner = id === undefined ? undefined : this.#store.updates.ownerOf(id);
    // An id that was never given out has no owner, and what is asked of it is refused: nothing of it is kept.
    if (id !== undefined && owner === undefined) return "claimed";
    if (owner !== undefined && owner !== signer.client) return "other-key";
    return this.#store.nonces.isNew(signer, Date.now()) ? "claimed" : "replayed";
  }

  /** Tells a client to train, to evaluate, or when to ask again. Asking again is harmless and gets the same answer. */
  async checkIn(signer: Signer, checkIn: CheckIn): Promise<CheckInAnswer | "replayed" | "task-retired" | Uninvited> {
    if (this.#store.settings.isRetired) return "task-retired";
    await this.#noticeClock(Date.now());
    const { events } = this.#driver;
    const answer = await this.#checkIns.answer(signer, checkIn);
    if (this.#driver.events !== events) await this.#schedule();
    this.#watchers.tellPresence();
    return answer;
  }

  /** Takes an evaluator's answer; one that comes twice, or too late, changes nothing, and one that tells more than was asked is refused. */
  async evaluated(id: string, evaluation: Evaluation): Promise<"accepted" | "already-accepted" | "not-asked"> {
    const { evaluations, rounds } = this.#store;
    const asked = evaluations.roundOf(id);
    if (asked !== undefined && evaluation.confusion && !rounds.get(asked).config.evaluateByClass) return "not-asked";
    const number = evaluations.answer(id, evaluation);
    if (number === undefined) return "already-accepted";
    await this.#conclude(number);
    return "accepted";
  }

  /** The operator's own evaluation of the candidate that waits for one. */
  async operatorEvaluated(round: number, evaluation: Evaluation): Promise<"accepted" | "not-evaluating"> {
    const open = this.#store.rounds.open();
    if (open?.number !== round || open.state !== "evaluating") return "not-evaluating";
    this.#store.evaluations.setOperator(round, evaluation, Date.now());
    await this.#conclude(round);
    return "accepted";
  }

  async #conclude(round: number): Promise<void> {
    const evidence = this.#store.evaluations.evidence(round);
    this.#driver.send({ type: "evaluated", evidence }, Date.now(), round);
    this.#watchers.announce(round);
    await this.#schedule();
  }

  /** A member's answer in a round with secure aggregation, or only its question. */
  async secure(round: number, id: string, message: SecureMessage | null): Promise<SecureStep | { refused: string }> {
    const step = await this.#secure.take(round, id, message);
    if (message) await this.#schedule();
    return step;
  }

  /** Whether an upload is worth reading, before its body is, and until when. Its end is to be told: {@link uploadOver}. */
  admit(signer: Signer, assignedRound: number, id: string, digest: string): Admitted {
    const claim = this.claim(signer, id);
    if (claim !== "claimed") return { status: "refused", code: claim };
    return this.#admission.admit(assignedRound, id, digest);
  }

  uploadOver(id: string, upload: string): void {
    this.#admission.over(id, upload);
  }

  /** Accepts an update whose bytes are in R2. After this it counts, once, whatever fails. */
  async accept(assignedRound: number, id: string, upload: StoredUpload): Promise<UploadAnswer> {
    const answer = this.#admission.accept(assignedRound, id, upload);
    if (answer.status === "accepted") await this.#schedule();
    return answer;
  }

  /** Counts a refusal on the dashboard and returns it. */
  refuse(round: number, code: ProblemCode): { status: "refused"; code: ProblemCode } {
    return this.#admission.refuse(round, code);
  }

  /** Takes an update back, for as long as no mean has been made of it: its bytes are deleted, and its round goes on without it. */
  async withdraw(assignedRound: number, id: string): Promise<"withdrawn" | "not-found" | "too-late"> {
    const member = this.#store.updates.get(id);
    if (member?.assignedRound !== assignedRound) return "not-found";
    const driven = this.#driver.send({ type: "withdrawn", member }, Date.now());
    if (!driven && member.state === "training") this.#store.updates.setState(id, "dropped");
    const isOut = this.#moved(driven) || member.state === "training" || member.state === "dropped";
    if (!isOut) return "too-late";
    log("update-withdrawn", { task: this.#context.task, round: member.round });
    await this.#places.removeWithdrawn(member.round);
    await this.#schedule();
    return "withdrawn";
  }

  /** The shard that adds an update; null when no shard has to. */
  async shardOf(id: string): Promise<UpdatePlace | null> {
    const place = await this.#places.placeOf(id);
    if (!place) await this.#schedule();
    return place;
  }

  /** A shard has added this update. */
  async counted(id: string, shard: string): Promise<void> {
    this.#places.counted(id, shard);
    await this.#schedule();
  }

  /** Gives a hub of the open round up: the others get its updates, and begin again without it. */
  async hubGone(round: number, name: string): Promise<void> {
    if (this.#places.hubGone(round, name)) await this.#schedule();
  }

  /** Drives what no request drives: deadlines, merging, lost queue messages, clearing up. Safe to run at any time. */
  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    try {
      await this.#drive(Date.now());
      await this.#schedule();
    } catch (error) {
      // The store or a shard fails. The platform would try six times and give up; a round must not hang for that.
      log("alarm-failed", { task: this.#context.task, error: String(error) });
      this.#noteFailure();
      const reason = `The updates could not be averaged: ${String(error)}`;
      this.#driver.send({ type: "failed", reason, lasting: false }, Date.now());
      this.#alarmAt = Date.now() + RETRY_MS;
      await this.ctx.storage.setAlarm(this.#alarmAt);
    }
  }

  async #drive(now: number): Promise<void> {
    const round = this.#store.rounds.open();
    if (round) {
      const { number, state, config } = round;
      if (now >= (this.#quietAt() ?? Infinity)) {
        this.#store.settings.setQuietRound(number);
        this.#context.events.add("nobody-came", number);
      }
      const clients = state === "selecting" ? this.#checkIns.stillWaiting(now) : 0;
      this.#driver.send(state === "selecting" ? { type: "waiting", clients } : { type: "time" }, now, number);
      await this.#places.requeue(number, now);
      await this.#places.removeWithdrawn(number);
      if (config.secure) this.#secure.advance(number, now);
      const driven = this.#driver.send({ type: "time" }, now, number);
      const open = this.#store.life();
      if (open && driven?.effects.some(({ effect }) => effect === "merge")) await this.#merger.merge(open);
    }
    for (const number of this.#store.rounds.uncleaned()) await clean(this.#context, this.#places, number);
    this.#view.foldOld();
  }

  /** A watcher's WebSocket. */
  override async fetch(request: Request): Promise<Response> {
    const socket = this.#watchers.add(networkOfAddress(addressOf(request, this.env)));
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

  /** Whether who takes part in a round is a secret, also for its administrator. */
  #isHidden(round: number): boolean {
    return hidesCohort(this.#store.rounds.get(round).config);
  }

  /** Whether an event has taken a member into another state. */
  #moved(driven: ReturnType<RoundDriver["send"]>): boolean {
    return driven?.effects.some(({ effect }) => effect === "member") ?? false;
  }

  /** Sets the alarm to the next moment at which something may be due. */
  async #schedule(): Promise<void> {
    const now = Date.now();
    const due: number[] = [];
    const round = this.#store.life();
    if (round) {
      const { number, state, config, tally } = round;
      due.push(dueAt(round) ?? now);
      const oldest = state === "selecting" ? this.#store.waiting.oldest() : null;
      if (oldest !== null) due.push(oldest + this.#checkIns.patience() + 1);
      const secureUntil = config.secure ? this.#store.secure.until(number) : null;
      if (secureUntil !== null) due.push(secureUntil);
      if (state === "aggregating" && tally.uploaded === 0) {
        due.push(config.topology === "gossip" ? now + HUB_POLL_MS : config.secure ? now + SECURE_POLL_MS : now);
      }
      // Counted from when it was queued, not from now: else an edge that is killed every few seconds would never get to it.
      const queued = this.#store.updates.oldestQueued(number);
      if (queued !== null) due.push(queued + REQUEUE_MS);
      const quietAt = this.#quietAt();
      if (quietAt !== null) due.push(quietAt);
    }
    if (this.#store.rounds.uncleaned().length > 0) due.push(now);
    if (due.length === 0) return;
    const at = Math.max(now + 50, Math.min(...due));
    // One that goes off too early finds nothing due and sets the next: that is less than a write at every request.
    if (this.#alarmAt !== undefined && this.#alarmAt > now && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    await this.ctx.storage.setAlarm(at);
  }

  /** A clock that was set back would leave what is due far in the future: it is due after its time from now, then. */
  async #noticeClock(now: number): Promise<void> {
    if (now < this.#lastSeen - CLOCK_SLACK_MS) {
      const seconds = Math.round((this.#lastSeen - now) / 1000);
      this.#context.events.add("clock-set-back", null, `By ${seconds} seconds.`);
      const driven = this.#driver.send({ type: "rewound" }, now);
      if (driven) this.#store.updates.limitQueued(driven.before.number, now);
      this.#store.waiting.forgetAfter(now);
      await this.ctx.storage.deleteAlarm();
      this.#alarmAt = undefined;
      await this.#schedule();
    }
    this.#lastSeen = now;
    const { settings } = this.#store;
    if (Math.abs(now - settings.lastSeen) > SEEN_MS) settings.setLastSeen(now);
  }

  /** When an open round has waited for so long that its operator is told; null where nobody waits, or it was told. */
  #quietAt(): number | null {
    const { rounds, settings } = this.#store;
    const open = rounds.open();
    if (!open || settings.quietRound === open.number) return null;
    return Math.max(open.openedAt, settings.lastSeen, this.#lastSeen) + QUIET_MS;
  }

  /** Once an hour: an alarm that fails comes back every few seconds. */
  #noteFailure(): void {
    const now = Date.now();
    if (now < this.#failureNotedAt + QUIET_MS) return;
    this.#failureNotedAt = now;
    this.#context.events.add("alarm-failed", this.#store.rounds.open()?.number ?? null);
  }
}
