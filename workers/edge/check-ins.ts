import * as v from "valibot";
import { sha256Hex } from "../../src/base/digest";
import { needsInitialLoss } from "../../src/federation/aggregation/registry";
import {
  planSchema,
  type Assignment,
  type CheckIn,
  type CheckInAnswer,
  type RoundConfig,
} from "../../src/federation/protocol";
import { atWorkSince, mostAtWork, type MemberState } from "../../src/federation/round/life";
import { hidesCohort } from "../../src/federation/round/rule";
import { clipOf } from "../../src/federation/round/bounds";
import { personalLayersOf, remembers, tellsMemory } from "../../src/federation/strategies/live";
import type { Signer } from "../../src/federation/signing";
import type { Invitations, Uninvited } from "./invitations";
import type { RoundDriver, TaskContext } from "./round-driver";
import type { SecureRounds } from "./secure-rounds";
import type { RoundRow } from "./store/rounds";
import type { WaitingClient } from "./store/waiting";

/** A client that waits and has not asked for this long has gone; more where clients are told to stay away for longer. */
const WAITING_MS = 30_000;
/** Check-ins a second that a Coordinator wants at most: beyond it, clients are told to come back later. */
const CHECK_INS_PER_SECOND = 100;
/** Keys that are counted as clients that are there. */
const MOST_ONLINE = 10_000;

/** Tells clients to train, to evaluate, or when to ask again. */
export class CheckIns {
  /** Check-ins a second, averaged over the last ten or so, and when it was last brought up to date. */
  #rate = { perSecond: 0, at: 0 };

  constructor(
    private readonly context: TaskContext,
    private readonly driver: RoundDriver,
    private readonly secure: SecureRounds,
    private readonly invitations: Invitations,
  ) {}

  /** Until when each key that has asked lately is taken for a client that is there. */
  readonly #there = new Map<string, number>();

  /**
   * Clients that have asked lately, or are at work: keys, of which nobody is kept from making many, so a claim. A key that was made
   * for an earlier round is not counted beside its client's new one.
   */
  online(now: number): number {
    for (const [client, until] of this.#there) if (until < now) this.#there.delete(client);
    return this.#there.size;
  }

  /** Nobody is counted by the key of a round that is over. */
  forgetOnline(): void {
    this.#there.clear();
  }

  get perSecond(): number {
    return this.#rate.perSecond;
  }

  /** Asking again is harmless and gets the same answer. */
  async answer(signer: Signer, checkIn: CheckIn): Promise<CheckInAnswer | "replayed" | Uninvited> {
    const answer = await this.#answer(signer, checkIn);
    if (typeof answer !== "string") this.#see(signer.client, answer, Date.now());
    return answer;
  }

  /** Takes a client for one that is there until it should have asked again. */
  #see(client: string, answer: CheckInAnswer, now: number): void {
    if (answer.decision === "wait" && answer.reason === "other-round") return;
    if (this.#there.size >= MOST_ONLINE && !this.#there.has(client)) return;
    const asksAgain = now + WAITING_MS + (answer.decision === "wait" ? 1000 * answer.retryAfterSeconds : 0);
    const open = this.context.store.rounds.open();
    // Who is at work may be silent until the deadline; where nobody may learn who that is, so is everybody else.
    const isAtWork = answer.decision === "train" || (open && hidesCohort(open.config));
    const until = isAtWork ? Math.max(open?.deadline ?? 0, asksAgain) : asksAgain;
    this.#there.set(client, until);
  }

  async #answer(signer: Signer, checkIn: CheckIn): Promise<CheckInAnswer | "replayed" | Uninvited> {
    const { client } = signer;
    const { store } = this.context;
    const now = Date.now();
    this.#count(now);
    const open = store.rounds.open();
    if (!open) return this.#wait(store.settings.earlyStop === undefined ? "no-round" : "early-stopped", 5);
    // A key that was made for another round would link the two.
    if (checkIn.round !== open.number) return this.#wait("other-round", 0);
    if (open.config.invited) {
      const refusal = await this.invitations.refusalOf(checkIn.invitation, client, open.number);
      if (refusal) return refusal;
    }
    // What was answered so far has changed nothing: asked again, it is answered again.
    if (!store.nonces.isNew(signer, now)) return "replayed";
    const label = (await sha256Hex(Uint8Array.from(new TextEncoder().encode(`${client}/${open.number}`)))).slice(0, 8);
    this.#take(open.number, { client, label, examples: checkIn.examples }, now);
    const round = store.rounds.open();
    if (!round) return this.#wait("no-round", 5);
    const known = this.#assignment(round, client);
    if (known?.state === "training") return { decision: "train", assignment: known.assignment };
    if (round.state === "evaluating" && checkIn.heldOut > 0) {
      const evaluation = this.#evaluationFor(round, client, now);
      if (evaluation) return evaluation;
    }
    // One that hides its cohort is asked as often by those who have sent as by those who were not drawn.
    if (known) return this.#wait("already-sent", hidesCohort(round.config) ? 5 : 3);
    return round.state === "selecting" ? this.#wait("selecting", 2) : this.#wait("not-selected", 5);
  }

  /** Forgets waiting clients that have gone. @returns how many wait */
  stillWaiting(now: number): number {
    const { waiting } = this.context.store;
    waiting.forget(now - this.patience());
    return waiting.count();
  }

