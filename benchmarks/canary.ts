import { WeightedSum } from "../src/federation/fedavg";
import type { ModelSummary } from "../src/model/model";
import { deltaFor, epsilon } from "../src/federation/privacy/accountant";
import { nextClip } from "../src/federation/privacy/adaptive-clip";
import { clipTo, normOf } from "../src/federation/privacy/clip";
import { belowNoise, shareOfNoise } from "../src/federation/privacy/distributed";
import { toMean } from "../src/federation/privacy/mechanism";
import { deviationOfShares, noiseOf } from "../src/federation/privacy/noise-scale";
import { DEFAULT_ROUND } from "../src/federation/default-round";
import type { RoundConfig } from "../src/federation/protocol";
import { drawCohort } from "../src/federation/round/draw";
import { beginRound, quorumOf } from "../src/federation/round/life";
import { transition, type RoundEffect, type RoundEvent } from "../src/federation/round/machine";
import { noiseRuleOf } from "../src/federation/round/rule";
import { fromRing, ringOf, RingSum, toRing, type RingFacts } from "../src/federation/secagg/ring";
import { linearWeight } from "../src/federation/aggregation/weights";
import { clopperPearson } from "./clopper-pearson";

/**
 * An audit of rounds with noise that knows no formula of the accountant: the mechanism itself is run many times with one client, the
 * canary, and as often without, and how well somebody who sees what is published tells one from the other is a lower bound on epsilon
 * (Jagielski, Ullman, Oprea 2020, arXiv 2006.07709; Nasr et al. 2021, arXiv 2101.04535), with Clopper and Pearson's limits. A bound
 * above the epsilon that the pages show would prove them wrong.
 */

/** What the edge does in a round; a test puts its old faults in their place. */
export const RULES = { transition, noiseRuleOf, toMean, linearWeight, nextClip };
export type Rules = typeof RULES;

export interface AuditedSeries {
  goalCount: number;
  /** Clients beside the canary that wait for each round, and send an update when they are drawn. */
  others: number;
  fraction: number;
  noise: number;
  updateClip: number;
  clipQuantile: number;
  secure: boolean;
  codec: "int8" | "int4";
  rounds: number;
  /** Whether the canary's norm lies above any clip, or is just the first one. */
  isLoud: boolean;
  /** What the others send: nothing, or the opposite of the canary. */
  against: boolean;
}

/** As few numbers as a ring can have: the canary's update lies in one of them. */
const MODEL: ModelSummary = { parameters: 16, inputs: 0, classes: 0, tensors: [] } as unknown as ModelSummary;
const PLACE = 5;
/** Norm of the canary's update, above any clip. */
const LOUD = 1e7;

/** What somebody sees of a series: how far the mean went the canary's way, in clips, and what the clip did. */
export type Seen = [moved: number, clips: number];

/** Runs a series of rounds. */
export function play(series: AuditedSeries, withCanary: boolean, rules: Rules): Seen {
  const config = { ...series };
  const canary = new Float32Array(MODEL.parameters);
  canary[PLACE] = config.isLoud ? LOUD : config.updateClip;
  const other = new Float32Array(MODEL.parameters);
  if (config.against) other[PLACE] = -LOUD;
  const seen: Seen = [0, 0];
  for (let round = 1; round <= config.rounds; round++) {
    const clip = config.updateClip;
    // The canary comes first. With secure aggregation who takes part is no secret, and what is hidden is what it sends.
    const others = Array.from({ length: config.others }, () => other);
    const stranger = config.secure ? [new Float32Array(MODEL.parameters)] : [];
    const counted = countedOf([...(withCanary ? [canary] : stranger), ...others], config, rules);
    if (!counted) continue;
    const { mean, below } = config.secure ? sumInRing(counted, config, round) : sumInClear(counted, config, rules);
    seen[0] += ((mean[PLACE] as number) * config.goalCount) / clip;
    if (config.clipQuantile > 0) {
      const told = { below, counted: counted.length, expected: config.goalCount, isNoisy: config.secure };
      config.updateClip = rules.nextClip(clip, told, config.clipQuantile);
      seen[1] += Math.log(config.updateClip / clip);
    }
  }
  return seen;
}

/**
 * Takes a round through its life with these clients waiting, each of which sends its update as soon as it is drawn; where the goal is
 * higher than their number, others wait as well, who leave without a word.
 * @returns the updates that are averaged; undefined of a round that comes to nothing
 * @throws Error where the round is never drawn: whether it is must not hang on the canary
 */
