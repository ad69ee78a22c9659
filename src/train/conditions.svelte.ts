import type { Preferences } from "../faces/kept";
import { getSetting, setSetting } from "../faces/settings";

/** Why a training rests although a round is under way. */
export type Rest = "player" | "hidden" | "battery" | "data-saver";

/** What browsers other than Chromium lack, and TypeScript does not know. */
interface BatteryManager extends EventTarget {
  charging: boolean;
  level: number;
}
interface Extras {
  getBattery?: () => Promise<BatteryManager>;
  connection?: { saveData?: boolean };
}

const LOW_BATTERY = 0.2;

/** When this device may train: the player's preferences against what the browser tells of tab, battery and connection. */
class Conditions {
  preferences = $state.raw<Preferences>({
    whenHidden: false,
    onLowBattery: false,
    onDataSaver: false,
    keepAwake: false,
  });
  #hidden = $state(document.hidden);
  #lowBattery = $state(false);
  #dataSaver = $state(false);
  /** True while the player holds the training. */
  paused = $state(false);

  readonly rest = $derived.by((): Rest | null => {
    if (this.paused) return "player";
    if (this.#hidden && !this.preferences.whenHidden) return "hidden";
    if (this.#lowBattery && !this.preferences.onLowBattery) return "battery";
    if (this.#dataSaver && !this.preferences.onDataSaver) return "data-saver";
    return null;
  });

  constructor() {
    document.addEventListener("visibilitychange", () => {
      this.#hidden = document.hidden;
    });
    const extras = navigator as Navigator & Extras;
    this.#dataSaver = extras.connection?.saveData ?? false;
    void extras.getBattery?.().then((battery) => {
      const update = (): void => {
        this.#lowBattery = !battery.charging && battery.level < LOW_BATTERY;
      };
      update();
      battery.addEventListener("levelchange", update);
      battery.addEventListener("chargingchange", update);
    });
    // Without storage the preferences hold for this visit.
    void getSetting("preferences").then(
      (kept) => {
        if (kept) this.preferences = kept;
      },
      () => undefined,
    );
  }

  /** @throws StorageError; the preference then holds for this visit. */
  async prefer(change: Partial<Preferences>): Promise<void> {
    this.preferences = { ...this.preferences, ...change };
    await setSetting("preferences", this.preferences);
  }
}

export const conditions = new Conditions();
