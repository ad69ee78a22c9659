import { normal, seededRandom, shuffle } from "../base/random";
import type { LabConfig } from "./config";

export type PartitionRule = Pick<
  LabConfig,
  "clients" | "partition" | "alpha" | "shardsPerClient" | "sizeSpread" | "examplesPerClient" | "seed"
>;

/** The examples cannot be shared out as asked. */
export class PartitionError extends Error {
  override readonly name = "PartitionError";
}

/**
 * Shares examples out to clients: the indices that each has. None is given twice, and every client has at least one.
 *
 * - `iid`: a shuffled deck.
 * - `dirichlet`: each client's labels in shares drawn from Dir(alpha * p), p the data's own shares (Hsu et al. 2019,
 *   arXiv 1909.06335, section 2), as far as each label's examples last.
 * - `shards`: the data sorted by label and cut into `clients * shardsPerClient` pieces, dealt at random (McMahan et al. 2017,
 *   section 3, the "pathological non-IID partition").
 *
 * @param labels of all examples
 * @param classes how many labels there are
 * @throws PartitionError when there are too few examples
 */
export function partition(labels: Uint8Array, classes: number, rule: PartitionRule): Uint32Array[] {
  const { clients, examplesPerClient, sizeSpread, shardsPerClient } = rule;
  const random = seededRandom(rule.seed ^ 0x5eed);
  const wanted = examplesPerClient === 0 ? labels.length : clients * examplesPerClient;
  if (labels.length < clients || wanted > labels.length) {
    throw new PartitionError(
      `${Math.max(wanted, clients)} examples are asked for, and there are ${labels.length}: ask for fewer clients or fewer examples of each.`,
    );
  }
  const order = shuffle(
    Array.from(labels, (_, i) => i),
    random,
  );
  if (rule.partition === "shards") {
    const shards = clients * shardsPerClient;
    if (wanted < shards) {
      throw new PartitionError(`${wanted} examples do not make ${shards} shards: ask for fewer shards of each client.`);
    }
    // Array.sort is stable: within a label the shuffled order stays.
    const sorted = order.slice(0, wanted).sort((a, b) => (labels[a] ?? 0) - (labels[b] ?? 0));
    const deck = shuffle(
      Array.from({ length: shards }, (_, i) => i),
      random,
    );
    const cut = (shard: number): number => Math.floor((shard * wanted) / shards);
    return Array.from({ length: clients }, (_, client) =>
      Uint32Array.from(
        deck
          .slice(client * shardsPerClient, (client + 1) * shardsPerClient)
          .flatMap((shard) => sorted.slice(cut(shard), cut(shard + 1))),
      ),
    );
  }
  const sizes = sizesOf(clients, wanted, sizeSpread, random);
  if (rule.partition === "iid") {
    let at = 0;
    return sizes.map((size) => Uint32Array.from(order.slice(at, (at += size))));
  }
  const piles = Array.from({ length: classes }, (): number[] => []);
  for (const example of order) piles[labels[example] ?? 0]?.push(example);
  const prior = piles.map(({ length }) => length / labels.length);
  return sizes.map((size) => {
    const shares = prior.map((share) => (share > 0 ? gamma(rule.alpha * share, random) : 0));
    return Uint32Array.from({ length: size }, () => piles[pick(piles, shares, random)]?.pop() ?? 0);
  });
}

/** Sizes of all clients, at least 1 and together `total`: alike, or log-normal with this spread. */
function sizesOf(clients: number, total: number, spread: number, random: () => number): number[] {
  const weights = Array.from({ length: clients }, () => Math.exp(spread * normal(random)));
  const sum = weights.reduce((a, b) => a + b, 0);
  // One for everybody, and the rest by weight, each rounded so that the sum comes out.
  let before = 0;
  let given = 0;
  return weights.map((weight) => {
    before += weight;
    const upTo = Math.round((before / sum) * (total - clients));
    const size = 1 + upTo - given;
    given = upTo;
    return size;
  });
}

/** A label with examples left, by the shares; where those labels are used up, by what is left. */
function pick(piles: readonly number[][], shares: readonly number[], random: () => number): number {
  const open = piles.map((pile, label) => (pile.length > 0 ? (shares[label] ?? 0) : 0));
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

/** A Gamma(shape, 1) number (Marsaglia and Tsang 2000; shapes below 1 by their section 6). */
function gamma(shape: number, random: () => number): number {
  // The smallest shapes underflow to 0 for every label: then at least one of them has to win.
  if (shape < 1) return Math.max(Number.MIN_VALUE, gamma(shape + 1, random) * (1 - random()) ** (1 / shape));
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** How many examples of each label each client has: clients x classes. */
export function countLabels(parts: readonly Uint32Array[], labels: Uint8Array, classes: number): number[][] {
  return parts.map((part) => {
    const counts = Array<number>(classes).fill(0);
    for (const example of part) {
      const label = labels[example] ?? 0;
      counts[label] = (counts[label] ?? 0) + 1;
    }
    return counts;
  });
}
