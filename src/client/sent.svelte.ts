import type { TaskName } from "../core/protocol";
import { getSetting, setSetting } from "../faces/store";

/** What this device has sent of one kind, since the log began. */
export interface SentKind {
  times: number;
  bytes: number;
  /** Unix time in milliseconds. */
  last: number;
}

export type SentName = "check-in" | "update" | "secure" | "evaluation" | "admin";
export type SentLog = Partial<Record<SentName, SentKind>>;

/** The last update that this device has sent, as it went over the wire. */
export interface LastUpdate {
  task: TaskName;
  round: number;
  /** Its id at the edge, under which it can be taken back. */
  id: string;
  /** The key that it was signed with, which alone may take it back. */
  key: CryptoKeyPair;
  at: number;
  bytes: number;
  codec: string;
  isMasked: boolean;
  /** Its first bytes, as they were sent. */
  head: Uint8Array<ArrayBuffer>;
}

/** Bytes of an update that are kept to be looked at: a picture of 128 by 128. */
export const HEAD_BYTES = 128 * 128;

/** Keeps count, on this device, of everything that leaves it. */
class Sent {
  log = $state.raw<SentLog>({});
  lastUpdate = $state.raw<LastUpdate>();
  readonly loaded: Promise<void>;

  constructor() {
    // A browser that keeps nothing counts for this visit only.
    this.loaded = Promise.all([getSetting("sent"), getSetting("lastUpdate")]).then(
      ([log, update]) => {
        this.log = log ?? {};
        this.lastUpdate = update;
      },
      () => undefined,
    );
  }

  async count(name: SentName, bytes: number): Promise<void> {
    await this.loaded;
    const before = this.log[name] ?? { times: 0, bytes: 0 };
    this.log = { ...this.log, [name]: { times: before.times + 1, bytes: before.bytes + bytes, last: Date.now() } };
    await setSetting("sent", this.log).catch(() => undefined);
  }

  async keepUpdate(update: LastUpdate): Promise<void> {
    this.lastUpdate = update;
    await setSetting("lastUpdate", update);
  }
}

export const sent = new Sent();
