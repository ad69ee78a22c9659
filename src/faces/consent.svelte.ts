import type { ExampleKind } from "../federation/tasks/task";
import type { Consent } from "./kept";
import { getSetting, setSetting } from "./settings";

/** Whether the player lets us keep examples of a kind on this device and train with them. Off until given; revocable at any time. */
class ConsentState {
  #value = $state.raw<Consent>();
  readonly loaded: Promise<void>;

  constructor(private readonly key: "consent" | "drawingConsent" | "pictureConsent") {
    // A browser that cannot store anything cannot have stored a consent either.
    this.loaded = getSetting(key).then(
      (value) => {
        this.#value = value;
      },
      () => undefined,
    );
  }

  get given(): boolean {
    return this.#value?.given ?? false;
  }

  /** True once the player has said yes or no. */
  get asked(): boolean {
    return this.#value !== undefined;
  }

  /** @throws StorageError; the answer then counts for this visit only. */
  async set(given: boolean): Promise<void> {
    this.#value = { given, at: Date.now() };
    await setSetting(this.key, this.#value);
    // Asks the browser not to clear what is kept when space runs short. It may say no; the faces page shows its answer.
    if (given && "storage" in navigator && "persist" in navigator.storage) await navigator.storage.persist();
  }
}

/** To keep each kind of example. */
export const CONSENTS: Record<ExampleKind, ConsentState> = {
  face: new ConsentState("consent"),
  drawing: new ConsentState("drawingConsent"),
  picture: new ConsentState("pictureConsent"),
};
export const consent = CONSENTS.face;
