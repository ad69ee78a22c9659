import { normal, shuffle } from "../base/random";
import { PartitionError } from "./partition-error";

/** The two ways in which the literature shares labels out by Dirichlet's distribution. They are not the same for the same alpha. */

/**
 * Each client's labels in shares drawn from Dir(alpha * p), p the data's own shares (Hsu et al. 2019, arXiv 1909.06335, section 2), as
 * far as each label's examples last. With ten labels of one size an alpha of 0.1 is 0.01 for each: a client's main label holds 95 % of
 * its examples. The clients take one example each in turns, in another order every time, so that who comes last has no fewer labels.
 * @param piles examples by label, used up
 * @param sizes of the clients
 */
export function dirichletByClient(
  piles: number[][],
  sizes: readonly number[],
  alpha: number,
  random: () => number,
): number[][] {
  const total = piles.reduce((sum, { length }) => sum + length, 0);
  const prior = piles.map(({ length }) => length / total);
  const shares = sizes.map(() => prior.map((share) => (share > 0 ? logGamma(alpha * share, random) : -Infinity)));
  const parts = sizes.map((): number[] => []);
  let open = [...sizes.keys()];
  while (open.length > 0) {
    for (const client of shuffle(open, random)) {
      parts[client]?.push(piles[pick(piles, shares[client] ?? [], random)]?.pop() ?? 0);
    }
    open = open.filter((client) => (parts[client]?.length ?? 0) < (sizes[client] ?? 0));
  }
  return parts;
}

/** Draws of the shares until nobody has fewer than the least; NIID-Bench and Flower draw for as long as it takes. */
const DRAWS = 1000;
/** The fewest examples of a client, in NIID-Bench as in Flower. */
const LEAST = 10;

/**
 * Each label's examples in shares over the clients drawn from Dir(alpha), the same for all: a client that has its part of all examples
 * gets none of the labels that follow (Li et al. 2022, NIID-Bench, arXiv 2102.02079, section IV-A, and its partition `noniid-labeldir`;
 * Flower's DirichletPartitioner). With ten labels an alpha of 0.1 leaves a client's main label two thirds of its examples. The clients
 * are of very different sizes.
 * @param piles examples by label
 * @throws PartitionError when alpha is so small that some clients stay without examples
 */
export function dirichletByLabel(
  piles: readonly (readonly number[])[],
  clients: number,
  alpha: number,
  random: () => number,
): number[][] {
  const total = piles.reduce((sum, { length }) => sum + length, 0);
  const least = Math.max(1, Math.min(LEAST, Math.floor(total / clients / 2)));
  for (let draw = 0; draw < DRAWS; draw++) {
    const parts = Array.from({ length: clients }, (): number[] => []);
    for (const pile of shuffle([...piles], random)) {
      const logs = parts.map((part) => {
        const log = logGamma(alpha, random);
        return part.length < total / clients ? log : -Infinity;
      });
      const shares = relative(logs);
      const sum = shares.reduce((a, b) => a + b, 0);
      let before = 0;
      parts.forEach((part, client) => {
        const from = Math.floor((before / sum) * pile.length);
        before += shares[client] ?? 0;
        const to = client === clients - 1 ? pile.length : Math.floor((before / sum) * pile.length);
        part.push(...pile.slice(from, to));
      });
    }
    if (Math.min(...parts.map(({ length }) => length)) >= least) return shuffle(parts, random);
  }
  throw new PartitionError(
    `In ${DRAWS} draws of Dirichlet's shares some client had fewer than ${least} examples every time: choose a larger alpha or fewer clients.`,
  );
}

/** A label with examples left, by the logarithms of its shares; where all of those are used up, by what is left. */
function pick(piles: readonly number[][], logs: readonly number[], random: () => number): number {
  const open = relative(piles.map((pile, label) => (pile.length > 0 ? (logs[label] ?? -Infinity) : -Infinity)));
  const weights = open.some((share) => share > 0) ? open : piles.map(({ length }) => length);
  let left = random() * weights.reduce((a, b) => a + b, 0);
  let last = 0;
  for (const [label, weight] of weights.entries()) {
    if (weight <= 0) continue;
    last = label;
    left -= weight;
    if (left < 0) return label;
  }
  return last;
}

/** Shares by their logarithms, of which the largest becomes 1: that of a small alpha's is too small to be written otherwise. */
function relative(logs: readonly number[]): number[] {
  const most = Math.max(...logs);
  return logs.map((log) => (most === -Infinity ? 0 : Math.exp(log - most)));
}

/** The logarithm of a Gamma(shape, 1) number (Marsaglia and Tsang 2000; shapes below 1 by their section 6). */
function logGamma(shape: number, random: () => number): number {
  if (shape < 1) return logGamma(shape + 1, random) + Math.log(1 - random()) / shape;
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}
