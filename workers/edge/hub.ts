import { BlockGossip, type BlockMessage } from "../../src/federation/gossip";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { Aggregator, type MergePlan, type PublishedFile, type WeightedUpdate } from "./aggregator";
import { checkpointKey, hubOf, type Env } from "./env";
import { nameOf } from "./identity";
import { log } from "./log";

/** Questions to other hubs in one run of the alarm. */
const STEPS = 32;
/** Before it looks again, when it is another hub's turn to ask. */
const TURN_MS = 10;
/** Before the next question, when the last one was not answered or all that is missing is an announcement. */
const PAUSE_MS = 100;
/** How far the checkpoint that was announced may be from what a hub has computed itself: float32's rounding, and the gossip's. */
const TOLERANCE = 1e-6;

/** Epochs that one plan of a round may have: they begin at this times its generation. */
const EPOCHS = 1_000_000;
const generationOf = (epoch: number): number => Math.floor(epoch / EPOCHS);

/** What every hub of a round is told: to come to the mean with the others, and what to make of it. */
export interface HubPlan extends Omit<MergePlan, "shards" | "updates"> {
  round: number;
  /** The hubs that take part; the first one stores the checkpoint, the others check it. */
  members: string[];
  /** Counts the plans of a round: one more whenever its members change. */
  generation: number;
}

/** How a hub's gossip has ended: the checkpoint, and whether it is what this hub's own mean gives; or why it cannot be one. */
interface Outcome {
  checkpoint: PublishedFile | null;
  agrees: boolean;
  failure?: string;
}

export interface HubProgress {
  state: "mixing" | "done" | "disagrees";
  /** Blocks of the mean that it holds, of how many. */
  block: number;
  blocks: number;
  epoch: number;
  /** Questions that it has asked in this epoch, and those that were not answered. */
  asked: number;
  lost: number;
  checkpoint: PublishedFile | null;
  /** Why no checkpoint can be made of the mean. */
  failure: string | null;
}

export interface HubAnswer {
  epoch: number;
  /** Null when the one who asks has to begin this epoch first, or when all is done. */
  message: BlockMessage | null;
  finished: boolean;
  announced: PublishedFile | null;
}

/**
 * A region's Aggregator in a round without a centre: it takes the updates of its region, and gossips with the other hubs until
 * each holds the mean of all (src/federation/gossip.ts). The first one then stores the checkpoint and announces it; the news goes the
 * same way as the sums, and every other hub accepts it only if it is what its own mean gives.
 *
 * What must not be lost is in SQLite: the updates (the Aggregator's table), the plan, the epoch, the outcome. A hub that was
 * killed in mid-gossip begins a higher epoch from its updates, and the others follow.
 */