function countedOf(updates: Float32Array[], config: AuditedSeries, rules: Rules): Float32Array[] | undefined {
  let life = beginRound(1, roundOf(config), 0);
  const send = (event: RoundEvent, now = 0): RoundEffect[] => {
    const { state, effects } = rules.transition(life, event, now);
    life = state;
    return effects;
  };
  const silent = Math.max(0, config.goalCount - updates.length);
  const waiting = [...updates, ...Array.from({ length: config.secure ? silent : 0 }, () => undefined)];
  const draw = send({ type: "waiting", clients: waiting.length }).find(({ effect }) => effect === "draw");
  if (draw?.effect !== "draw") throw new Error(`${waiting.length} clients are too few for a draw.`);
  const drawn = drawCohort(waiting, draw.draw, Math.random);
  send({ type: "drawn", members: drawn.length });
  const counted: Float32Array[] = [];
  for (const update of drawn) {
    // It takes no more.
    if (life.state !== "training") break;
    if (!update) continue;
    const member = { id: String(counted.length), round: life.number };
    send({ type: "uploaded", member: { ...member, state: "training" } });
    send({ type: "counted", member: { ...member, state: "uploaded" } });
    counted.push(update);
  }
  if (life.state === "training") send({ type: "time" }, life.deadline ?? 0);
  return life.state === "aggregating" ? counted : undefined;
}

/** Of a series, what decides about a round's life. */
const roundOf = (series: AuditedSeries): RoundConfig => {
  const { goalCount, fraction, noise, secure, updateClip, clipQuantile, codec } = series;
  return {
    ...DEFAULT_ROUND,
    ...{ goalCount, fraction, noise, secure, updateClip, clipQuantile, codec, overSelection: 1, selectionSeconds: 0 },
    ...{ prior: 0, rounds: 1 },
  };
};

function sumInClear(counted: Float32Array[], config: AuditedSeries, rules: Rules) {
  const sum = new WeightedSum(MODEL.parameters);
  let below = 0;
  for (const update of counted) {
    const norm = normOf(update);
    if (norm <= config.updateClip) below += 1;
    const facts = { examples: 1, norm, initialLoss: null, staleness: 0 };
    const { weight, denominator } = rules.linearWeight(facts, roundOf(config), config.updateClip);
    sum.addPart(0, update, weight);
    sum.addTotals({ count: 1, examples: 1, denominator });
  }
  const rule = rules.noiseRuleOf(config);
  rules.toMean(sum.sum, rule?.denominator ?? sum.totals.denominator, rule);
  return { mean: sum.sum, below };
}

function sumInRing(counted: Float32Array[], config: AuditedSeries, rotation: number) {
  const { updateClip: clip, codec, clipQuantile, goalCount } = config;
  const fewest = quorumOf(config);
  const ring = ringOf(MODEL, {
    codec,
    cohort: counted.length,
    clip,
    deviation: shareOfNoise(noiseOf(config), clip, fewest, codec),
    equally: true,
    below: clipQuantile > 0 ? belowNoise(deviationOfShares(goalCount), fewest) : undefined,
  });
  const sum = new RingSum(ring.length);
  for (const update of counted) {
    const { delta, isBelow } = clipTo(update, clip);
    const facts: RingFacts = { ...NOTHING, below: isBelow ? 1 : 0 };
    sum.addPart(0, toRing(ring, delta, facts, { seed: 1, rotation }));
  }
  const { mean, facts } = fromRing(ring, sum.sum, rotation);
  return { mean: mean.map((value) => (value * facts.weight) / goalCount), below: facts.below };
}
const NOTHING = { weight: 1, trainLoss: 0, trainAccuracy: 0, evalExamples: 0, evalLoss: 0, evalAccuracy: 0 };

export interface Audit {
  /** What the pages show. */
  published: number;
  /** Epsilon is above this, but for once in a hundred audits. */
  atLeast: number;
  ratio: number;
  runs: number;
}

/** Audits a series. @param runs with the canary, and as many without: half of them teach the attacker, half are judged */
export function audit(series: AuditedSeries, runs: number, rules: Rules = RULES): Audit {
  const delta = deltaFor(series.others + 1);
  const { noise, rounds } = series;
  // As the Coordinator tells of its rounds: see RoundStore.mechanisms.
  const published = epsilon([{ sampling: series.secure ? 1 : series.fraction, noise, rounds }], delta);
  const half = Math.floor(runs / 2);
  const some = (withCanary: boolean): Seen[] => Array.from({ length: half }, () => play(series, withCanary, rules));
  const [lessonIn, lessonOut] = [some(true), some(false)];
  const score = teach(lessonIn, lessonOut);
  const guess = bestGuess(lessonIn.map(score), lessonOut.map(score), delta);
  const atLeast = guess.boundOf(some(true).map(score), some(false).map(score));
  return { published, atLeast, ratio: atLeast / published, runs };
}

