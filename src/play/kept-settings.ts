import type { Level } from "../faces/kept";
import { LEVELS } from "./level";

/** How many roles a show may have, by the name of its texts. */
export const SHOW_LENGTHS = { three: 3, seven: 7 } as const;
export type ShowLength = keyof typeof SHOW_LENGTHS;

/** How the game behaves on this device; kept in localStorage. */
export interface Settings {
  sound: boolean;
  haptics: boolean;
  /** No moving decoration, also where the system does not ask for that. */
  lessMotion: boolean;
  /** Of the shows that the player begins. */
  showLength: ShowLength;
  /** How hard the jury is to please. */
  level: Level;
  /** False before the first take of somebody who came to play. */
  hasPlayed: boolean;
}

/** As on the first day. */
const FIRST: Settings = {
  sound: true,
  haptics: true,
  lessMotion: false,
  showLength: "seven",
  level: "normal",
  hasPlayed: false,
};

const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const oneOf =
  (...allowed: readonly unknown[]) =>
  (value: unknown): boolean =>
    allowed.includes(value);

/** What each may be: whatever else is kept was written by hand, or by another version. */
const ALLOWED: Record<keyof Settings, (value: unknown) => boolean> = {
  sound: isBoolean,
  haptics: isBoolean,
  lessMotion: isBoolean,
  showLength: oneOf(...Object.keys(SHOW_LENGTHS)),
  level: oneOf(...LEVELS),
  hasPlayed: isBoolean,
};

/** The settings that a text says, as far as it says any that may be. */
export function settingsOf(text: string | null): Settings {
  let kept: unknown;
  try {
    kept = JSON.parse(text ?? "{}");
  } catch {
    // Somebody has changed it by hand: the game begins as on the first day.
  }
  const isAllowed = ([key, value]: [string, unknown]): boolean =>
    Object.hasOwn(ALLOWED, key) && ALLOWED[key as keyof Settings](value);
  return { ...FIRST, ...Object.fromEntries(Object.entries(kept ?? {}).filter(isAllowed)) };
}