export class Hub extends Aggregator {
  #gossip: BlockGossip | undefined;
  #asked = 0;
  #lost = 0;
  #finished = false;
  readonly #name: string;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#name = nameOf(ctx).split("/").at(-1) ?? "";
  }

  protected override createTables(): void {
    super.createTables();
    this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS hub (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  }

  override add(update: WeightedUpdate, numbers: ArrayBuffer | null = null): Promise<void> {
    // Given after the gossip has begun: by a hub that is gone. The sum is another, and its next plan begins anew.
    this.#gossip = undefined;
    return super.add(update, numbers);
  }

  /** Begins to mix, or goes on, and says how far it is. Asking again is harmless. */
  async mix(plan: HubPlan): Promise<HubProgress> {
    this.reopen();
    const known = this.#plan;
    if (!known || plan.generation > known.generation) {
      this.#set("plan", plan);
      this.#set("outcome", null);
      this.#gossip = undefined;
      this.#finished = false;
    }
    const outcome = this.#outcome;
    if (!outcome && (await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now());
    return {
      state: !outcome ? "mixing" : outcome.agrees ? "done" : "disagrees",
      failure: outcome?.failure ?? null,
      block: this.#gossip?.progress ?? 0,
      blocks: this.#gossip?.blocks ?? 0,
      epoch: this.#epoch,
      asked: this.#asked,
      lost: this.#lost,
      checkpoint: outcome?.checkpoint ?? null,
    };
  }

  /** Another hub's question: its half for this one's half. Null when this hub has no part in that. */
  exchange(message: BlockMessage, announced: PublishedFile | null): Promise<HubAnswer | null> {
    return this.next(async () => {
      const plan = this.#plan;
      if (!plan?.members.includes(message.from)) return null;
      // Of a plan that this hub has not been told yet, with other members, or of one that is over.
      if (generationOf(message.epoch) !== plan.generation) return null;
      if (this.#outcome && message.epoch <= this.#epoch) return this.#answer(null);
      const gossip = await this.#join(message.epoch);
      if (gossip.epoch !== message.epoch) return this.#answer(null);
      this.#hear(announced);
      return this.#answer(gossip.answer(message));
    });
  }

  override async alarm(): Promise<void> {
    let pause = 0;
    try {
      for (let i = 0; i < STEPS && pause === 0; i++) {
        // The plan may be another one after each step.
        if (!this.#plan || this.#outcome) return;
        pause = await this.#step();
      }
    } catch (error) {
      log("hub-failed", { hub: this.#name, round: this.#plan?.round, error: String(error) });
      pause = 10 * PAUSE_MS;
    }
    await this.ctx.storage.setAlarm(Date.now() + pause);
  }

  override async clear(): Promise<void> {
    await super.clear();
    this.#gossip = undefined;
  }

  /** Asks one hub, and ends the gossip when it is over. @returns milliseconds to wait before the next step */
  async #step(): Promise<number> {
    const { plan, gossip, question, to } = await this.next(async () => {
      const gossip = await this.#join(this.#epoch);
      const plan = this.#plan as HubPlan;
      const to = gossip.partner();
      return { plan, gossip, to, question: to === undefined ? null : gossip.ask(to) };
    });
    let answered = true;
    if (to !== undefined && question) {
      this.#asked += 1;
      // Outside of the turn: two hubs may be asking each other.
      const answer = await this.#ask(plan, to, question);
      answered = answer !== null;
      if (answer) await this.next(() => this.#take(answer));
      else this.#lost += 1;
    }
    await this.next(async () => {
      if (this.#gossip === gossip && (gossip.finished || this.#finished)) await this.#conclude(plan, gossip);
    });
    if (!question?.mass && answered && !gossip.finished) return TURN_MS;
    return answered && !gossip.finished ? 0 : PAUSE_MS;
  }

  async #ask(plan: HubPlan, to: string, question: BlockMessage): Promise<HubAnswer | null> {
    try {
      return await hubOf(this.env, this.task, plan.round, to).exchange(question, this.#announced);
    } catch (error) {
      // Counted as lost, and said once: the next questions go to others, and the Coordinator gives up who stays away.
      if (this.#lost === 0) log("hub-unreachable", { hub: this.#name, to, error: String(error) });
      return null;
    }
  }

  async #take({ epoch, message, finished, announced }: HubAnswer): Promise<void> {
    if (generationOf(epoch) !== this.#plan?.generation) return;
    if (epoch > this.#epoch) await this.#join(epoch);
    if (epoch !== this.#epoch || !this.#gossip) return;
    if (finished) this.#finished = true;
    if (message) this.#gossip.receive(message);
    this.#hear(announced);
  }

  #answer(message: BlockMessage | null): HubAnswer {
    const finished = this.#outcome !== null;
    return { epoch: this.#epoch, message, finished, announced: this.#announced };
  }

  /**
   * The gossip of an epoch of the plan, or of a higher one that this hub is in. It never takes part twice in the same: what it has
   * sent in its earlier life is still on its way.
   */
  async #join(epoch: number): Promise<BlockGossip> {
    const plan = this.#plan;
    if (!plan) throw new Error(`The hub ${this.#name} has no plan.`);
    if (this.#gossip && epoch <= this.#epoch) return this.#gossip;
    const least = Math.max(this.#epoch + 1, plan.generation * EPOCHS);
    this.#set("epoch", Math.max(epoch, least));
    this.#set("announced", null);
    this.#set("outcome", null);
    this.#finished = false;
    [this.#asked, this.#lost] = [0, 0];
    this.#gossip = undefined;
    this.dropSum();
    const { sum, totals } = await this.load();
    // The mean takes the place of this hub's own sum.
    this.dropSum();
    // Told of another plan while it was reading: that one's members are others.
    if (!this.#isCurrent(plan)) return this.#join(epoch);
    const extras = [totals.denominator, totals.examples, totals.count];
    this.#gossip = new BlockGossip(this.#name, plan.members, this.#epoch, sum, extras);
    return this.#gossip;
  }

  #hear(announced: PublishedFile | null): void {
    if (announced && !this.#announced) this.#set("announced", announced);
  }

  /** Makes the checkpoint of the mean; the first hub stores and announces it, the others hold it against their own. */
  async #conclude(plan: HubPlan, gossip: BlockGossip): Promise<void> {
    const announced = this.#announced;
    const first = plan.members[0] === this.#name;
    if (this.#outcome || (!first && !announced)) return;
    const n = plan.members.length;
    const [denominator = 0, examples = 0, count = 0] = gossip.means;
    if (Math.round(count * n) !== plan.expected.count || Math.round(examples * n) !== plan.expected.examples) {
      throw new Error(
        `The hubs hold ${count * n} updates of ${examples * n} examples; ` +
          `${plan.expected.count} of ${plan.expected.examples} were counted.`,
      );
    }
    const average = (start: number, length: number): Promise<Float64Array<ArrayBuffer>> =>
      Promise.resolve(gossip.values.slice(start, start + length).map((value) => value / denominator));
    let stepped: Awaited<ReturnType<Hub["step"]>>;
    try {
      stepped = await this.step(plan, average, first);
    } catch (error) {
      // What the mean comes to is the same for everybody, and no later try can help.
      if (!(error instanceof RangeError)) throw error;
      this.#set("outcome", { checkpoint: null, agrees: false, failure: error.message });
      return;
    }
    const { weights, cosines } = stepped;
    // Told of another plan in the meantime: what this one has come to is nobody's.
    const isOver = (): boolean => this.#gossip !== gossip;
    if (first) {
      const checkpoint = { ...(await this.publish(weights, plan.metadata)), cosines };
      if (isOver()) return;
      this.#set("announced", checkpoint);
      this.#set("outcome", { checkpoint, agrees: true });
    } else if (announced) {
      const others = decodeCheckpoint(await this.read(checkpointKey(announced.sha256)), this.model);
      if (isOver()) return;
      const agrees = weights.every((w, i) => Math.abs(w - (others[i] as number)) <= TOLERANCE * (1 + Math.abs(w)));
      this.#set("outcome", { checkpoint: announced, agrees });
    }
  }

  #isCurrent({ generation }: HubPlan): boolean {
    return this.#plan?.generation === generation;
  }

  get #plan(): HubPlan | null {
    return this.#get("plan") as HubPlan | null;
  }

  get #announced(): PublishedFile | null {
    return this.#get("announced") as PublishedFile | null;
  }

  get #outcome(): Outcome | null {
    return this.#get("outcome") as Outcome | null;
  }

  get #epoch(): number {
    return (this.#get("epoch") as number | null) ?? 0;
  }

  #get(key: string): unknown {
    if (this.isCleared) return null;
    const [row] = this.ctx.storage.sql.exec<{ value: string }>("SELECT value FROM hub WHERE key = ?", key).toArray();
    return row ? JSON.parse(row.value) : null;
  }

  #set(key: string, value: unknown): void {
    if (this.isCleared) return;
    if (value === null) this.ctx.storage.sql.exec("DELETE FROM hub WHERE key = ?", key);
    else this.ctx.storage.sql.exec("INSERT OR REPLACE INTO hub VALUES (?, ?)", key, JSON.stringify(value));
  }
}
