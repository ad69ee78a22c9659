import { differenceOf } from "../../src/federation/live";
import { READING_EVERY, type History, type LiveEvent, type Round, type Task } from "../../src/federation/protocol";

/** Between two messages to a watcher: at most ten a second. */
const PAUSE_MS = 100;
/** How often it is seen who has come and gone. */
const PRESENCE_MS = 3_000;
/** A watcher to which so many messages went without a word that it reads them is gone: what is sent to it lies in memory. */
const MOST_UNREAD = 4 * READING_EVERY;
/** Watchers of one task, and those of them behind one address: nobody alone keeps all others from watching. */
export const MOST_WATCHERS = 2000;
export const MOST_OF_ONE_NETWORK = MOST_WATCHERS / 2;

/** What the watchers are told from. */
export interface Watched {
  round: (number: number) => Round;
  task: () => Task;
  history: () => History;
  online: () => number;
}

/**
 * The WebSockets that watch a task's rounds. They are told what has changed, not all of it, at most ten times a second however often
 * something changes, and each in the same words.
 */
export class Watchers {
  /** Rounds of which something may have changed since the last message. */
  readonly #changed = new Set<number>();
  /** The rounds as the watchers know them. */
  readonly #told = new Map<number, Round>();
  #toldTask: string | undefined;
  #last = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Clients that the watchers were last told of. */
  #online = 0;
  #presence: ReturnType<typeof setTimeout> | undefined;
  readonly #unread = new WeakMap<WebSocket, number>();

  constructor(
    private readonly ctx: DurableObjectState,
    private readonly watched: Watched,
  ) {}

  /**
   * Takes a watcher in and tells it the latest rounds.
   * @param network what counts as its address
   * @returns its end of the socket; undefined where there are too many
   */
  add(network: string): WebSocket | undefined {
    if (this.ctx.getWebSockets().length >= MOST_WATCHERS) return undefined;
    if (this.ctx.getWebSockets(network).length >= MOST_OF_ONE_NETWORK) return undefined;
    // All of them know the same from here on.
    this.#tell();
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [network]);
    const history = this.watched.history();
    server.send(JSON.stringify({ type: "history", history } satisfies LiveEvent));
    // Else the first thing that happens would be told by the whole round, also where nothing of it is to be seen.
    this.#toldTask = JSON.stringify(history.task);
    const open = history.rounds.at(-1);
    if (open?.endedAt === null && !this.#told.has(open.number)) {
      this.#told.set(open.number, this.watched.round(open.number));
    }
    server.send(JSON.stringify({ type: "presence", online: this.watched.online() } satisfies LiveEvent));
    return client;
  }

  /** Says something that is no change of a round. */
  say(event: LiveEvent): void {
    this.#send(this.ctx.getWebSockets(), JSON.stringify(event));
  }

  /** Says how many are there, in a while and where that is another number than before, and again as they go. */
  tellPresence(): void {
    if (this.#presence !== undefined || this.ctx.getWebSockets().length === 0) return;
    this.#presence = setTimeout(() => {
      this.#presence = undefined;
      const online = this.watched.online();
      if (online !== this.#online) this.say({ type: "presence", online });
      this.#online = online;
      if (online > 0) this.tellPresence();
    }, PRESENCE_MS);
  }

  /** A watcher has said that it reads. */
  reads(socket: WebSocket): void {
    this.#unread.set(socket, 0);
  }

  /** Something of a round may have changed. */
  announce(round: number): void {
    this.#changed.add(round);
    if (this.#timer !== undefined) return;
    const wait = this.#last + PAUSE_MS - Date.now();
    if (wait <= 0 || wait > PAUSE_MS) {
      this.#tell();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, wait);
  }

  #tell(): void {
    const changed = [...this.#changed].sort((a, b) => a - b);
    this.#changed.clear();
    const sockets = this.ctx.getWebSockets();
    if (sockets.length === 0) {
      this.#told.clear();
      return;
    }
    if (changed.length === 0) return;
    this.#last = Date.now();
    const task = this.watched.task();
    const taskText = JSON.stringify(task);
    const isNew = taskText !== this.#toldTask;
    this.#toldTask = taskText;
    for (const number of changed) {
      const round = this.watched.round(number);
      const before = this.#told.get(number);
      const change = before && differenceOf(before, round);
      if (before && !change && !isNew) continue;
      const event: LiveEvent = !before
        ? { type: "round", round, task }
        : { type: "change", change: change ?? { number, fields: {}, cohort: [] }, ...(isNew && { task }) };
      if (round.endedAt === null) this.#told.set(number, round);
      else this.#told.delete(number);
      this.#send(sockets, JSON.stringify(event));
    }
  }

  #send(sockets: WebSocket[], text: string): void {
    for (const socket of sockets) {
      const unread = (this.#unread.get(socket) ?? 0) + 1;
      this.#unread.set(socket, unread);
      if (unread > MOST_UNREAD) socket.close(1008, "Say that you read.");
      else {
        try {
          socket.send(text);
        } catch {
          // It has gone in this very moment.
        }
      }
    }
  }
}
