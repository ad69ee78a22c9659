import { isNorm } from "../batch-norm";
import { checkpointPieces } from "../checkpoint";
import { isAcceptable, isPlateau } from "../early-stopping";
import type { Evaluation } from "../evaluation";
import { MODELS, summarize, type TensorSpec } from "../model";
import { seededRandom, shuffle } from "../random";
import { stepModel } from "../strategies/aggregate";
import { shrinkage } from "../strategies/weights";
import { hasMoments, initialMoments, type ServerMoments, type ServerOptimizer } from "../strategies/server-optimizers";
import { attackSuccess } from "./attack";
import { clientSeed, cohortOf, planOf, shareOut } from "./cohort";
import { collect, withNoise } from "./collect";
import { brief, compare, ownEvaluation } from "./compare";
import type { LabConfig } from "./config";
import type { ClientTask, LabData, LabPool } from "./pool";

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
  /** False where the candidate was rejected, or nobody was left to make one. */
  published: boolean;
  learningRate: number;
  /** L2 norm of what the server added to the weights. */
  stepNorm: number;
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
  learningRate: number;
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
  /** Goes on from what {@link LabRun.onRound} was given. */
  resume?: LabState | undefined;
  /** Ends the run after the trainings under way; what the last `onRound` got is where it goes on. */
  signal?: AbortSignal;
  onProgress?: (progress: LabProgress) => void;
  /** Told the state after every round, before the next begins; it is changed afterwards. */
  onRound?: (state: LabState) => Promise<void> | void;
  now?: () => number;
}

const isStatistic = ({ trainable }: TensorSpec): boolean => !trainable;

/**
 * Runs a federation: the clients' trainings in the pool's workers, everything that a server does here, with the edge's own
 * strategies. The result is the same however many workers there are.
 * @throws PartitionError, CohortTooLargeError, RangeError of a robust rule, DivergedError (by name) of a training
 */
export async function runLab(run: LabRun): Promise<LabState> {
  const { config, data, pool, signal, onProgress, onRound, now = () => performance.now() } = run;
  const model = summarize(MODELS[config.model]);
  const shares = shareOut(config, data.train.labels);
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
    const round = state.round + 1;
    const cohort = cohortOf(config, round);
    const random = seededRandom(clientSeed(config.seed, round, -1));
    const staying = cohort.map((client, place) => ({ client, place })).filter(() => random() >= config.dropOut);
    report("training", 0, staying.length);
    let done = 0;
    const plan = planOf(config, state.learningRate);
    const trainings = staying.map(async ({ client, place }) => {
      signal?.throwIfAborted();
      const task: ClientTask = {
        ...{ weights: state.weights, plan, seed: clientSeed(config.seed, round, place) },
        train: shares.train[client] ?? new Uint32Array(),
        heldOut: shares.heldOut[client] ?? new Uint32Array(),
        norms: state.norms.get(client) ?? null,
      };
      const result = await pool.train(task);
      done += 1;
      report("training", done, staying.length);
      return { client, examples: task.train.length, result };
    });
    const { average, facts, norms, residuals } = await collect(trainings, config, model, { ...state, round });
    signal?.throwIfAborted();

    let published = false;
    let stepNorm = 0;
    let { evaluation } = state;
    if (average) {
      const candidate = state.weights.slice();
      const optimizer = optimizerOf(config);
      const moments = hasMoments(optimizer)
        ? copyMoments(state.moments ?? initialMoments(model.parameters, optimizer))
        : null;
      await stepModel(model, candidate, {
        optimizer,
        average: config.noise > 0 ? withNoise(average, config, round) : average,
        share: shrinkage(facts.examples, config.prior),
        keep: (tensor) =>
          (config.batchNorm !== "average" && isNorm(model, tensor)) ||
          (config.statistics === "never" && isStatistic(tensor)),
        moments: (start, length) => Promise.resolve(moments && part(moments, start, length)),
      });
      for (let i = 0; i < candidate.length; i++) {
        stepNorm += ((candidate[i] as number) - (state.weights[i] as number)) ** 2;
      }
      stepNorm = Math.sqrt(stepNorm);
      let success: number | null = null;
      const isDue = round % config.evaluateEvery === 0 || round === config.rounds;
      if (isDue) {
        report("evaluating", 0, 1);
        evaluation = await evaluate(candidate);
        success = await attackSuccess(config, { data, pool, weights: candidate }, evaluation);
      }
      const baseLoss = state.evaluation?.loss ?? Infinity;
      published = !isDue || !evaluation || isAcceptable({ loss: evaluation.loss, baseLoss }, config);
      if (published) {
        state.weights = candidate;
        state.moments = moments;
      }
      // As on a device: what a client keeps of an update that was taken does not wait for what becomes of the round.
      for (const [client, own] of norms) state.norms.set(client, own);
      for (const [client, own] of residuals) state.residuals.set(client, own);
      state.rounds.push({
        ...{ round, cohort, left: cohort.length - staying.length, published, stepNorm },
        ...{ examples: facts.examples, trainLoss: facts.loss, trainAccuracy: facts.accuracy },
        testLoss: isDue ? (evaluation?.loss ?? null) : null,
        testAccuracy: isDue ? (evaluation?.accuracy ?? null) : null,
        attackSuccess: success,
        learningRate: state.learningRate,
        bytesDown: cohort.length * down,
        bytesUp: facts.bytes,
        seconds: (now() - begun) / 1000,
      });
      if (published) state.evaluation = evaluation;
    } else {
      state.rounds.push({
        ...{ round, cohort, left: cohort.length, published, stepNorm, examples: 0 },
        ...{ trainLoss: null, trainAccuracy: null, testLoss: null, testAccuracy: null, attackSuccess: null },
        ...{ learningRate: state.learningRate, bytesDown: cohort.length * down, bytesUp: 0 },
        seconds: (now() - begun) / 1000,
      });
    }
    state.round = round;
    const next = settle(state, config);
    state.learningRate = next.learningRate;
    state.ended = next.ended;
    if (next.ended) await compare(run, state, shares, evaluate, report);
    await onRound?.(state);
  }
  return state;
}

/** Whether the run goes on, and with which learning rate: as the edge's Coordinator decides it. */
function settle(state: LabState, config: LabConfig): Pick<LabState, "ended" | "learningRate"> {
  const { learningRate, rounds } = state;
  const last = rounds.at(-1);
  if (config.target !== null && (last?.testAccuracy ?? 0) >= config.target) return { ended: "target", learningRate };
  if (state.round >= config.rounds) return { ended: "rounds", learningRate };
  // A plateau counts from the last change of the rate.
  const same = rounds.filter((round) => round.learningRate === learningRate);
  const losses = same.flatMap(({ testLoss }) => (testLoss === null ? [] : [testLoss]));
  if (!isPlateau(losses, config) || config.atPlateau === "go-on") return { ended: null, learningRate };
  return config.atPlateau === "stop"
    ? { ended: "plateau", learningRate }
    : { ended: null, learningRate: learningRate / 2 };
}

export const optimizerOf = (config: LabConfig): ServerOptimizer => ({
  kind: config.serverOptimizer,
  learningRate: config.serverLearningRate,
  momentum: config.serverMomentum,
  beta2: config.serverBeta2,
  tau: config.serverTau,
});

const copyMoments = ({ first, second }: ServerMoments): ServerMoments => ({
  first: first.slice(),
  second: second.slice(),
});

const part = ({ first, second }: ServerMoments, start: number, length: number): ServerMoments => ({
  first: first.subarray(start, start + length),
  second: second.subarray(start, start + length),
});
