import type { PictureKind } from "../data/own-labels";
import { checkpointPieces } from "../model/checkpoint";
import type { Evaluation } from "../model/evaluation";
import { summarize } from "../model/model";
import type { RoundConfig } from "../federation/protocol";
import { seededRandom, shuffle } from "../base/random";
import { seededBits } from "../federation/privacy/random-bits";
import { afterRound } from "../federation/round/series";
import type { AnyStrategy } from "../federation/strategies/registry";
import type { ServerMoments } from "../federation/server-optimizers/optimizer";
import type { AsyncSeries } from "./async-series";
import { centralRound } from "./central-round";
import { clientSeed, expectedCohort, shareOut } from "./cohort";
import type { ClientMetrics } from "./collect";
import { brief, compare, ownEvaluation } from "./compare";
import type { LabConfig } from "./config";
import { digestOf } from "./data";
import { gossipRound } from "./gossip-round";
import { networkFor } from "./network";
import type { Played } from "./played";
import type { LabData, LabPool } from "./pool";
import { roundOf } from "./simulated-round";
import { OtherStrategyError, strategyOf, type StrategySource, type StrategyState } from "./strategy-round";

/** One round of a run, as it is charted and exported. */
export interface LabRound {
  /** From 1. */
  round: number;
  /**
   * The clients that were chosen, and how many of them left or came too late; in an asynchronous round those whose updates count, in the
   * order in which they came.
   */
  cohort: number[];
  left: number;
  /** In an asynchronous round, how many versions each update's base is behind. */
  staleness?: number[];
  examples: number;
  /** Means over the cohort's last epochs, weighted by their examples, dropout on. */
  trainLoss: number | null;
  trainAccuracy: number | null;
  /** On the test examples; null in rounds without an evaluation. */
  testLoss: number | null;
  testAccuracy: number | null;
  /** Where clients gossip, of their models' accuracies: the standard deviation, the least and the most. The mean is `testAccuracy`. */
  spread?: { deviation: number; least: number; most: number };
  /** How often the attackers got what they want on the test examples; null without an evaluation or an attack that wants any. */
  attackSuccess: number | null;
  /** False where the candidate was rejected, or there was none: `reason` says why. Runs of older versions do not tell. */
  published: boolean;
  reason?: string | null;
  learningRate: number;
  /** L2 norm of what the server added to the weights. */
  stepNorm: number;
  /** Of each update that counts; runs of older versions do not tell. */
  clients?: ClientMetrics[];
  /** Of the whole cohort's checkpoints and updates, as the app sends them. */
  bytesDown: number;
  bytesUp: number;
  seconds: number;
  /** Simulated seconds from the run's beginning to the round's end: see durations.ts. Runs of older versions do not tell. */
  time?: number;
}

/** How a checkpoint does: on the test examples, and on what the clients held out of their own. */
export interface LabColumn {
  name: "start" | "federated" | "central" | "personal" | "alone";
  test: Pick<Evaluation, "examples" | "loss" | "accuracy"> | null;
  own: Pick<Evaluation, "examples" | "loss" | "accuracy"> | null;
}

/** The code that made the rounds from one on, to the next entry's. */
export interface LabCommit {
  fromRound: number;
  /** Of git, with `+` where files had been changed; null where that is not known. */
  commit: string | null;
}

