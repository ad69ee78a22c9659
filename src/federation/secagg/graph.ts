/**
 * Who shares secrets with whom. Up to {@link COMPLETE} clients everybody with everybody (Bonawitz et al. 2017); beyond, a regular
 * graph with a number of neighbours that grows with the logarithm of the cohort (Bell et al. 2020, section 3).
 */
export const COMPLETE = 64;
/** Neighbours for each bit of the cohort's size. With a third of 1,000 gone, a neighbourhood is too small once in 30,000 rounds. */
const PER_BIT = 20;

/** Fewer clients than this have no secret among them. */
export const FEWEST = 3;

/** How many neighbours each of n clients has: an even number, or everybody. */
export const degreeOf = (n: number): number =>
  n <= COMPLETE ? n - 1 : Math.min(n - 1 - ((n - 1) % 2), 2 * Math.ceil((PER_BIT * Math.log2(n)) / 2));

/**
 * How many of a client's shares open its secret; the client itself holds one, too. More than half in any case, so that nobody can
 * be brought to open both of a client's secrets; among everybody two thirds.
 */
export const thresholdOf = (n: number): number =>
  degreeOf(n) === n - 1 ? Math.ceil((2 * n) / 3) : Math.floor((degreeOf(n) + 1) / 2) + 1;

/**
 * The neighbours of each of n clients: a circle in which everybody knows the nearest ones on both sides (a Harary graph).
 * @param places a random order of 0 .. n - 1: who sits where
 */
export function neighbours(places: readonly number[]): number[][] {
  const n = places.length;
  const degree = degreeOf(n);
  const out = Array.from({ length: n }, (): number[] => []);
  places.forEach((client, at) => {
    const own = out[client] as number[];
    if (degree === n - 1) own.push(...places.filter((other) => other !== client));
    else {
      for (let step = 1; step <= degree / 2; step++) {
        own.push(places[(at + step) % n] as number, places[(at - step + n) % n] as number);
      }
    }
    own.sort((a, b) => a - b);
  });
  return out;
}
