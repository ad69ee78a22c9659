import { shuffle } from "../base/random";
import { TASKS } from "../federation/tasks/registry";

/** How many digits a show asks for. */
export const SHOW = 5;

/** The digits of a show: different ones, in an order of chance. */
export const showOf = (random: () => number = Math.random): number[] =>
  shuffle([...TASKS.digits.labels.keys()], random).slice(0, SHOW);
