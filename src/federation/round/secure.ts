import { isRingCodec } from "../codecs/registry";
import { belowNoise, shareOfNoise } from "../privacy/distributed";
import { deviationOfShares, noiseOf } from "../privacy/noise-scale";
import type { Assignment, RoundConfig } from "../protocol";
import { thresholdOf } from "../secagg/graph";
import { remembers } from "../strategies/live";
import { mostExamples } from "./bounds";
import { quorumOf } from "./life";

/** What the members of a round with secure aggregation are told of the ring of its vectors. @param claims faces that those who were drawn have said they have */
export function ringFactsOf(config: RoundConfig, claims: readonly number[]): NonNullable<Assignment["secure"]> {
  const { noise, updateClip: clip, goalCount, clipQuantile, codec } = config;
  const most = noise > 0 || remembers(config) ? 1 : mostExamples(config, claims);
  const facts = { cohort: claims.length, clip, deviation: 0, mostExamples: most };
  if (noise === 0 || !isRingCodec(codec)) return facts;
  // As much noise as the fewest vectors of which a mean is made need together.
  const fewest = quorumOf(config);
  const below = clipQuantile > 0 ? belowNoise(deviationOfShares(goalCount), fewest) : undefined;
  return { ...facts, deviation: shareOfNoise(noiseOf(config), clip, fewest, codec), below };
}

/**
 * The fewest vectors of which a sum is opened: enough members to open the others' secrets, and with noise enough to make all of it.
 * @param members those that have sent their keys
 */
export const fewestVectors = (members: number, config: Pick<RoundConfig, "noise" | "goalCount">): number =>
  Math.max(thresholdOf(members), config.noise > 0 ? quorumOf(config) : 0);
