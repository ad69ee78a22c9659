import type { PictureKind } from "../data/own-labels";
import { checkpointPieces } from "../model/checkpoint";
import type { Evaluation } from "../model/evaluation";
import type { Evidence } from "../federation/guard";
import { summarize, type ModelSummary, type TensorSpec } from "../model/model";
import { checkWeights } from "../federation/plausible";
import { normOf } from "../federation/privacy/clip";
import type { RoundConfig } from "../federation/protocol";
import { seededRandom, shuffle } from "../base/random";
import { isKept, keepsBatchNorm, optimizerOf } from "../federation/round/rule";
import { seededBits } from "../federation/privacy/random-bits";
import { drawCohort } from "../federation/round/draw";
import { afterRound } from "../federation/round/series";
import type { AnyStrategy } from "../federation/strategies/registry";
import type { BlockAverage } from "../federation/aggregation/robust-average";
import { shrinkage } from "../federation/aggregation/weights";
import { initialMoments, type ServerMoments } from "../federation/server-optimizers/optimizer";
import { optimizerRule } from "../federation/server-optimizers/registry";
import { stepModel } from "../federation/server-optimizers/step-model";
import { attackSuccess, claimsOf } from "./attack";
import { allOf, clientSeed, drawsOf, expectedCohort, planOf, shareOut, stayingOf } from "./cohort";
import { collect, type ClientMetrics, type Collected } from "./collect";
import { brief, compare, ownEvaluation } from "./compare";
import type { LabConfig } from "./config";
import { digestOf } from "./data";
import type { ClientTask, LabData, LabPool } from "./pool";
import { networkFor } from "./network";
import { roundOf, SimulatedRound } from "./simulated-round";
import { broadcastOf, firstState, lossOn, selected, strategyOf, type StrategyState } from "./strategy-round";

/** One round of a run, as it is charted and exported. */
export interface LabRound {
  /** From 1. */
  round: number;
  /** The clients that were chosen, and how many of them left. */
  cohort: number[];
  left: number;
  examples: number;
  /** Means over the cohort's last epochs, weighted by their examples, dropout on. */
  trainLoss: number | null;
  trainAccuracy: number | null;
  /** On the test examples; null in rounds without an evaluation. */
  testLoss: number | null;
  testAccuracy: number | null;
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
}

/** How a checkpoint does: on the test examples, and on what the clients held out of their own. */
export interface LabColumn {
  name: "start" | "federated" | "central" | "personal" | "alone";
  test: Pick<Evaluation, "examples" | "loss" | "accuracy"> | null;
  own: Pick<Evaluation, "examples" | "loss" | "accuracy"> | null;
}

