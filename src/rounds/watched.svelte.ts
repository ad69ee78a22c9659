import * as v from "valibot";
import { getEvents, getHistory, getRound, watchRounds } from "../client/edge";
import { afterEvent } from "../federation/live";
import {
  historySchema,
  MOST_EVENTS,
  MOST_ROUNDS,
  type LiveEvent,
  type Round,
  type Task,
  type TaskEvent,
} from "../federation/protocol";
import type { TaskName } from "../federation/tasks/registry";

/** Rounds that are looked back on. */
const MOST = 1000;
/** What was last heard of a task, for as long as the tab is open. */
const keyOf = (task: TaskName): string => `rounds/${task}`;
const keptSchema = v.object({ at: v.number(), history: historySchema });

/** A task's rounds as they are told live, with those that came before. */
export class WatchedTask {
  rounds = $state.raw<Round[]>([]);
  task = $state.raw<Task>();
  /** Undefined until the first connection has come about, or has failed. */
  connected = $state<boolean>();
  /** Clients that are there, as the edge counts them; undefined until it has said so. */
  online = $state<number>();
  /** What happened lately, the newest first; undefined until it was asked for. */
  events = $state.raw<TaskEvent[]>();
  /** When this was the state, Unix time in milliseconds; undefined where nothing has been heard yet. */
  heardAt = $state<number>();
  readonly latest = $derived(this.rounds.at(-1));
  /** Whether a round is under way. */
  readonly open = $derived(this.latest !== undefined && this.latest.endedAt === null);
  /** Rounds whose members were asked for: once. */
  // eslint-disable-next-line svelte/prefer-svelte-reactivity -- nothing on the page depends on it
  readonly #asked = new Set<number>();
  readonly #listening = new AbortController();
  readonly #stop: () => void;

  constructor(readonly name: TaskName) {
    this.#remember();
    this.#stop = watchRounds(
      name,
      (event) => this.hear(event),
      (connected) => (this.connected = connected),
    );
    addEventListener("pagehide", () => this.#keep(), { signal: this.#listening.signal });
  }

  end(): void {
    this.#keep();
    this.#listening.abort();
    this.#stop();
  }

  hear(event: LiveEvent): void {
    const { rounds, task } = this;
    const after = afterEvent({ rounds, ...(task && { task }) }, event);
    this.heardAt = Date.now();
    if (event.type === "presence") this.online = event.online;
    if (event.type === "event" && this.events) this.events = [event.event, ...this.events].slice(0, MOST_EVENTS);
    // What happened while nobody listened is not told again.
    if (event.type === "history" && this.events) this.loadEvents().catch(() => undefined);
    if (!after) return;
    ({ rounds: this.rounds, task: this.task } = after);
    if (event.type === "history") void this.#loadEarlier();
  }

  /** @throws EdgeAwayError, EdgeRefusalError */
  async loadEvents(): Promise<void> {
    this.events = await getEvents(this.name);
  }

  /** Asks for all members of a round of which a page has told of some only. */
  async loadMembers({ number, endedAt, cohort, tally }: Round): Promise<void> {
    if (endedAt === null || !tally || cohort.length >= tally.selected || this.#asked.has(number)) return;
    this.#asked.add(number);
    const whole = await getRound(this.name, number).catch(() => undefined);
    if (whole) this.rounds = this.rounds.map((round) => (round.number === number ? whole : round));
  }

  /** Asks for the rounds before those that are known, page by page. What fails is left out: the latest are there. */
  async #loadEarlier(): Promise<void> {
    for (;;) {
      const first = this.rounds[0]?.number ?? 1;
      if (first <= 1 || this.rounds.length >= MOST) return;
      const page = await getHistory(this.name, first).catch(() => undefined);
      if (!page || this.#listening.signal.aborted || page.rounds.length === 0) return;
      // eslint-disable-next-line svelte/prefer-svelte-reactivity -- it never changes
      const known = new Set(this.rounds.map(({ number }) => number));
      this.rounds = [...page.rounds.filter(({ number }) => !known.has(number)), ...this.rounds];
    }
  }

  #keep(): void {
    const { heardAt: at, task, rounds } = this;
    if (!task) return;
    try {
      sessionStorage.setItem(
        keyOf(this.name),
        JSON.stringify({ at, history: { task, rounds: rounds.slice(-MOST_ROUNDS) } }),
      );
    } catch {
      // No room for it: a reload without a connection then shows nothing.
    }
  }

  /** What a reload, or a return to the page, shows until the edge answers. */
  #remember(): void {
    const text = sessionStorage.getItem(keyOf(this.name));
    if (text === null) return;
    const kept = v.safeParse(v.pipe(v.string(), v.parseJson(), keptSchema), text);
    if (!kept.success) return;
    this.heardAt = kept.output.at;
    ({ rounds: this.rounds, task: this.task } = kept.output.history);
  }
}
