import * as v from "valibot";
import { MODELS, summarize } from "../model/model";
import { needsInitialLoss } from "../federation/aggregation/registry";
import { planSchema, whole, type Plan } from "../federation/protocol";
import { seededRandom, shuffle } from "../base/random";
import type { LabConfig } from "./config";
import { countLabels, partition, type Shareable } from "./partition";

/** What a configuration and its seed decide before anything is trained: who has what, who is chosen, and what they are told. */

/** Who has what in a run, by index of the training examples. */
export interface Shares {
  train: Uint32Array[];
  heldOut: Uint32Array[];
}

const classesOf = ({ model }: LabConfig, data: Shareable): number => data.classes ?? summarize(MODELS[model]).classes;

/** @throws PartitionError */
export function shareOut(config: LabConfig, data: Shareable): Shares {
  const parts = partition(data, classesOf(config, data), config);
  // Somebody with a single example trains on it.
  const kept = parts.map((part) => Math.min(part.length - 1, Math.round(part.length * config.heldOut)));
  // Shards come sorted by label: every client shuffles its own before it holds some out.
  const mixed = parts.map((part, i) => shuffle([...part], seededRandom(config.seed + i)));
  return {
    train: mixed.map((part, i) => Uint32Array.from(part.slice(kept[i] ?? 0))),
    heldOut: mixed.map((part, i) => Uint32Array.from(part.slice(0, kept[i] ?? 0))),
  };
}

/** Who has how many of each label: clients x classes. */
export const picture = (config: LabConfig, data: Shareable): number[][] => {
  const classes = classesOf(config, data);
  return countLabels(partition(data, classes, config), data.labels, classes);
};

/** How many clients a round has, on the average where they are drawn one by one. */
export const expectedCohort = ({ schedule, clients, fraction }: LabConfig): number =>
  schedule ? Math.max(...schedule.map(({ length }) => length)) : Math.max(1, Math.round(fraction * clients));

export const allOf = ({ clients }: Pick<LabConfig, "clients">): number[] =>
  Array.from({ length: clients }, (_, i) => i);

/**
 * Draws some clients without replacement, one after the other, by their shares of the examples of those who are left; by the order of
 * exponential variates, which comes to the same (Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir).
 * @param examples of each client, 1 or more
 * @param random uniform in [0, 1)
 */
export const drawByShare = (examples: readonly number[], count: number, random: () => number): number[] =>
  examples
    .map((weight, client) => ({ client, at: -Math.log(1 - random()) / weight }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ client }) => client);

/** What draws the cohort of a round. */
export const drawsOf = ({ seed }: Pick<LabConfig, "seed">, round: number): (() => number) =>
  seededRandom(seed + Math.imul(round, 0x9e3779b9));

/** The places of those of a round's cohort who do not leave before their update. */
export function stayingOf(config: LabConfig, round: number, cohort: readonly number[]): number[] {
  const random = seededRandom(clientSeed(config.seed, round, -1));
  return [...cohort.keys()].filter(() => random() >= config.dropOut);
}

/** A seed of its own for the training in one place of a round's cohort. */
export const clientSeed = (seed: number, round: number, place: number): number =>
  (Math.imul(seed + 1, 0x85ebca6b) ^ Math.imul(round, 0x9e3779b9) ^ Math.imul(place + 1, 0xc2b2ae35)) >>> 1;

/** B, which a round bounds by what devices hold. With all that a client has, or more, an epoch is one step: FedSGD. */
export const batchSizeSchema = whole(1, 10_000);

const labPlanSchema = v.object({ ...planSchema.entries, batchSize: batchSizeSchema });

/** What the clients of a round are told to do, beside what a run's strategy tells them. */
export const planOf = (config: LabConfig, learningRate: number): Plan =>
  v.parse(labPlanSchema, { ...config, strategy: "none", learningRate, reportInitialLoss: needsInitialLoss(config) });