/** Everything that a run needs to go on after a round, beside its configuration and its data. */
export interface LabState {
  /** Rounds done. */
  round: number;
  weights: Float32Array<ArrayBuffer>;
  moments: ServerMoments | null;
  /** Of clients that keep their batch normalization to themselves. */
  norms: Map<number, Float32Array>;
  /** What clients' codecs have lost so far, to be sent later. */
  residuals: Map<number, Float32Array>;
  /** What a strategy remembers; null where the run has none, or before it is first asked. */
  strategy?: StrategyState | null;
  /** Digest of the data that it runs on: see `digestOf`. Runs of older versions do not tell. */
  data?: string;
  /** What its pictures and labels are, where they are of somebody's own. */
  kind?: PictureKind;
  learningRate: number;
  /** That of the next round, where it follows the norms. Runs of older versions do not tell: theirs stays. */
  updateClip?: number | undefined;
  rounds: LabRound[];
  /** The last evaluation on the test examples. */
  evaluation: Evaluation | null;
  /** The comparison at the end. */
  columns: LabColumn[];
  /** Why it is over; null while it is not. */
  ended: "rounds" | "target" | "plateau" | null;
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

const byNumber = (a: number, b: number): number => a - b;

const isStatistic = ({ trainable }: TensorSpec): boolean => !trainable;

/**
 * Runs a federation: the clients' trainings in the pool's workers, everything that a server does here, with the edge's own
 * strategies. The result is the same however many workers there are.
 * @throws OtherDataError, LabConfigError of a strategy or of pictures that the model does not take, PartitionError, CohortTooLargeError, RangeError of a robust rule, DivergedError (by name) of a training
 */
export async function runLab(run: LabRun): Promise<LabState> {
  const { config, data, pool, signal, onProgress, onRound, now = () => performance.now() } = run;
  const model = summarize(networkFor(config.model, data.kind));
  const strategic = strategyOf(config, model, run.strategy);
  const digest = await digestOf(data);
  if (run.resume && run.resume.data !== digest) throw new OtherDataError(run.resume.data);
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
    data: digest,
    ...(data.kind && { kind: data.kind }),
    learningRate: config.learningRate,
  };
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
    const own = strategic && (state.strategy ?? firstState(strategic));
    const size = expectedCohort(config);
    const lossOf = (client: number): Promise<number> =>
      lossOn(pool, state.weights, shares.train[client] ?? new Uint32Array());
    const scheduled = config.schedule?.[(number - 1) % config.schedule.length];
    const { learningRate, updateClip = config.updateClip } = state;
    const rules = roundOf(config, { learningRate, updateClip }, scheduled?.length ?? size);
    const round = new SimulatedRound(number, { ...rules, rounds: config.rounds - state.round });
    const draws = drawsOf(config, number);
    const candidates = strategic?.strategy.server.candidates?.(strategic.context, size) ?? size;
    const chosen = async (): Promise<number[]> =>
      !strategic
        ? round.draw(allOf(config), draws)
        : selected(strategic, drawCohort(allOf(config), { size: candidates }, draws).sort(byNumber), size, lossOf);
    const cohort = scheduled ?? (await chosen());
    const broadcast = strategic && own && broadcastOf(strategic, own);
    const staying = stayingOf(config, number, cohort);
    const trains = round.begin(
      cohort.map((_, place) => String(place)),
      config.clients,
    );
    report("training", 0, staying.length);
    let done = 0;
    const plan = planOf(config, state.learningRate);
    const trainings = (trains ? staying : []).map(async (place) => {
      const client = cohort[place] as number;
      signal?.throwIfAborted();
      const task: ClientTask = {
        weights: state.weights,
        plan,
        seed: clientSeed(config.seed, number, place),
        train: shares.train[client] ?? new Uint32Array(),
        heldOut: shares.heldOut[client] ?? new Uint32Array(),
        norms: state.norms.get(client) ?? null,
        ...(broadcast && {
          strategy: {
            options: config.strategyOptions,
            clients: config.clients,
            broadcast,
            state: own.clients.get(client) ?? null,
          },
        }),
      };
      const result = await pool.train(task);
      done += 1;
      report("training", done, staying.length);
      return { client, place, examples: task.train.length, result };
    });
    const { average, facts, norms, residuals, strategy } = await collect(
      ...([trainings, config, model, state, { round, claims: claimsOf(config, shares, cohort) }] as const),
      strategic && own && { run: strategic, state: own },
    );
    signal?.throwIfAborted();
    for (const [client, own] of norms) state.norms.set(client, own);
    for (const [client, own] of residuals) state.residuals.set(client, own);
    const merges = round.close();
    if (merges && !average) {
      round.conclude({
        type: "failed",
        reason: "Fewer clients have sent a vector than open their sum.",
        lasting: true,
      });
    }
    const candidate = merges && average ? await stepped(state, model, { rules, config, average, facts }) : null;
    let published = false;
    let stepNorm = 0;
    let found: { evaluation: Evaluation | null; success: number | null } = { evaluation: null, success: null };
    if (candidate && "failure" in candidate) {
      round.conclude({ type: "failed", reason: candidate.failure, lasting: true });
    } else if (candidate) {
      stepNorm = normOf(candidate.weights.map((value, i) => value - (state.weights[i] as number)));
      if (number % config.evaluateEvery === 0 || number === config.rounds) {
        report("evaluating", 0, 1);
        const evaluation = await evaluate(candidate.weights);
        found = {
          evaluation,
          success: await attackSuccess(config, { data, pool, weights: candidate.weights }, evaluation),
        };
      }
      const evidence = evidenceOf(found.evaluation, state.evaluation);
      published = round.conclude({ type: "merged", version: number, dreams: null, evidence });
      if (published) {
        state.weights = candidate.weights;
        state.moments = candidate.moments;
        // Who has a state takes it over with the checkpoint that came of it.
        if (strategy) state.strategy = strategy;
        state.evaluation = found.evaluation ?? state.evaluation;
      }
    }
    state.rounds.push({
      round: number,
      cohort,
      left: cohort.length - staying.length,
      published,
      reason: round.life.reason,
      stepNorm,
      examples: facts.examples,
      trainLoss: facts.count > 0 ? facts.loss : null,
      trainAccuracy: facts.count > 0 ? facts.accuracy : null,
      testLoss: found.evaluation?.loss ?? null,
      testAccuracy: found.evaluation?.accuracy ?? null,
      attackSuccess: found.success,
      learningRate: state.learningRate,
      clients: facts.clients,
      bytesDown: cohort.length * (down + 4 * model.parameters * Object.keys(broadcast ?? {}).length),
      bytesUp: facts.bytes,
      seconds: (now() - begun) / 1000,
    });
    state.round = number;
    const next = settle(state, config, round.life.config, facts);
    state.learningRate = next.learningRate;
    state.updateClip = next.updateClip;
    state.ended = next.ended;
    if (next.ended) await compare(run, state, shares, evaluate, report);
    await onRound?.(state);
  }
  return state;
}

