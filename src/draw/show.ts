import { shuffle } from "../base/random";

/** How many drawings a show asks for. */
export const SHOW = 5;

/** What a show asks for, of so many labels: different ones, in an order of chance, and of fewer labels than drawings all again. */
export function showOf(labels: number, random: () => number = Math.random): number[] {
  const asked: number[] = [];
  while (asked.length < SHOW) asked.push(...shuffle([...Array(labels).keys()], random));
  return asked.slice(0, SHOW);
}
