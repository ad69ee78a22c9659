import type { RoundConfig } from "../protocol";

/** How far one client's word reaches: whatever it says is a claim. */

/**
 * The most faces that one update of a cohort counts for: the round's cap, and a multiple of the cohort's median. A median, since who says
 * too much moves it no further than to what another member says; of two middle ones the lower.
 * @param claims how many faces the members have said they have when they checked in
 */
export function mostExamples(
  { maxExamples, maxExamplesRatio }: Pick<RoundConfig, "maxExamples" | "maxExamplesRatio">,
  claims: readonly number[],
): number {
  const sorted = claims.toSorted((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  if (maxExamplesRatio === 0 || median === undefined) return maxExamples;
  return Math.min(maxExamples, Math.max(1, Math.floor(maxExamplesRatio * median)));
}

/**
 * The largest norm that an update of a round may have: its clip, or its share of the norm of the weights that it starts from, whichever
 * is less. 0 where neither is set.
 */
export function clipOf(
  { updateClip, maxUpdateNorm }: Pick<RoundConfig, "updateClip" | "maxUpdateNorm">,
  baseNorm: number | null,
): number {
  const bounds = [updateClip, maxUpdateNorm * (baseNorm ?? 0)].filter((bound) => bound > 0);
  return bounds.length === 0 ? 0 : Math.min(...bounds);
}

/** What a delta of this norm is multiplied by to keep a clip; 0 is none. */
export const factorOf = (norm: number, clip: number): number => (clip > 0 && norm > clip ? clip / norm : 1);
