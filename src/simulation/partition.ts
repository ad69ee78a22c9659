import { normal, seededRandom, shuffle } from "../base/random";
import type { LabConfig } from "./config";
import { dirichletByClient, dirichletByLabel } from "./dirichlet";
import { PartitionError } from "./partition-error";

export type PartitionRule = Pick<
  LabConfig,
  | "clients"
  | "partition"
  | "alpha"
  | "labelsPerClient"
  | "shardsPerClient"
  | "sizeSpread"
  | "sizePower"
  | "examplesPerClient"
  | "seed"
>;

/** What decides who may have an example. */
export interface Shareable {
  labels: Uint8Array;
  /** Whose each is, where the data say so; 0: nobody's. */
  clients?: Uint32Array | undefined;
  /** How many labels there are, where they are the data's own. */
  classes?: number | undefined;
}

/**
 * Shares examples out to clients: the indices that each has. None is given twice, and every client has at least one. Which of the
 * clients comes first or last makes no difference to how many examples and labels it can expect, but in `labels` where clients are no
 * multiple of the labels: there some labels have one owner more.
 *
 * - `iid`: a shuffled deck.
 * - `dirichlet`, `dirichlet-symmetric`: see dirichlet.ts.
 * - `labels`: `labelsPerClient` labels each, see {@link byLabels}.
 * - `shards`: the data sorted by label and cut into `clients * shardsPerClient` pieces, dealt at random (McMahan et al. 2017,
 *   section 3, the "pathological non-IID partition").
 * - `natural`: everybody has what the data say is theirs (LEAF, Caldas et al. 2018, arXiv 1812.01097); as many of them as there are to
 *   be clients, drawn at random. What is nobody's nobody has.
 *
 * Where the sizes are not given by that, they are alike, log-normal, or follow a power law.
 * @param classes how many labels there are
 * @throws PartitionError when there are too few examples, or labels
 */
export function partition({ labels, clients: owners }: Shareable, classes: number, rule: PartitionRule): Uint32Array[] {
  const { clients, examplesPerClient } = rule;
  const random = seededRandom(rule.seed ^ 0x5eed);
  if (rule.partition === "natural") return natural(owners, rule, random);
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
  if (rule.partition === "shards") return shards(labels, order.slice(0, wanted), rule, random);
  if (rule.partition === "labels") return byLabels(pilesOf(labels, order.slice(0, wanted), classes), rule, random);
  if (rule.partition === "dirichlet-symmetric") {
    const piles = pilesOf(labels, order.slice(0, wanted), classes);
    return dirichletByLabel(piles, clients, rule.alpha, random).map((part) => Uint32Array.from(part));
  }
  const sizes = sizesOf(rule, wanted, random);
  if (rule.partition === "iid") {
    let at = 0;
    return sizes.map((size) => Uint32Array.from(order.slice(at, (at += size))));
  }
  const parts = dirichletByClient(pilesOf(labels, order, classes), sizes, rule.alpha, random);
  return parts.map((part) => Uint32Array.from(part));
}

function pilesOf(labels: Uint8Array, examples: readonly number[], classes: number): number[][] {
  const piles = Array.from({ length: classes }, (): number[] => []);
  for (const example of examples) piles[labels[example] ?? 0]?.push(example);
  return piles;
}

/**
 * Every client has as many labels, and who have a label get parts of its examples that differ by one at most (Li et al. 2022,
 * NIID-Bench, arXiv 2102.02079, section IV-A, "#C = k", and the partition `noniid-#label` of its utils.py): client i has label
 * `i mod classes`, its others are drawn at random. A label that nobody has is given to nobody.
 * @param piles examples by label
 */
function byLabels(
  piles: readonly (readonly number[])[],
  { clients, labelsPerClient }: PartitionRule,
  random: () => number,
): Uint32Array[] {
  const classes = piles.length;
  if (labelsPerClient > classes) {
    throw new PartitionError(`There are ${classes} labels: ask for as many of each client at most.`);
  }
  const owned = Array.from({ length: clients }, (_, client) => {
    const first = client % classes;
    const others = [...piles.keys()].filter((label) => label !== first);
    return [first, ...shuffle(others, random).slice(0, labelsPerClient - 1)];
  });
  const parts = owned.map((): number[] => []);
  for (const [label, pile] of piles.entries()) {
    const owners = parts.filter((_, client) => owned[client]?.includes(label));
    const cut = (owner: number): number => Math.floor((owner * pile.length) / owners.length);
    owners.forEach((part, owner) => part.push(...pile.slice(cut(owner), cut(owner + 1))));
  }
  if (parts.some((part) => part.length === 0)) {
    throw new PartitionError("Some label has fewer examples than clients that are to have it: ask for fewer clients.");
  }
  return parts.map((part) => Uint32Array.from(part));
}

function shards(
  labels: Uint8Array,
  examples: number[],
  { clients, shardsPerClient }: PartitionRule,
  random: () => number,
): Uint32Array[] {
  const wanted = examples.length;
  const count = clients * shardsPerClient;
  if (wanted < count) {
    throw new PartitionError(`${wanted} examples do not make ${count} shards: ask for fewer shards of each client.`);
  }
  // Array.sort is stable: within a label the shuffled order stays.
  const sorted = examples.sort((a, b) => (labels[a] ?? 0) - (labels[b] ?? 0));
  const deck = shuffle(
    Array.from({ length: count }, (_, i) => i),
    random,
  );
  const cut = (shard: number): number => Math.floor((shard * wanted) / count);
  return Array.from({ length: clients }, (_, client) =>
    Uint32Array.from(
      deck
        .slice(client * shardsPerClient, (client + 1) * shardsPerClient)
        .flatMap((shard) => sorted.slice(cut(shard), cut(shard + 1))),
    ),
  );
}

function natural(
  owners: Uint32Array | undefined,
  { clients, examplesPerClient }: PartitionRule,
  random: () => number,
): Uint32Array[] {
  if (!owners) {
    throw new PartitionError(
      "These data do not say whose each example is: a CSV says it in a column named client, or in one that is named when it is read; a folder in one level above the labels'.",
    );
  }
  const byOwner = new Map<number, number[]>();
  owners.forEach((owner, example) => {
    if (owner === 0) return;
    const own = byOwner.get(owner);
    if (own) own.push(example);
    else byOwner.set(owner, [example]);
  });
  if (byOwner.size < clients) {
    throw new PartitionError(`These data are of ${byOwner.size} clients: ask for as many at most.`);
  }
  return shuffle([...byOwner.values()], random)
    .slice(0, clients)
    .map((own) => Uint32Array.from(shuffle(own, random).slice(0, examplesPerClient || own.length)));
}

/**
 * Sizes of all clients, at least 1 and together `total`: alike; log-normal with a spread; or by a power law, where the one of rank r has
 * `r ^ -power` of the largest's (Zipf 1949), whoever that is.
 */
function sizesOf({ clients, sizeSpread, sizePower }: PartitionRule, total: number, random: () => number): number[] {
  const ranked = Array.from({ length: clients }, (_, i) => (i + 1) ** -sizePower);
  const weights = sizePower > 0 ? shuffle(ranked, random) : ranked.map(() => Math.exp(sizeSpread * normal(random)));
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