  /** How long a client that waits may stay away: more than what it was told to. */
  patience(): number {
    return Math.max(WAITING_MS, 8000 * this.#crowd());
  }

  /** Takes a client into an async round, or among those who wait for a draw. */
  #take(number: number, client: WaitingClient, now: number): void {
    const { store, storage } = this.context;
    storage.transactionSync(() => {
      const round = store.rounds.open();
      if (round?.number !== number) return;
      if (round.config.mode === "async") this.#join(round, client, now);
      else if (round.state === "selecting") {
        store.waiting.add(client, now);
        this.driver.send({ type: "waiting", clients: this.stillWaiting(now) }, now, number);
      }
    });
  }

  /** An async round: a client trains as soon as fewer than 1.3 times the goal are at work. */
  #join(round: RoundRow, client: WaitingClient, now: number): void {
    const { updates } = this.context.store;
    if (round.state !== "training" || updates.assignmentOf(client.client, round.number)) return;
    if (updates.atWork(atWorkSince(round.config, now)) >= mostAtWork(round.config)) return;
    const driven = this.driver.send({ type: "joined" }, now, round.number);
    if (driven?.life.state === "training") updates.assign(round, client, now);
  }

  /** What a client was told to do in the open round, or in an async series in an earlier one and has not done yet. */
  #assignment(open: RoundRow, client: string): { state: MemberState; assignment: Assignment } | undefined {
    const { store, task } = this.context;
    const known = store.updates.assignmentOf(client, open.number);
    if (!known) return undefined;
    const { id, round, base, state } = known;
    const { config, deadline } = open;
    const secure = config.secure ? { secure: this.secure.facts(round, config) } : {};
    const checkpoint = store.checkpoints.get(base);
    const remembered = remembers(config) ? { remembered: this.#remembered(open) } : {};
    const clip = clipOf(config, store.checkpoints.normOf(base));
    const plan = planOf(config, clip, store.checkpoints.beganAtRandom());
    return {
      state,
      assignment: { task, id, round, checkpoint, plan, deadline: deadline ?? 0, ...secure, ...remembered },
    };
  }

  /** What every member is told of what its strategy's server remembers. */
  #remembered({ number, base, config }: RoundRow): NonNullable<Assignment["remembered"]> {
    if (this.#known?.round !== number) {
      const { rounds: table, checkpoints } = this.context.store;
      const rounds = table.remembered(base, config);
      const vector = rounds.length > 0 && tellsMemory(config) ? checkpoints.rememberedOf(base) : undefined;
      this.#known = { round: number, remembered: { rounds, ...(vector && { vector }) } };
    }
    return this.#known.remembered;
  }

  #known: { round: number; remembered: NonNullable<Assignment["remembered"]> } | undefined;

  /** Hands a waiting client the candidate to evaluate, while more answers are wanted. */
  #evaluationFor(round: RoundRow, client: string, now: number): CheckInAnswer | undefined {
    const { store, task } = this.context;
    const { evaluators, overSelection, evaluationSeconds, evaluateByClass: byClass } = round.config;
    // Else a few that never answer would keep everybody's word out, and with it every candidate.
    const { asked, own } = store.evaluations.stateOf(round.number, client, now - evaluationSeconds * 250);
    const isFull = own === "none" && asked >= Math.ceil(evaluators * overSelection);
    if (round.candidate === null || own === "answered" || isFull) return undefined;
    const id = store.evaluations.ask(round.number, client, now);
    const [candidate, base] = [store.checkpoints.get(round.candidate), store.checkpoints.get(round.base)];
    const personalLayers = personalLayersOf(round.config);
    return {
      decision: "evaluate",
      evaluation: { id, task, round: round.number, candidate, base, byClass, personalLayers },
    };
  }

  /** In a crowd, by how much clients are told to come back later. */
  #crowd(): number {
    return Math.max(1, this.#rate.perSecond / CHECK_INS_PER_SECOND);
  }

  #count(now: number): void {
    const seconds = Math.max(0, (now - this.#rate.at) / 1000);
    // An exponential average over ten seconds: each check-in adds a tenth, and time takes it away again.
    this.#rate = { perSecond: this.#rate.perSecond * Math.exp(-seconds / 10) + 0.1, at: now };
  }

  /**
   * Pace steering (Bonawitz et al. 2019, arXiv 1902.01046, section 2.3): spreads the clients' next check-ins evenly over one to
   * two times `seconds`, and over more when more clients ask than the Coordinator wants.
   */
  #wait(reason: Extract<CheckInAnswer, { decision: "wait" }>["reason"], seconds: number): CheckInAnswer {
    const round = this.context.store.rounds.open()?.number ?? null;
    return { decision: "wait", reason, retryAfterSeconds: seconds * this.#crowd() * (1 + Math.random()), round };
  }
}

/**
 * @param clip the largest norm that an update counts with; 0 for none
 * @param isFromScratch whether the task began with random weights
 */
const planOf = (config: RoundConfig, clip: number, isFromScratch: boolean): Assignment["plan"] =>
  v.parse(planSchema, {
    ...config,
    sendWorse: isFromScratch && config.tolerance === null,
    reportInitialLoss: needsInitialLoss(config),
    updateNorm: remembers(config) ? clip : 0,
  });
