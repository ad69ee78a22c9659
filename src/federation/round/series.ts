import { isPlateau } from "../early-stopping";
import { nextClip } from "../privacy/adaptive-clip";
import { secureBits, type RandomBits } from "../privacy/random-bits";
import type { RoundConfig } from "../protocol";

/** What a series of rounds knows of the one that has just ended. */
export interface SeriesFacts {
  /** Losses of the candidates of the series so far, in their order, from the last change of the learning rate on. */
  losses: readonly number[];
  /** Updates that were counted, and how many of them had a norm of at most the clip. */
  counted: number;
  below: number;
}

/** How a series goes on after a round. */
export interface Continuation {
  /** The losses that no longer got better, in words; null where they still do, or that is of no interest. */
  plateau: string | null;
  /** What the next round is run with; null where there is none. */
  next: RoundConfig | null;
  /** Whether that round continues the series, so that its losses count with those before. */
  isSameRun: boolean;
  /** Whether further updates are refused until somebody starts rounds again. */
  isStopped: boolean;
}

/**
 * The series' next round, unless a plateau or their number ends it: how many are left, their clip, and their learning rate.
 * @param bits of the noise with which the clip follows the norms
 */
export function afterRound(before: RoundConfig, facts: SeriesFacts, bits: RandomBits = secureBits): Continuation {
  const rounds = before.rounds - 1;
  const config = { ...before, rounds, updateClip: followNorms(before, facts, bits) };
  const isFlat = isPlateau(facts.losses, before) && before.atPlateau !== "go-on";
  if (!isFlat) return { plateau: null, next: rounds > 0 ? config : null, isSameRun: true, isStopped: false };
  const losses = facts.losses.map((loss) => loss.toFixed(3)).join(", ");
  const plateau = `No better loss in ${before.stopPatience} rounds: ${losses}.`;
  if (before.atPlateau === "stop") return { plateau, next: null, isSameRun: true, isStopped: true };
  // With a lower rate the patience begins anew.
  const half = config.learningRate / 2;
  const slower = { ...config, learningRate: half > 0 ? half : config.learningRate };
  return { plateau, next: rounds > 0 ? slower : null, isSameRun: false, isStopped: false };
}

/** The clip of the round after this one. */
function followNorms(config: RoundConfig, { below, counted }: SeriesFacts, bits: RandomBits): number {
  const { clipQuantile, updateClip, goalCount, secure, noise } = config;
  // With noise a round without any update tells that by nothing: its clip moves as another's. A sum that nobody opened has no noise.
  const tellsNothing = noise === 0 || secure;
  if (clipQuantile === 0 || (counted === 0 && tellsNothing)) return updateClip;
  const isNoisy = secure && noise > 0;
  return nextClip(updateClip, { below, counted, expected: goalCount, isNoisy }, clipQuantile, bits);
}
