import { normOf } from "../federation/privacy/clip";
import { clipOf, mostExamples } from "../federation/round/bounds";
import { atWorkSince, mostAtWork } from "../federation/round/life";
import { seededRandom } from "../base/random";
import { claimsOf } from "./attack";
import { allOf, clientSeed, drawsOf, type Shares } from "./cohort";
import type { Arrival } from "./collect";
import type { LabConfig } from "./config";
import { durationOf } from "./durations";
import type { SimulatedRound } from "./simulated-round";

/**
 * The clients of an asynchronous run (FedBuff, Nguyen et al. 2022, arXiv 2106.06639, algorithm 1): as on the edge, whoever checks in trains
 * at once while there is a place, from the checkpoint that is the last one then, and its update counts in whatever round is open when it
 * comes. Here every client that has nothing to do checks in all the time, and time is simulated: see durations.ts.
 */

/** A training that has begun and whose update has not come. */
export interface AtWork {
  id: string;
  client: number;
  /** Where it has begun: the round, the version of the weights, and their learning rate. */
  round: number;
  base: number;
  learningRate: number;
  /** Of the training's own randomness. */
  seed: number;
  /** Simulated milliseconds; it ends never where its client leaves, which tells nobody. */
  begun: number;
  ends: number;
}

/** What an asynchronous run needs to go on after a round. */
export interface AsyncSeries {
  atWork: AtWork[];
  /** Number of the weights that clients get, and the last number that a candidate has got: as on the edge, none is used twice. */
  version: number;
  last: number;
  /** The weights of each version from which somebody trains. */
  bases: Map<number, Float32Array<ArrayBuffer>>;
}

export const firstSeries = (weights: Float32Array<ArrayBuffer>): AsyncSeries => ({
  atWork: [],
  version: 0,
  last: 0,
  bases: new Map([[0, weights]]),
});

export interface Gathered {
  /** The updates that count, in the order in which they come. */
  arrivals: Arrival[];
  /** Trainings that have begun in this round. */
  begun: number;
  /** Who is at work when it is over. */
  atWork: AtWork[];
}

/**
 * Lets a round take updates until it takes no more. Which those are is known before anybody has trained: time does not hang on what is
 * learned.
 * @param round the open one, of which nothing has happened yet
 */
export function gather(series: AsyncSeries, round: SimulatedRound, config: LabConfig, shares: Shares): Gathered {
  const { version, bases } = series;
  const { number, config: rules } = round.life;
  const random = drawsOf(config, number);
  const claimOf = (client: number): number => claimsOf(config, shares, [client])[0] as number;
  const norms = new Map([...bases].map(([base, weights]) => [base, normOf(weights)]));
  // Those whose base has become too old are no longer waited for.
  let atWork = series.atWork.filter(({ base }) => base >= version - rules.maxStaleness);
  for (const { id, round: assigned } of atWork) round.carry(id, assigned);
  /** What those say they have whose update counts here, or will if it comes in time. */
  const claims = new Map<string, number>();
  /** Nobody begins twice in a round, which has no other way to tell that a client is the same. */
  const known = new Set<number>();
  const arrivals: Arrival[] = [];
  let begun = 0;

  const fill = (): void => {
    const isBusy = ({ begun }: AtWork): boolean => begun >= atWorkSince(rules, round.now);
    while (atWork.filter(isBusy).length < mostAtWork(rules)) {
      const busy = new Set(atWork.map(({ client }) => client));
      const idle = allOf(config).filter((client) => !known.has(client) && !busy.has(client));
      const client = idle[Math.floor(random() * idle.length)];
      if (client === undefined) return;
      const [place, seed, id] = [begun, clientSeed(config.seed, number, begun), `${number}/${begun}`];
      const leaves = seededRandom(seed ^ 0x1ea5)() < config.dropOut;
      const ends = leaves ? Infinity : round.now + durationOf(config, client, number, place);
      const { learningRate } = rules;
      atWork.push({ id, client, round: number, base: version, learningRate, seed, begun: round.now, ends });
      begun += 1;
      known.add(client);
      claims.set(id, claimOf(client));
      round.join(id);
    }
  };

  const arrive = ({ id, client, base, learningRate, seed, ends }: AtWork): void => {
    atWork = atWork.filter((one) => one.id !== id);
    claims.set(id, claimOf(client));
    if (!round.take(id, ends)) return;
    const weights = bases.get(base);
    if (!weights) throw new Error(`The weights of version ${base} are gone.`);
    arrivals.push({
      client,
      seed,
      weights,
      learningRate,
      claimed: claimOf(client),
      most: mostExamples(rules, [...claims.values()]),
      clip: clipOf(rules, norms.get(base) ?? null),
      staleness: version - base,
    });
  };

  while (round.life.state === "training") {
    fill();
    const first = atWork.reduce<AtWork | undefined>((a, b) => (a && a.ends <= b.ends ? a : b), undefined);
    // Who is silent for half of a round keeps nobody out any more, a moment after that.
    const freed = atWork.map((one) => one.begun + 500 * rules.deadlineSeconds + 1).filter((time) => time > round.now);
    const next = Math.min(...freed, round.life.deadline ?? Infinity);
    if (first && first.ends <= next) arrive(first);
    else round.at(next);
  }
  return { arrivals, begun, atWork: atWork.filter(({ id }) => round.isTraining(id)) };
}

/** The series after a round. @param candidate what it has made, and whether clients get that from now on; null where it has made nothing */
export function continued(
  { version, last, bases }: AsyncSeries,
  atWork: AtWork[],
  candidate: { weights: Float32Array<ArrayBuffer>; published: boolean } | null,
): AsyncSeries {
  const number = candidate ? last + 1 : last;
  const current = candidate?.published ? number : version;
  const all = new Map(bases);
  if (candidate?.published) all.set(current, candidate.weights);
  const used = new Set([current, ...atWork.map(({ base }) => base)]);
  return { atWork, version: current, last: number, bases: new Map([...all].filter(([base]) => used.has(base))) };
}