/** Everything that a run needs to go on after a round, beside its configuration and its data. */
export interface LabState {
  /** Rounds done. */
  round: number;
  /** What clients get; where they gossip, the mean of their models. */
  weights: Float32Array<ArrayBuffer>;
  /** Simulated milliseconds. Runs of older versions do not tell. */
  clock?: number;
  /** Of an asynchronous run, from its first round on. */
  series?: AsyncSeries;
  /** The clients' own models where they gossip, from their first round on. */
  models?: Float32Array<ArrayBuffer>[];
  moments: ServerMoments | null;
  /** Of clients that keep their batch normalization to themselves. */
  norms: Map<number, Float32Array>;
  /** What clients' codecs have lost so far, to be sent later. */
  residuals: Map<number, Float32Array>;
  /** What a strategy remembers; null where the run has none, or before it is first asked. */
  strategy?: StrategyState | null;
  /** Digest of the data that it runs on: see `digestOf`. Runs of older versions do not tell. */
  data?: string;
  /** Of a strategy that is not built in. */
  source?: StrategySource;
  /** What its pictures and labels are, where they are of somebody's own. */
  kind?: PictureKind;
  /** Which code has made the rounds, in order: see {@link LabCommit}. Runs of older versions do not tell. */
  commits?: LabCommit[];
  learningRate: number;
  /** That of the next round, where it follows the norms. Runs of older versions do not tell: theirs stays. */
  updateClip?: number | undefined;
  rounds: LabRound[];
  /** The last evaluation on the test examples. */
  evaluation: Evaluation | null;
  /** The comparison at the end. */
  columns: LabColumn[];
  /** Why it is over; null while it is not. `diverged`: a client's loss in the round after the last one is no number. */
  ended: "rounds" | "target" | "plateau" | "diverged" | null;
}

export interface LabProgress {
  doing: "evaluating" | "training" | "central" | "personal";
  round: number;
  /** Trainings of clients that are done, and all of this round. */
  done: number;
  of: number;
}

export interface LabRun {
  config: LabConfig;
  data: LabData;
  pool: LabPool;
  /** Of the model when the run begins. */
  start: Float32Array<ArrayBuffer>;
  /** A strategy that is not built in, where the configuration names one. */
  strategy?: AnyStrategy | undefined;
  /** The files that it is made of. */
  source?: StrategySource | undefined;
  /** The git commit of this code, where it is known. */
  commit?: string | null;
  /** Goes on from what {@link LabRun.onRound} was given. */
  resume?: LabState | undefined;
  /** Ends the run after the trainings under way; what the last `onRound` got is where it goes on. */
  signal?: AbortSignal;
  onProgress?: (progress: LabProgress) => void;
  /** Told the state after every round, before the next begins; it is changed afterwards. */
  onRound?: (state: LabState) => Promise<void> | void;
  now?: () => number;
}

/** A run that is to go on with other data than it began with: what came of it would be neither's. */
export class OtherDataError extends Error {
  override readonly name = "OtherDataError";
  constructor(before: string | undefined) {
    super(
      before === undefined
        ? "This run was begun by an older version, which did not note its data: begin a new one."
        : "The data are not those that this run began with: give it the same, or begin a new run.",
    );
  }
}

/**
 * Runs a federation: the clients' trainings in the pool's workers, everything that a server does here, with the edge's own
 * strategies. The result is the same however many workers there are.
 * @throws OtherDataError, OtherStrategyError, StrategyError of a strategy of somebody's own, LabConfigError of a strategy or of pictures that the model does not take, PartitionError, CohortTooLargeError, RangeError of a robust rule, DivergedError (by name) of a training of the comparison
 */
