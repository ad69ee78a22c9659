import { EXPRESSIONS } from "../model/expressions";
import { seededRandom } from "../base/random";
import type { Take } from "../faces/kept";
import { finalScore, turnsOf, type Turn } from "./show";
import { GOOD } from "./scoring";

/** A day of the player's own calendar: yyyy-mm-dd. */
export function dayOf(at: Date): string {
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** The day before. */
export function dayBefore(day: string): string {
  const noon = new Date(`${day}T12:00:00`);
  noon.setDate(noon.getDate() - 1);
  return dayOf(noon);
}

const idOf = (day: string): string => `daily/${day}/`;

/** A name for one try at a day's show. */
export const tryOf = (day: string): string => `${idOf(day)}${crypto.randomUUID()}`;

/** The seven roles of a day, in the same order for everybody: they follow from the date, and no server is asked. */
export function dailyTurns(day: string): Turn[] {
  const seed = Number(day.replaceAll("-", ""));
  return turnsOf(1, EXPRESSIONS.length, seededRandom(seed));
}

/** The scores of a day's show in the order of its roles: those of the first try that was finished, or null. */
export function dailyScores(takes: readonly Take[], day: string): number[] | null {
  const tries = new Set(takes.map(({ show }) => show).filter((show) => show?.startsWith(idOf(day))));
  for (const one of tries) {
    const parts = takes.filter(({ show }) => show === one);
    if (parts.length === EXPRESSIONS.length) return parts.map(({ score }) => score);
  }
  return null;
}

/** The days whose show was finished, each with its score, the first one first. */
export function dailyDays(takes: readonly Take[]): Map<string, number> {
  const days = takes.flatMap(({ show }) => /^daily\/(\d{4}-\d\d-\d\d)\//.exec(show ?? "")?.[1] ?? []);
  const scored = [...new Set(days)].sort().map((day) => [day, dailyScores(takes, day)] as const);
  return new Map(scored.flatMap(([day, scores]) => (scores ? [[day, finalScore(scores)]] : [])));
}

/** Days in a row on which the day's show was played, up to `day` or to the day before it. */
export function dayStreak(takes: readonly Take[], day: string): number {
  let at = dailyScores(takes, day) ? day : dayBefore(day);
  let days = 0;
  for (; dailyScores(takes, at); at = dayBefore(at)) days += 1;
  return days;
}

/** How good a score is, by the colours of {@link squares}. */
export const gradeOf = (score: number): "great" | "good" | "fair" | "poor" =>
  score >= 80 ? "great" : score >= GOOD ? "good" : score >= 30 ? "fair" : "poor";

const SQUARES = { great: "🟩", good: "🟨", fair: "🟧", poor: "🟥" } as const;

/** A square for each score, as word games have them. */
export const squares = (scores: readonly number[]): string => scores.map((score) => SQUARES[gradeOf(score)]).join("");

/** A day's result as text to paste: the day, the score, seven squares, the address. No role is given away. */
export const resultText = (name: string, day: string, scores: readonly number[], address: string): string =>
  `${name} ${day} · ${finalScore(scores)}/100\n${squares(scores)}\n${address}`;
