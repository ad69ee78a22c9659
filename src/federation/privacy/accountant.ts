import type { RoundConfig } from "../protocol";
import { MOST_DIVERGENCE } from "./distributed";
import { lossEpsilon } from "./loss-distribution";
import { LEAST_NOISE } from "./noise-scale";
import { renyiCurve, renyiEpsilon } from "./renyi";

/**
 * What rounds with noise say about one client at most: (epsilon, delta) differential privacy of all that can be made of the published
 * checkpoints and clips. Neighbours differ by one client more or less, with all its faces; clients are drawn by Poisson sampling.
 */

/** A series of rounds with the same noise. */
export interface Mechanism {
  /** q: the probability with which each client is drawn; 1 where it hides nobody who was. */
  sampling: number;
  /** z: the noise's standard deviation, as a multiple of the most that one client can change the sum. */
  noise: number;
  rounds: number;
  /** Clients that these rounds were drawn from, all together: there are at most as many. */
  clients?: number | undefined;
}

/**
 * The delta that epsilons are told for: the guarantee fails with at most this probability, which has to be less than one in all clients,
 * since publishing one of them at random would fail with that. The largest power of ten that is a tenth of it, 1e-5 at most.
 */
export const deltaFor = (clients: number): number =>
  10 ** Math.min(-5, -1 - Math.ceil(Math.log10(Math.max(1, clients))));

/**
 * N: clients that there are at most. One that comes again bears another key, so that those of each round may be others than those of the
 * round before.
 */
export const clientsOf = (mechanisms: readonly Mechanism[]): number =>
  Math.max(
    1,
    mechanisms.reduce((sum, { clients = 1 }) => sum + clients, 0),
  );

/**
 * The smallest epsilon of all these rounds together: by privacy loss distributions, or by Rényi divergences where those give less, both
 * of which are upper bounds. Infinite where one of the rounds had no noise. 0 for none.
 */
export function epsilon(mechanisms: readonly Mechanism[], delta = deltaFor(clientsOf(mechanisms))): number {
  const done = mechanisms.filter(({ rounds, sampling }) => rounds > 0 && sampling > 0);
  if (done.length === 0) return 0;
  if (done.some(({ noise }) => !(noise >= LEAST_NOISE))) return Infinity;
  // Discrete noise differs from continuous noise by so much, either way.
  const slack = done.reduce((sum, { rounds }) => sum + rounds * MOST_DIVERGENCE, 0);
  const told = delta / Math.exp(slack);
  const curve = renyiCurve(done);
  const bound = renyiEpsilon(curve, told);
  return Math.min(bound, lossEpsilon(done, curve, told)) + 2 * slack;
}

/**
 * What rounds of a configuration are to the accountant: see RoundTable.mechanisms, which counts those that were run.
 * @param waiting clients that wait for a round, where they are more than it waits for
 */
export const mechanismOf = (
  {
    fraction,
    noise,
    secure,
    rounds,
    goalCount,
  }: Pick<RoundConfig, "fraction" | "noise" | "secure" | "rounds" | "goalCount">,
  waiting = 0,
): Mechanism => ({
  // Who adds the noise itself does not trust the edge, which knows who was drawn: then the draw hides nobody.
  sampling: secure && noise > 0 ? 1 : fraction,
  noise,
  rounds,
  clients: rounds * Math.max(waiting, Math.ceil(goalCount / fraction)),
});

/** The most noise that a round may have. */
const MOST_NOISE = 100;

export interface NoisePlan {
  planned: Omit<Mechanism, "noise">;
  /** The largest epsilon, of what was done and what is planned together. */
  most: number;
  /** Rounds so far. */
  done?: readonly Mechanism[];
  delta?: number;
}

/**
 * Looks for the least noise with which rounds stay within an epsilon, to three digits and never below. It stops after each epsilon that
 * it has computed, so that a page goes on meanwhile.
 * @returns undefined where no noise up to 100 does it
 */
export function* searchNoise({ planned, most, done = [], delta }: NoisePlan): Generator<undefined, number | undefined> {
  const told = delta ?? deltaFor(clientsOf([...done, { ...planned, noise: 0 }]));
  const isWithin = (noise: number): boolean => epsilon([...done, { ...planned, noise }], told) <= most;
  if (!isWithin(MOST_NOISE)) return undefined;
  let [low, high] = [Math.log(LEAST_NOISE), Math.log(MOST_NOISE)];
  while (high - low > 5e-4) {
    yield;
    const middle = (low + high) / 2;
    if (isWithin(Math.exp(middle))) high = middle;
    else low = middle;
  }
  const digits = 10 ** (2 - Math.floor(Math.log10(Math.exp(high))));
  return Math.min(MOST_NOISE, Math.ceil(Math.exp(high) * digits) / digits);
}
