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
  /** N: clients that there are, as far as is known. */
  clients?: number | undefined;
}

/**
 * The delta that epsilons are told for: the guarantee fails with at most this probability, which has to be less than one in all clients,
 * since publishing one of them at random would fail with that. The largest power of ten that is a tenth of it, 1e-5 at most.
 */
export const deltaFor = (clients: number): number =>
  10 ** Math.min(-5, -1 - Math.ceil(Math.log10(Math.max(1, clients))));

/** The largest of all mechanisms' clients. */
export const clientsOf = (mechanisms: readonly Mechanism[]): number =>
  mechanisms.reduce((most, { clients = 1 }) => Math.max(most, clients), 1);

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

/** Noise to begin a search with, and to end it at. */
const MOST_NOISE = 100;

/**
 * The least noise with which rounds stay within an epsilon, together with what was spent before, to three digits and never below.
 * @param done rounds so far
 * @returns undefined where no noise up to 100 does it
 */
export function noiseFor(
  planned: Omit<Mechanism, "noise">,
  most: number,
  {
    done = [],
    delta = deltaFor(clientsOf([...done, planned as Mechanism])),
  }: { done?: readonly Mechanism[]; delta?: number } = {},
): number | undefined {
  const isWithin = (noise: number): boolean => epsilon([...done, { ...planned, noise }], delta) <= most;
  if (!isWithin(MOST_NOISE)) return undefined;
  let [low, high] = [Math.log(LEAST_NOISE), Math.log(MOST_NOISE)];
  while (high - low > 5e-4) {
    const middle = (low + high) / 2;
    if (isWithin(Math.exp(middle))) high = middle;
    else low = middle;
  }
  const digits = 10 ** (2 - Math.floor(Math.log10(Math.exp(high))));
  return Math.ceil(Math.exp(high) * digits) / digits;
}