/** The weights that a round's average makes of a run's, and the optimizer's moments after it; or why nobody could use them. */
async function stepped(
  { weights: base, moments: before }: LabState,
  model: ModelSummary,
  {
    rules,
    config,
    average,
    facts: { examples, meanSquare },
  }: { rules: RoundConfig; config: LabConfig; average: BlockAverage; facts: Collected["facts"] },
): Promise<{ weights: Float32Array<ArrayBuffer>; moments: ServerMoments | null } | { failure: string }> {
  const weights = base.slice();
  const optimizer = optimizerOf(rules);
  const moments = optimizerRule(optimizer.kind).remembers
    ? copyMoments(before ?? initialMoments(model.parameters, optimizer))
    : null;
  await stepModel(model, weights, {
    optimizer,
    average,
    meanSquare,
    share: shrinkage(examples, rules.prior),
    keep: (tensor) =>
      isKept(model, tensor, keepsBatchNorm(rules)) || (config.statistics === "never" && isStatistic(tensor)),
    moments: (start, length) => Promise.resolve(moments && part(moments, start, length)),
  });
  try {
    checkWeights(model, weights, normOf(base));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { failure: error.message };
  }
  return { weights, moments };
}

/** What the test says of a candidate: in a rehearsal the operator has faces of its own. */
const evidenceOf = (candidate: Evaluation | null, base: Evaluation | null): Evidence[] =>
  candidate && base
    ? [
        {
          kind: "operator",
          examples: candidate.examples,
          loss: candidate.loss,
          accuracy: candidate.accuracy,
          baseLoss: base.loss,
          baseAccuracy: base.accuracy,
        },
      ]
    : [];

/** Whether the run goes on, and with which learning rate. */
function settle(
  state: LabState,
  config: LabConfig,
  rules: RoundConfig,
  { count: counted, below }: Collected["facts"],
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

const copyMoments = ({ first, second }: ServerMoments): ServerMoments => ({
  first: first.slice(),
  second: second.slice(),
});

const part = ({ first, second }: ServerMoments, start: number, length: number): ServerMoments => ({
  first: first.subarray(start, start + length),
  second: second.subarray(start, start + length),
});
