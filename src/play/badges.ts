import type { Take } from "../faces/kept";
import { dailyDays } from "./daily";
import { longestRun } from "./calendar";
import { progressOf } from "./progress";
import { GOOD } from "./scoring";

/** What somebody has come to, by names of the texts under `badges`, each with how often it is needed. */
const NEEDED = {
  firstTake: 1,
  firstShow: 1,
  allSeven: 7,
  goodRow: 10,
  goldShow: 1,
  week: 7,
  hundredTakes: 100,
  month: 30,
} as const;
export type BadgeName = keyof typeof NEEDED;

export interface Badge {
  name: BadgeName;
  /** How far the player has come, at most `needed`. */
  done: number;
  needed: number;
}

/** The badges of a history of takes, each as far as it has come. No badge is lost again, but with the history. */
export function badgesOf(takes: readonly Take[]): Badge[] {
  const { expressions, bestStreak, shows } = progressOf(takes);
  const days = longestRun([...dailyDays(takes).keys()]);
  const done: Record<BadgeName, number> = {
    firstTake: takes.length,
    hundredTakes: takes.length,
    firstShow: shows.length,
    goldShow: shows.filter(({ medal, level }) => medal === "gold" && level !== "easy").length,
    allSeven: expressions.filter(({ best }) => best !== null && best >= GOOD).length,
    goodRow: bestStreak,
    week: days,
    month: days,
  };
  return Object.entries(NEEDED).map(([key, needed]) => {
    const name = key as BadgeName;
    return { name, done: Math.min(done[name], needed), needed };
  });
}
