import { shuffle } from "../base/random";

/** How many drawings or pictures a show asks for. */
export const SHOW = 5;

/** What a show asks for, of so many labels: different ones, in an order of chance, and of fewer labels than that all again. */
export function showOf(labels: number, random: () => number = Math.random): number[] {
  const asked: number[] = [];
  while (asked.length < SHOW) asked.push(...shuffle([...Array(labels).keys()], random));
  return asked.slice(0, SHOW);
}

/** Another label than the one that was asked for, of so many. */
export const another = (asked: number, labels: number, random: () => number = Math.random): number =>
  (asked + 1 + Math.floor(random() * (labels - 1))) % labels;
