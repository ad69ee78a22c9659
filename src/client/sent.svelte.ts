import type { LastUpdate, SentLog, SentName } from "../faces/kept";
import { getSetting, setSetting } from "../faces/settings";

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
