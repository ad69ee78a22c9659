import type { Level, Take } from "../faces/kept";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { GOOD } from "./scoring";
import { medalOf, type Medal } from "./level";
import { finalScore } from "./show";

export interface Progress {
  /** By label. */
  expressions: { label: Label; scores: number[]; best: number | null; lately: number | null }[];
  /** Good takes in a row: now, and the longest there was. */
  streak: number;
  bestStreak: number;
  /** The finished shows, the newest first. */
  shows: { at: number; score: number; level: Level; medal: Medal | null }[];
}

/** How many takes "lately" looks back. */
const LATELY = 5;

/** What a history of takes says; the oldest first. */
export function progressOf(takes: readonly Take[]): Progress {
  const expressions = EXPRESSIONS.map((_, i) => {
    const scores = takes.filter(({ prompt }) => prompt === i).map(({ score }) => score);
    return {
      label: i as Label,
      scores,
      best: scores.length > 0 ? Math.max(...scores) : null,
      lately: scores.length > 0 ? finalScore(scores.slice(-LATELY)) : null,
    };
  });
  let streak = 0;
  let bestStreak = 0;
  for (const { score } of takes) {
    streak = score >= GOOD ? streak + 1 : 0;
    bestStreak = Math.max(bestStreak, streak);
  }
  const shows = [...new Set(takes.map(({ show }) => show))]
    .flatMap((id) => (id === undefined ? [] : [takes.filter(({ show }) => show === id)]))
    .filter((parts) => parts.length === EXPRESSIONS.length)
    .map((parts) => {
      const score = finalScore(parts.map(({ score }) => score));
      const level = parts[0]?.level ?? "normal";
      return { at: parts.at(-1)?.at ?? 0, score, level, medal: medalOf(score, level) };
    })
    .reverse();
  return { expressions, streak, bestStreak, shows };
}
