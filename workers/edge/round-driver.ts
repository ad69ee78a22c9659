import type { HubState, RoundConfig } from "../../src/federation/protocol";
import type { TaskName } from "../../src/federation/tasks/registry";
import { drawCohort } from "../../src/federation/round/draw";
import { beginRound, isOver, type RoundLife } from "../../src/federation/round/life";
import { transition, type RoundEffect, type RoundEvent } from "../../src/federation/round/machine";
import { afterRound } from "../../src/federation/round/series";
import type { Env } from "./env";
import type { EventLog } from "./event-log";
import type { StoredLife, TaskStore } from "./store/store";

/** What the parts of a Coordinator share. */
export interface TaskContext {
  env: Env;
  storage: DurableObjectStorage;
  task: TaskName;
  store: TaskStore;
  events: EventLog;
}

/** Told when a round has changed, and when another one has begun. */
export interface RoundListener {
  changed: (round: number) => void;
  opened: () => void;
}

/** What an event has come to. */
export interface Driven {
  before: StoredLife;
  life: RoundLife;
  effects: RoundEffect[];
}

/** The states that a round ends in. */
const isEnd = (state: RoundLife["state"]): state is "published" | "rejected" | "abandoned" =>
  state === "published" || state === "rejected" || state === "abandoned";

/** Uniform in [0, 1) with all bits of a float64, so that nobody can foresee who is drawn, and nobody is likelier than C says. */
function secureRandom(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
}

export const newHub = (name: string): HubState => ({
  name,
  state: "waiting",
  updates: 0,
  block: 0,
  blocks: 0,
  epoch: 0,
  asked: 0,
  lost: 0,
});

/**
 * Drives the open round: reads it from SQLite, lets the machine say what becomes of it by an event (src/federation/round/machine.ts), and keeps
 * that with all that follows in one transaction.
 */
export class RoundDriver {
  /** How many events there were: whoever has sent none has nothing to schedule anew. */
  events = 0;

  constructor(
    private readonly context: TaskContext,
    private readonly listener: RoundListener,
  ) {}

  /**
   * Lets something happen to the open round.
   * @param number only where it is this one
   * @returns undefined where it is not, or there is none
   */
  send(event: RoundEvent, now: number, number?: number): Driven | undefined {
    const { storage, store } = this.context;
    return storage.transactionSync(() => {
      const before = store.life();
      if (!before || (number !== undefined && before.number !== number)) return undefined;
      this.events += 1;
      const { state: life, effects } = transition(before, event, now);
      const isSaved = store.rounds.save(life, before);
      if (life.config.topology !== before.config.topology) this.#setUpHubs(life.number, life.config);
      if (isOver(life) && isEnd(life.state)) {
        const { number, reason, candidate } = life;
        const isPublished = life.state === "published" && candidate !== null;
        this.context.events.add(`round-${life.state}`, number, isPublished ? `Version ${candidate}.` : reason);
      }
      for (const effect of effects) this.#apply(effect, before, now);
      // An event other than the clock has changed what is told of members or of those who wait.
      if (isSaved || event.type !== "time") this.listener.changed(before.number);
      return { before, life, effects };
    });
  }

  /** Opens a round from the current checkpoint. @param run the first round of its series; null begins one */
  open(config: RoundConfig, run: number | null, now: number): number {
    const { store, events } = this.context;
    const base = store.checkpoints.current();
    if (!base) throw new Error("The task has no checkpoint.");
    const number = store.rounds.add(config, base.version, run, now);
    store.rounds.save(beginRound(number, config, now));
    // Who waited for a round that was stopped bears a name of that round.
    store.waiting.clear();
    if (config.mode === "async") store.updates.dropStale(base.version - config.maxStaleness);
    this.#setUpHubs(number, config);
    events.add("round-open", number);
    this.listener.opened();
    this.listener.changed(number);
    return number;
  }

  #apply(effect: RoundEffect, round: StoredLife, now: number): void {
    const { store } = this.context;
    switch (effect.effect) {
      case "draw": {
        const drawn = drawCohort(store.waiting.all(), effect.draw, secureRandom);
        // First: what becomes of the round is kept before its members are.
        const driven = this.send({ type: "drawn", members: drawn.length }, now, round.number);
        for (const client of drawn) store.updates.assign(round, client, now);
        store.waiting.clear();
        if (driven?.life.state === "abandoned") store.updates.dropMissing(round.number);
        else if (round.config.secure) {
          store.secure.begin(round.number, store.updates.assignedIds(round.number), round.config, now);
        }
        return;
      }
      case "member":
        store.updates.setState(effect.id, effect.to);
        return;
      case "drop-missing":
        store.updates.dropMissing(round.number);
        return;
      case "publish":
        store.checkpoints.setStatus(effect.version, "published");
        store.settings.setCurrent(effect.version);
        return;
      case "reject":
        store.checkpoints.setStatus(effect.version, "rejected");
        return;
      case "continue":
        this.#continue(round.number, now);
        return;
      case "merge":
      case "refuse":
        // The alarm merges; whoever asked for a change is told.
        return;
    }
  }

  #setUpHubs(round: number, { topology }: RoundConfig): void {
    const { env, store } = this.context;
    store.rounds.setHubs(round, topology === "gossip" ? env.HUBS.map(({ name }) => newHub(name)) : []);
  }

  /** Opens the series' next round, unless a plateau or their number ends it. */
  #continue(number: number, now: number): void {
    const { store, events } = this.context;
    const { config, run } = store.rounds.get(number);
    const losses = store.rounds.ofRun(run).flatMap((one) => store.evaluation(one)?.loss ?? []);
    const { counted, below } = this.#norms(number, config);
    const { plateau, next, isSameRun, isStopped } = afterRound(config, { losses, counted, below });
    if (plateau !== null) store.rounds.setPlateau(number, plateau);
    if (isStopped) {
      store.settings.setEarlyStop(plateau);
      events.add("early-stop", number, plateau);
    }
    if (next) this.open(next, isSameRun ? run : null, now);
  }

  /** How many updates a round has counted, and how many of them were no longer than its clip. */
  #norms(number: number, { clipQuantile, updateClip }: RoundConfig): { counted: number; below: number } {
    if (clipQuantile === 0) return { counted: 0, below: 0 };
    const counted = this.context.store.updates.counted(number);
    const seen = counted.filter(({ norm }) => (norm ?? 0) <= updateClip).length;
    return { counted: counted.length, below: this.context.store.rounds.facts(number)?.below ?? seen };
  }
}
