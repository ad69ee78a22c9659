import { normal, seededRandom } from "../base/random";
import { clientSeed } from "./cohort";
import type { LabConfig } from "./config";
import type { LabRound } from "./simulation";

/**
 * How long trainings take, as simulated time has it; whatever the distribution, its mean is `meanDuration`, m:
 *
 * - `equal`: m
 * - `log-normal`: `m exp(sigma Z - sigma^2 / 2)`, Z standard normal, sigma `durationSpread`
 * - `exponential`: `-m ln(1 - U)`, U uniform
 * - `half-normal`: `m sqrt(pi / 2) |Z|`
 *
 * Drawn for each training, or once for each client, whose device is then always as slow.
 */
export const DURATIONS = ["equal", "log-normal", "exponential", "half-normal"] as const;

type DurationConfig = Pick<
  LabConfig,
  "seed" | "durations" | "meanDuration" | "durationSpread" | "durationPer" | "clientSeconds"
>;

/** Simulated milliseconds of a client's training in one place of a round, whole and at least one. */
export function durationOf(config: DurationConfig, client: number, round: number, place: number): number {
  return Math.max(1, Math.round(1000 * secondsOf(config, client, round, place)));
}

function secondsOf(config: DurationConfig, client: number, round: number, place: number): number {
  const { durations, meanDuration, durationSpread, durationPer, clientSeconds } = config;
  if (clientSeconds) return clientSeconds[client % clientSeconds.length] as number;
  const seed = config.seed ^ 0x71e5;
  const random = seededRandom(durationPer === "client" ? clientSeed(seed, 0, client) : clientSeed(seed, round, place));
  switch (durations) {
    case "equal":
      return meanDuration;
    case "log-normal":
      return meanDuration * Math.exp(durationSpread * normal(random) - durationSpread ** 2 / 2);
    case "exponential":
      return -meanDuration * Math.log(1 - random());
    case "half-normal":
      return meanDuration * Math.sqrt(Math.PI / 2) * Math.abs(normal(random));
  }
}

/** Whether a run's simulated time says more than its number of rounds. */
export const isTimed = ({ mode, durations, clientSeconds }: LabConfig): boolean =>
  mode === "async" || durations !== "equal" || clientSeconds !== null;

/** How many versions a round's updates were behind, on average; null where that is no question. */
export function stalenessOf({ staleness = [] }: Pick<LabRound, "staleness">): number | null {
  return staleness.length === 0 ? null : staleness.reduce((a, b) => a + b, 0) / staleness.length;
}
