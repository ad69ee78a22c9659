import { EXPRESSIONS, type Label } from "../model/expressions";
import { shuffle } from "../base/random";

/** The ways to play. */
export const MODES = ["take", "show", "practice", "party"] as const;
export type Mode = (typeof MODES)[number];

/** One take to come: who acts what. */
export interface Turn {
  /** Index of the player; 0 where one plays alone. */
  player: number;
  prompt: Label;
}

const LABELS = EXPRESSIONS.map((_, label) => label as Label);

/** Draws the next expression to act, never the same twice in a row. */
export function nextPrompt(last: Label | undefined, random: () => number = Math.random): Label {
  const others = LABELS.filter((label) => label !== last);
  return others[Math.floor(random() * others.length)] ?? 0;
}

/**
 * The turns of a show: so many of the expressions in an order of chance, and each of them acted by every player in turn.
 * @param takes 1 to 7
 */
export function turnsOf(players: number, takes: number, random: () => number = Math.random): Turn[] {
  return shuffle([...LABELS], random)
    .slice(0, takes)
    .flatMap((prompt) => Array.from({ length: players }, (_, player) => ({ player, prompt })));
}

/** Mean of scores in whole per cent. */
export const finalScore = (scores: readonly number[]): number =>
  scores.length === 0 ? 0 : Math.round(scores.reduce((a, b) => a + b, 0) / scores.length);

/** The players by their final scores, the best first; equal scores share a place. */
export function ranking(
  turns: readonly Turn[],
  scores: readonly number[],
): { player: number; score: number; place: number }[] {
  const players = [...new Set(turns.map(({ player }) => player))];
  const finals = players.map((player) => ({
    player,
    score: finalScore(scores.filter((_, i) => turns[i]?.player === player)),
  }));
  return finals
    .map((one) => ({ ...one, place: 1 + finals.filter(({ score }) => score > one.score).length }))
    .sort((a, b) => a.place - b.place || a.player - b.player);
}