/** Fisher's linear discriminant: what the attacker learns from runs of both kinds. */
function teach(inside: Seen[], outside: Seen[]): (seen: Seen) => number {
  const meanOf = (all: Seen[], i: 0 | 1): number => all.reduce((sum, seen) => sum + seen[i], 0) / all.length;
  const middle = [inside, outside].map((all) => [meanOf(all, 0), meanOf(all, 1)] as const);
  const spread = (i: 0 | 1, j: 0 | 1): number =>
    [inside, outside].reduce((sum, all, k) => {
      const [a, b] = [middle[k]?.[i] ?? 0, middle[k]?.[j] ?? 0];
      return sum + all.reduce((part, seen) => part + (seen[i] - a) * (seen[j] - b), 0) / all.length;
    }, 0);
  const [xx, xy, yy] = [spread(0, 0), spread(0, 1), spread(1, 1)];
  const [dx, dy] = [0, 1].map((i) => (middle[0]?.[i] ?? 0) - (middle[1]?.[i] ?? 0)) as [number, number];
  const determinant = xx * yy - xy * xy;
  if (yy === 0 || determinant <= 1e-12 * xx * yy) return (seen) => seen[0] * Math.sign(dx);
  const [a, b] = [(yy * dx - xy * dy) / determinant, (xx * dy - xy * dx) / determinant];
  return (seen) => a * seen[0] + b * seen[1];
}

/** Of an audit, the chance to be wrong. */
const ERROR = 0.01;

/** How many of sorted numbers lie above a threshold. */
function above(sorted: Float64Array, threshold: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) > threshold) high = middle;
    else low = middle + 1;
  }
  return sorted.length - low;
}

/** The guess by one threshold that bounds epsilon best in the runs that the attacker learns from; either answer can be the telling one. */
function bestGuess(inside: number[], outside: number[], delta: number) {
  const boundOf = (threshold: number, isAbove: boolean, yes: Float64Array, no: Float64Array): number => {
    const [telling, silent] = isAbove ? [yes, no] : [no, yes];
    const hits = (of: Float64Array): number => (isAbove ? above(of, threshold) : of.length - above(of, threshold));
    const { low } = clopperPearson(hits(telling), telling.length, ERROR);
    const { high } = clopperPearson(hits(silent), silent.length, ERROR);
    return low > delta ? Math.max(0, Math.log((low - delta) / high)) : 0;
  };
  const [yes, no] = [Float64Array.from(inside).sort(), Float64Array.from(outside).sort()];
  const all = Float64Array.from([...inside, ...outside]).sort();
  let best = { threshold: 0, isAbove: true, bound: -1 };
  for (let i = 0; i < 200; i++) {
    // Closer together towards both ends, where the telling thresholds are.
    const place = Math.floor(((i + 0.5) / 200) ** 2 * (all.length / 2));
    for (const [threshold, isAbove] of [
      [all[all.length - 1 - place] ?? 0, true],
      [all[place] ?? 0, false],
    ] as const) {
      const bound = boundOf(threshold, isAbove, yes, no);
      if (bound > best.bound) best = { threshold, isAbove, bound };
    }
  }
  return {
    boundOf: (yes: number[], no: number[]) =>
      boundOf(best.threshold, best.isAbove, Float64Array.from(yes).sort(), Float64Array.from(no).sort()),
  };
}

export const SERIES: AuditedSeries = {
  goalCount: 3,
  others: 3,
  fraction: 1,
  noise: 1,
  updateClip: 1,
  clipQuantile: 0,
  secure: false,
  codec: "int8",
  rounds: 1,
  isLoud: true,
  against: false,
};

/** What `npm run bench:audit` looks at. */
export const AUDITED: Record<string, AuditedSeries> = {
  "plain Gaussian": SERIES,
  "sampled, a large cohort": { ...SERIES, goalCount: 99, others: 199, fraction: 0.5, rounds: 2, noise: 1.5 },
  "clip that follows, a small cohort": { ...SERIES, goalCount: 11, others: 11, clipQuantile: 0.5, rounds: 2 },
  "clip that follows, a large cohort": {
    ...SERIES,
    goalCount: 99,
    others: 99,
    clipQuantile: 0.5,
    rounds: 4,
    noise: 2,
  },
  "noise of the clients, a small cohort": { ...SERIES, goalCount: 6, others: 2, secure: true },
  "noise of the clients, clip that follows, a large cohort": {
    ...SERIES,
    goalCount: 60,
    others: 29,
    secure: true,
    clipQuantile: 0.5,
    rounds: 2,
    codec: "int4",
  },
};