export async function runLab(run: LabRun): Promise<LabState> {
  const { config, data, pool, signal, onProgress, onRound, now = () => performance.now() } = run;
  const model = summarize(networkFor(config, data.kind));
  const strategic = strategyOf(config, model, run.strategy);
  const digest = await digestOf(data);
  if (run.resume && run.resume.data !== digest) throw new OtherDataError(run.resume.data);
  const { source } = run;
  if (run.resume && digestsOf(run.resume.source) !== digestsOf(source)) {
    throw new OtherStrategyError(run.resume.source, source);
  }
  const shares = shareOut(config, data.train);
  const testCount = Math.min(config.testExamples || Infinity, data.test.labels.length);
  const testOrder = shuffle(
    Array.from({ length: data.test.labels.length }, (_, i) => i),
    seededRandom(config.seed ^ 0x7e57),
  );
  const test = Uint32Array.from(testOrder.slice(0, testCount)).sort();
  const down = checkpointPieces(model, run.start, {}, "float32").reduce((sum, { length }) => sum + length, 0);
  const state: LabState = run.resume ?? {
    ...{
      round: 0,
      moments: null,
      norms: new Map(),
      residuals: new Map(),
      rounds: [],
      evaluation: null,
      columns: [],
      ended: null,
    },
    weights: run.start.slice(),
    clock: 0,
    data: digest,
    ...(source && { source }),
    ...(data.kind && { kind: data.kind }),
    learningRate: config.learningRate,
  };
  if (!state.ended) noteCommit(state, run.commit ?? null);
  const evaluate = (weights: Float32Array): Promise<Evaluation> =>
    pool.evaluate({ weights, of: "test", examples: test });
  const report = (doing: LabProgress["doing"], done: number, of: number): void =>
    onProgress?.({ doing, round: state.round + 1, done, of });

  if (state.round === 0 && !state.evaluation) {
    report("evaluating", 0, 1);
    state.evaluation = await evaluate(state.weights);
    if (config.central || config.personalEpochs > 0) {
      state.columns.push({
        name: "start",
        test: brief(state.evaluation),
        own: await ownEvaluation(pool, state.weights, shares),
      });
    }
    await onRound?.(state);
  }

  while (!state.ended) {
    signal?.throwIfAborted();
    const begun = now();
    const number = state.round + 1;
    const scheduled = config.schedule?.[(number - 1) % config.schedule.length];
    const { learningRate, updateClip = config.updateClip } = state;
    const rules = {
      ...roundOf(config, { learningRate, updateClip }, scheduled?.length ?? expectedCohort(config)),
      rounds: config.rounds - state.round,
    };
    const play = config.topology === "gossip" ? gossipRound : centralRound;
    const playing = { config, data, pool, signal, model, shares, strategic, state, number, rules, down };
    const played = await orDiverged(play({ ...playing, evaluate, report }));
    if (!played) {
      state.ended = "diverged";
      await onRound?.(state);
      break;
    }
    state.rounds.push({
      round: number,
      ...played.round,
      learningRate,
      ...(state.clock !== undefined && { time: state.clock / 1000 }),
      seconds: (now() - begun) / 1000,
    });
    state.round = number;
    const next = settle(state, config, played.rules, played.facts);
    state.learningRate = next.learningRate;
    state.updateClip = next.updateClip;
    state.ended = next.ended;
    if (next.ended) await compare(run, state, shares, evaluate, report);
    await onRound?.(state);
  }
  return state;
}

const digestsOf = (source: StrategySource = []): string => source.map(({ sha256 }) => sha256).join();

/** Notes which code goes on with a run, unless it is the one of before. */
function noteCommit(state: LabState, commit: string | null): void {
  // Who made the rounds of an older version's run is not known.
  state.commits ??= state.round === 0 ? [] : [{ fromRound: 1, commit: null }];
  const fromRound = state.round + 1;
  // Code that has not finished a round has made none.
  if (state.commits.at(-1)?.fromRound === fromRound) state.commits.pop();
  if (state.commits.at(-1)?.commit !== commit || state.commits.length === 0) state.commits.push({ fromRound, commit });
}

/** What a round comes to; null where a training diverged, as it would again: nothing of a run hangs on chance. */
async function orDiverged(round: Promise<Played>): Promise<Played | null> {
  try {
    return await round;
  } catch (error) {
    if (error instanceof Error && error.name === "DivergedError") return null;
    throw error;
  }
}

/** Whether the run goes on, and with which learning rate. */
function settle(
  state: LabState,
  config: LabConfig,
  rules: RoundConfig,
  { count: counted, below }: Played["facts"],
): Pick<LabState, "ended" | "learningRate" | "updateClip"> {
  const { learningRate, rounds } = state;
  const { updateClip } = rules;
  const last = rounds.at(-1);
  if (config.target !== null && (last?.testAccuracy ?? 0) >= config.target) {
    return { ended: "target", learningRate, updateClip };
  }
  if (state.round >= config.rounds) return { ended: "rounds", learningRate, updateClip };
  // A plateau counts from the last change of the rate.
  const losses = rounds
    .filter((round) => round.learningRate === learningRate)
    .flatMap(({ testLoss }) => (testLoss === null ? [] : [testLoss]));
  const bits = seededBits(clientSeed(config.seed, state.round, -3));
  const { next, isStopped } = afterRound(rules, { losses, counted, below }, bits);
  return {
    ended: isStopped ? "plateau" : null,
    learningRate: next?.learningRate ?? learningRate,
    updateClip: next?.updateClip ?? updateClip,
  };
}
