import { WeightedSum } from "../src/federation/fedavg";
import { isRingCodec } from "../src/federation/codecs/registry";
import type { ModelSummary } from "../src/model/model";
import { deltaFor, epsilon } from "../src/federation/privacy/accountant";
import { clipTo, normOf } from "../src/federation/privacy/clip";
import { toMean } from "../src/federation/privacy/mechanism";
import { DEFAULT_ROUND } from "../src/federation/default-round";
import type { Member, Round, RoundConfig } from "../src/federation/protocol";
import { drawCohort } from "../src/federation/round/draw";
import { beginRound, quorumOf, type MemberState, type RoundLife } from "../src/federation/round/life";
import { transition, type RoundEffect, type RoundEvent } from "../src/federation/round/machine";
import { noiseRuleOf } from "../src/federation/round/rule";
import { ringFactsOf } from "../src/federation/round/secure";
import { afterRound } from "../src/federation/round/series";
import { NO_MEANS, shown } from "../src/federation/round/shown";
import { fromRing, ringOf, RingSum, toRing, type RingFacts } from "../src/federation/secagg/ring";
import { linearWeight } from "../src/federation/aggregation/weights";
import { clopperPearson } from "./clopper-pearson";

/**
 * An audit of rounds with noise that knows no formula of the accountant: the mechanism itself is run many times with one client, the
 * canary, and as often without, and how well somebody who sees what is published tells one from the other is a lower bound on epsilon
 * (Jagielski, Ullman, Oprea 2020, arXiv 2006.07709; Nasr et al. 2021, arXiv 2101.04535), with Clopper and Pearson's limits. A bound
 * above the epsilon that the pages show would prove them wrong.
 */

/** What the edge does in a round and tells of it; a test puts its old faults in their place. */
export const RULES = { transition, afterRound, shown, noiseRuleOf, toMean, linearWeight };
export type Rules = typeof RULES;

export interface AuditedSeries {
  goalCount: number;
  /** Clients beside the canary that wait for each round. */
  others: number;
  /** With which probability each of them leaves without a word. */
  absent: number;
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

/** What somebody sees of a series. */
export interface Seen {
  /** How far the means went the canary's way, in clips, and what the clip did. */
  numbers: [moved: number, clips: number];
  /** All else that is told of its rounds, in one word: their states, times, counts and members. */
  events: string;
}

/** Runs a series of rounds. @param first what its first round says */
function play(series: AuditedSeries, first: RoundConfig, withCanary: boolean, rules: Rules): Seen {
  let config: RoundConfig | null = first;
  const canary = new Float32Array(MODEL.parameters);
  canary[PLACE] = series.isLoud ? LOUD : series.updateClip;
  const other = new Float32Array(MODEL.parameters);
  if (series.against) other[PLACE] = -LOUD;
  const seen: Seen = { numbers: [0, 0], events: "" };
  for (let number = 1; config && number <= series.rounds; number++) {
    const { updateClip: clip, goalCount } = config;
    const others = Array.from({ length: series.others }, () => (Math.random() < series.absent ? undefined : other));
    // The canary comes first. With secure aggregation who takes part is no secret, and what is hidden is what it sends.
    const stranger = series.secure ? [new Float32Array(MODEL.parameters)] : [];
    const round: PlayedRound = new PlayedRound(number, config, rules);
    const { mean, below } = round.run([...(withCanary ? [canary] : stranger), ...others]);
    if (mean) seen.numbers[0] += ((mean[PLACE] as number) * goalCount) / clip;
    config = rules.afterRound(config, { losses: [], counted: round.counted.length, below }).next;
    if (config) seen.numbers[1] += Math.log(config.updateClip / clip);
    seen.events += round.told();
  }
  return seen;
}

/** Of a series, what decides about its rounds' lives; one more than are seen, for the clip that the last one leaves. */
const roundOf = (series: AuditedSeries): RoundConfig => {
  const { goalCount, fraction, noise, secure, updateClip, clipQuantile, codec, rounds } = series;
  return {
    ...DEFAULT_ROUND,
    ...{ goalCount, fraction, noise, secure, updateClip, clipQuantile, codec, overSelection: 1, selectionSeconds: 0 },
    prior: 0,
    rounds: rounds + 1,
    evaluators: 0,
    agreement: 0,
  };
};

/** Milliseconds after the draw at which updates come. */
const COMES_AFTER = 1000;

/** One round, as the edge's machine has it. */
class PlayedRound {
  #life: RoundLife;
  #now = 0;
  #merges = false;
  readonly #members: MemberState[] = [];
  readonly counted: Float32Array[] = [];

