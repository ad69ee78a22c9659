import type { ExampleKind } from "../federation/tasks/task";
import { CONSENT_KEYS, type Consent } from "./kept";
import { getSetting, setSetting } from "./settings";

/** Whether the player lets us keep examples of a kind on this device and train with them. Off until given; revocable at any time. */
class ConsentState {
  #value = $state.raw<Consent>();
  readonly #key: (typeof CONSENT_KEYS)[ExampleKind];
  /** Told whenever it is given or taken back, in this tab or in another. */
  readonly #changes: BroadcastChannel;

  constructor(kind: ExampleKind) {
    this.#key = CONSENT_KEYS[kind];
    this.#changes = new BroadcastChannel(`best-actor-${this.#key}`);
    this.#changes.onmessage = () => void this.read();
    void this.read();
  }

  get given(): boolean {
    return this.#value?.given ?? false;
  }

  /** True once the player has said yes or no. */
  get asked(): boolean {
    return this.#value !== undefined;
  }

  /** Looks at what this device keeps of it, whichever tab has written that. @returns whether it is given */
  async read(): Promise<boolean> {
    try {
      this.#value = await getSetting(this.#key);
    } catch {
      // A browser that cannot store anything cannot have stored a consent either: what was said counts for this visit.
    }
    return this.given;
  }

  /** What this tab has taken for a consent is not kept any more: the player is asked again. */
  askAgain(): void {
    this.#value = undefined;
  }

  /** @throws StorageError; the answer then counts for this visit only. */
  async set(given: boolean): Promise<void> {
    const value = { given, at: Date.now() };
    // A no counts at once; a yes once it is kept, without which no take is.
    if (!given) this.#value = value;
    try {
      await setSetting(this.#key, value);
    } finally {
      this.#value = value;
    }
    this.#changes.postMessage(null);
    // Asks the browser not to clear what is kept when space runs short. It may say no; the faces page shows its answer.
    if (given && "storage" in navigator && "persist" in navigator.storage) await navigator.storage.persist();
  }
}

/** To keep each kind of example. */
export const CONSENTS: Record<ExampleKind, ConsentState> = {
  face: new ConsentState("face"),
  drawing: new ConsentState("drawing"),
  picture: new ConsentState("picture"),
};
export const consent = CONSENTS.face;
