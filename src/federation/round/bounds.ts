import type { RoundConfig } from "../protocol";

/** How far one client's word reaches: whatever it says is a claim. */

/**
 * Faces that an update counts for: no more than its client said it had when it checked in, and than the round lets one client have.
 * @param claimed null where that is not known
 */
export const boundedExamples = (
  examples: number,
  claimed: number | null,
  { maxExamples }: Pick<RoundConfig, "maxExamples">,
): number => Math.min(examples, claimed ?? Infinity, maxExamples);

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