  constructor(
    readonly number: number,
    readonly config: RoundConfig,
    private readonly rules: Rules,
  ) {
    this.#life = beginRound(number, config, 0);
  }

  /**
   * Takes the round through its life with these clients waiting, of which each sends its update some time after it is drawn, or nothing;
   * under secure aggregation others wait as well, where the goal is higher than their number, and leave without a word.
   * @returns what is published, if anything is
   * @throws Error where the round is never drawn: whether it is must not hang on the canary
   */
  run(clients: (Float32Array | undefined)[]): { mean: Float64Array | null; below: number } {
    const { config } = this;
    const silent = config.secure ? Math.max(0, config.goalCount - clients.length) : 0;
    const waiting = [...clients, ...Array.from({ length: silent }, () => undefined)];
    const draw = this.#send({ type: "waiting", clients: waiting.length }).find(({ effect }) => effect === "draw");
    if (draw?.effect !== "draw") throw new Error(`${waiting.length} clients are too few for a draw.`);
    const drawn = drawCohort(waiting, draw.draw, Math.random);
    for (const _ of drawn) this.#members.push("training");
    this.#send({ type: "drawn", members: drawn.length });
    this.#now += COMES_AFTER;
    for (const [at, update] of drawn.entries()) {
      // It takes no more.
      if (this.#life.state !== "training") break;
      if (!update) continue;
      const { number: round } = this;
      this.#send({ type: "uploaded", member: { id: String(at), round, state: "training" } });
      this.#send({ type: "counted", member: { id: String(at), round, state: "uploaded" } });
      this.counted.push(update);
    }
    if (this.#life.state === "training") {
      this.#now = this.#life.deadline ?? NaN;
      this.#send({ type: "time" });
    }
    if (!this.#merges) return { mean: null, below: 0 };
    if (config.secure && this.counted.length < quorumOf(config)) {
      // As the store of a secure round has it: no sum is opened of fewer.
      this.#send({ type: "failed", reason: "Too few have sent a vector.", lasting: true });
      return { mean: null, below: 0 };
    }
    const result = config.secure
      ? sumInRing(this.counted, config, this.number)
      : sumInClear(this.counted, config, this.rules);
    this.#send({ type: "merged", version: this.number, dreams: null, evidence: [] });
    return result;
  }

  /** What the edge tells of the round in the end, but for its clip. */
  told(): string {
    const { state, reason, openedAt, trainingAt, endedAt, deadline, tally, waiting } = this.#life;
    const count = (of: MemberState): number => tally[of];
    const checkpoint = { sha256: "", bytes: 1 };
    const { config: _, ...told }: Partial<Round> = this.rules.shown({
      number: this.number,
      state,
      reason,
      plateau: null,
      openedAt,
      trainingAt,
      endedAt,
      deadline,
      waiting,
      config: this.config,
      base: { ...checkpoint, version: this.number - 1 },
      checkpoint: this.#life.candidate === null ? null : { ...checkpoint, version: this.#life.candidate },
      tally: {
        selected: this.#members.length,
        uploaded: this.counted.length,
        counted: count("counted"),
        dropped: count("dropped"),
        dead: count("dead"),
        bytesUp: this.counted.length,
        bytesDown: this.#members.length,
        medianSeconds: this.counted.length > 0 ? COMES_AFTER / 1000 : null,
        slowestSeconds: this.counted.length > 0 ? COMES_AFTER / 1000 : null,
      },
      // Their names are random.
      cohort: [...this.#members].sort().map((member) => ({ ...MEMBER, state: member })),
      refused: {},
      ...NO_MEANS,
      trainLoss: this.counted.length > 0 ? 1 : null,
      evaluation: null,
      evidence: {},
      dreams: null,
      hubs: [],
      note: null,
    });
    return JSON.stringify(told);
  }

  #send(event: RoundEvent): RoundEffect[] {
    const { state, effects } = this.rules.transition(this.#life, event, this.#now);
    this.#life = state;
    for (const effect of effects) {
      if (effect.effect === "member") this.#members[Number(effect.id)] = effect.to;
      if (effect.effect === "merge") this.#merges = true;
      if (effect.effect !== "drop-missing") continue;
      for (const [i, member] of this.#members.entries()) if (member === "training") this.#members[i] = "dropped";
    }
    return effects;
  }
}

const MEMBER: Omit<Member, "state"> = {
  ...{
    client: "",
    staleness: 0,
    norm: null,
    cosine: null,
    examples: null,
    bytesUp: 0,
    bytesDown: 0,
    assignedAt: 0,
    uploadedAt: null,
  },
  trainLoss: null,
  trainAccuracy: null,
  initialLoss: null,
  backend: null,
};

function sumInClear(counted: Float32Array[], config: RoundConfig, rules: Rules) {
  const sum = new WeightedSum(MODEL.parameters);
  let below = 0;
  for (const update of counted) {
    const norm = normOf(update);
    if (norm <= config.updateClip) below += 1;
    const facts = { examples: 1, steps: 1, norm, initialLoss: null, staleness: 0 };
    const { weight, denominator } = rules.linearWeight(facts, config, config.updateClip);
    sum.addPart(0, update, weight);
    sum.addTotals({ count: 1, examples: 1, denominator });
  }
  const rule = rules.noiseRuleOf(config);
  rules.toMean(sum.sum, rule?.denominator ?? sum.totals.denominator, rule);
  return { mean: sum.sum, below };
}

function sumInRing(counted: Float32Array[], config: RoundConfig, rotation: number) {
  const { updateClip: clip, codec, goalCount } = config;
  if (!isRingCodec(codec)) throw new Error(`There is no ring for ${codec}.`);
  const ring = ringOf(MODEL, {
    codec,
    ...ringFactsOf(
      config,
      counted.map(() => 1),
    ),
  });
  const sum = new RingSum(ring.length);
  for (const update of counted) {
    const { delta, isBelow } = clipTo(update, clip);
    const facts: RingFacts = { ...NOTHING, below: isBelow ? 1 : 0 };
    sum.addPart(0, toRing(ring, delta, facts, { seed: 1, rotation }));
  }
  const { mean, facts } = fromRing(ring, sum.sum, rotation);
  return { mean: Float64Array.from(mean, (value) => (value * facts.weight) / goalCount), below: facts.below };
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
  const { noise, rounds } = series;
  const delta = deltaFor(rounds * (series.others + 1));
  // As the Coordinator tells of its rounds: see RoundTable.mechanisms.
  const published = epsilon([{ sampling: series.secure ? 1 : series.fraction, noise, rounds }], delta);
  const half = Math.floor(runs / 2);
  const first = roundOf(series);
  const some = (withCanary: boolean): Seen[] =>
    Array.from({ length: half }, () => play(series, first, withCanary, rules));
  const [lessonIn, lessonOut] = [some(true), some(false)];
  const score = teach(lessonIn, lessonOut);
  const guess = bestGuess(lessonIn.map(score), lessonOut.map(score), delta);
  const atLeast = guess.boundOf(some(true).map(score), some(false).map(score));
  return { published, atLeast, ratio: atLeast / published, runs };
}

/**
 * What the attacker learns from runs of both kinds: how much likelier the canary makes each word of events, and, by Fisher's linear
 * discriminant, the numbers beside it. Both are logarithms of likelihoods, and are added.
 */
function teach(inside: Seen[], outside: Seen[]): (seen: Seen) => number {
  const numbers = teachNumbers(
    inside.map((seen) => seen.numbers),
    outside.map((seen) => seen.numbers),
  );
  const times = new Map<string, [number, number]>();
  for (const [kind, all] of [inside, outside].entries()) {
    for (const { events } of all) {
      const known = times.get(events) ?? [0, 0];
      known[kind as 0 | 1] += 1;
      times.set(events, known);
    }
  }
  // What was seen a few times says little yet.
  const said = ([yes, no]: [number, number]): number => Math.log((yes + 2) / (no + 2));
  return (seen) => said(times.get(seen.events) ?? [0, 0]) + numbers(seen.numbers);
}

/** Of numbers of both kinds, with the same spread, how much likelier those of the first kind are, but for a constant. */
function teachNumbers(inside: Seen["numbers"][], outside: Seen["numbers"][]): (seen: Seen["numbers"]) => number {
  const meanOf = (all: Seen["numbers"][], i: 0 | 1): number => all.reduce((sum, seen) => sum + seen[i], 0) / all.length;
  const middle = [inside, outside].map((all) => [meanOf(all, 0), meanOf(all, 1)] as const);
  const spread = (i: 0 | 1, j: 0 | 1): number =>
    [inside, outside].reduce((sum, all, k) => {
      const [a, b] = [middle[k]?.[i] ?? 0, middle[k]?.[j] ?? 0];
      return sum + all.reduce((part, seen) => part + (seen[i] - a) * (seen[j] - b), 0) / all.length / 2;
    }, 0);
  const [xx, xy, yy] = [spread(0, 0), spread(0, 1), spread(1, 1)];
  const [dx, dy] = [0, 1].map((i) => (middle[0]?.[i] ?? 0) - (middle[1]?.[i] ?? 0)) as [number, number];
  const determinant = xx * yy - xy * xy;
  if (yy === 0 || determinant <= 1e-12 * xx * yy) return xx === 0 ? () => 0 : (seen) => (seen[0] * dx) / xx;
  const [a, b] = [(yy * dx - xy * dy) / determinant, (xx * dy - xy * dx) / determinant];
  return (seen) => a * seen[0] + b * seen[1];
}

/** Of an audit, the chance to be wrong. */
const ERROR = 0.01;
/** Of 400 thresholds one is the best by luck alone: what is learned has to be surer than what is judged. */
const LESSON_ERROR = 1e-5;

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
  const boundOf = (threshold: number, isAbove: boolean, yes: Float64Array, no: Float64Array, error: number): number => {
    const [telling, silent] = isAbove ? [yes, no] : [no, yes];
    const hits = (of: Float64Array): number => (isAbove ? above(of, threshold) : of.length - above(of, threshold));
    const { low } = clopperPearson(hits(telling), telling.length, error);
    const { high } = clopperPearson(hits(silent), silent.length, error);
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
      const bound = boundOf(threshold, isAbove, yes, no, LESSON_ERROR);
      if (bound > best.bound) best = { threshold, isAbove, bound };
    }
  }
  return {
    boundOf: (yes: number[], no: number[]) =>
      boundOf(best.threshold, best.isAbove, Float64Array.from(yes).sort(), Float64Array.from(no).sort(), ERROR),
  };
}

export const SERIES: AuditedSeries = {
  goalCount: 3,
  others: 3,
  absent: 0,
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

/** Rounds for which now and then nobody is drawn. */
export const SMALL: AuditedSeries = { ...SERIES, goalCount: 2, others: 4, fraction: 0.5, noise: 20 };

/** What `npm run bench:audit` looks at. */
export const AUDITED: Record<string, AuditedSeries> = {
  "plain Gaussian": SERIES,
  "sampled, a large cohort": {
    ...SERIES,
    goalCount: 99,
    others: 199,
    absent: 0.1,
    fraction: 0.5,
    rounds: 2,
    noise: 1.5,
  },
  "sampled, a small cohort, and some leave": { ...SMALL, noise: 1, rounds: 2, absent: 0.2 },
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
