/** How the game behaves on this device; kept in localStorage. */
interface Settings {
  sound: boolean;
  haptics: boolean;
  /** No moving decoration, also where the system does not ask for that. */
  lessMotion: boolean;
}

const KEY = "best-actor-settings";

function read(): Settings {
  const known: Settings = { sound: true, haptics: true, lessMotion: false };
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const key of Object.keys(known) as (keyof Settings)[]) {
      const value = kept !== null && typeof kept === "object" ? (kept as Partial<Settings>)[key] : undefined;
      if (typeof value === "boolean") known[key] = value;
    }
  } catch {
    // Somebody has changed it by hand, or the browser keeps nothing: the game begins as on the first day.
  }
  return known;
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

  set(key: keyof Settings, value: boolean): void {
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
