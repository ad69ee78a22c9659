import type { Level } from "../faces/kept";
import { settingsOf, type Settings, type ShowLength } from "./kept-settings";

const KEY = "best-actor-settings";

function read(): Settings {
  try {
    return settingsOf(localStorage.getItem(KEY));
  } catch {
    // The browser keeps nothing.
    return settingsOf(null);
  }
}

class GameSettings {
  #values = $state<Settings>(read());

  constructor() {
    this.#apply();
  }

  get sound(): boolean {
    return this.#values.sound;
  }
  get haptics(): boolean {
    return this.#values.haptics;
  }
  get lessMotion(): boolean {
    return this.#values.lessMotion;
  }
  get showLength(): ShowLength {
    return this.#values.showLength;
  }
  get level(): Level {
    return this.#values.level;
  }
  get hasPlayed(): boolean {
    return this.#values.hasPlayed;
  }

  set<Key extends keyof Settings>(key: Key, value: Settings[Key]): void {
    this.#values[key] = value;
    this.#apply();
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch {
      // A private window may keep nothing: the choice holds for this visit.
    }
  }

  /** True if nothing should move, by this setting or by the system's. */
  get still(): boolean {
    return this.#values.lessMotion || matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  #apply(): void {
    document.documentElement.classList.toggle("less-motion", this.#values.lessMotion);
  }
}

export const settings = new GameSettings();
