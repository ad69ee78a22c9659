import type { RoundConfig } from "../protocol";
import { shuffle } from "../../base/random";
import { wantedClients } from "./life";

/** How a cohort is drawn from those who wait: each by itself with this probability, or so many of them. */
export type Draw = { each: number } | { size: number };

/**
 * How the cohort is drawn of so many: a share C of them, at least the goal, at most the goal and some for those who will leave. With
 * noise each by itself: what the accountant of privacy knows is Poisson sampling.
 */
export function drawOf(
  {
    goalCount,
    fraction,
    overSelection,
    noise,
  }: Pick<RoundConfig, "goalCount" | "fraction" | "overSelection" | "noise">,
  waiting: number,
): Draw {
  if (noise > 0) return { each: fraction };
  const most = Math.ceil(goalCount * overSelection);
  return { size: Math.min(most, Math.max(goalCount, Math.floor(waiting * fraction))) };
}

/** Clients from which on more of them make the cohort no larger: nobody waits for more. */
export const plentyOf = ({ goalCount, fraction, overSelection }: RoundConfig): number =>
  Math.max(wantedClients({ goalCount, fraction }), Math.ceil(Math.ceil(goalCount * overSelection) / fraction));

/** Draws a cohort. @param random uniform in [0, 1): the edge's from its platform's secure generator, the lab's from a seed */
export const drawCohort = <T>(clients: readonly T[], draw: Draw, random: () => number): T[] =>
  "each" in draw ? clients.filter(() => random() < draw.each) : shuffle([...clients], random).slice(0, draw.size);
