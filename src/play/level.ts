import type { Level } from "../faces/kept";

export type Medal = "gold" | "silver" | "bronze";

/** What the jury says, by the name of its texts. */
export type Verdict = "best" | "ovation" | "believes" | "unsure" | "critics";

/** The least score of each medal and of each word of the jury, the highest first. */
interface Bars {
  medals: Record<Medal, number>;
  applause: Record<Exclude<Verdict, "critics">, number>;
}

/** How hard it is to please. What is good enough to train on, and for a row of good takes, is the same for all: GOOD in scoring.ts. */
export const BARS: Record<Level, Bars> = {
  easy: { medals: { gold: 65, silver: 50, bronze: 35 }, applause: { best: 85, ovation: 65, believes: 45, unsure: 20 } },
  normal: {
    medals: { gold: 80, silver: 65, bronze: 50 },
    applause: { best: 95, ovation: 80, believes: 60, unsure: 30 },
  },
  hard: { medals: { gold: 92, silver: 80, bronze: 65 }, applause: { best: 98, ovation: 92, believes: 75, unsure: 45 } },
};

/** The levels, the easiest first. */
export const LEVELS = Object.keys(BARS) as Level[];

const first = <Name extends string>(bars: Record<Name, number>, score: number): Name | null =>
  (Object.keys(bars) as Name[]).find((name) => score >= bars[name]) ?? null;

/** The medal of a final score. */
export const medalOf = (score: number, level: Level): Medal | null => first(BARS[level].medals, score);

/** The medal above what was reached, and its least score. */
export const nextMedal = (score: number, level: Level): [Medal, number] | undefined =>
  (Object.entries(BARS[level].medals) as [Medal, number][]).findLast(([, least]) => score < least);

/** What the jury says about a score. */
export const verdictOf = (score: number, level: Level): Verdict => first(BARS[level].applause, score) ?? "critics";
