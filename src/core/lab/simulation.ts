import * as v from "valibot";
import type { Evaluation } from "../../../workers/trainer/api";
import { isNorm } from "../batch-norm";
import { checkpointPieces } from "../checkpoint";
import { decodeDelta, encodeDelta } from "../codecs/codec";
import { isAcceptable, isPlateau } from "../early-stopping";
import { delta as subtract, WeightedSum } from "../fedavg";
import { MODELS, summarize, type ModelSummary, type TensorSpec } from "../model";
import { planSchema, type Plan } from "../protocol";
import { seededRandom, shuffle } from "../random";
import { robustAverage, stepModel, type BlockAverage } from "../strategies/aggregate";
import { hasMoments, initialMoments, type ServerMoments, type ServerOptimizer } from "../strategies/server-optimizers";
import { linearWeight } from "../strategies/weights";
import type { LabConfig } from "./config";
import { countLabels, normal, partition } from "./partition";
import { joinEvaluations, type ClientResult, type ClientTask, type LabData, type LabPool } from "./pool";

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

/** A cohort whose updates do not fit into memory together, which a robust rule needs. */
export class CohortTooLargeError extends Error {
  override readonly name = "CohortTooLargeError";
}

/** Bytes of updates that a robust rule may hold. */
const ROBUST_BYTES = 2 ** 31;

/** Who has what in a run, by index of the training examples. */
export interface Shares {
  train: Uint32Array[];
  heldOut: Uint32Array[];
}

/** @throws PartitionError */
export function shareOut(config: LabConfig, labels: Uint8Array): Shares {
  const parts = partition(labels, summarize(MODELS[config.model]).classes, config);
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
export const picture = (config: LabConfig, labels: Uint8Array): number[][] => {
  const { classes } = summarize(MODELS[config.model]);
  return countLabels(partition(labels, classes, config), labels, classes);
};

/** The clients of a round: the schedule's, or a share C of all, at least one (McMahan et al. 2017, Algorithm 1: max(C K, 1)). */
export function cohortOf({ schedule, clients, fraction, seed }: LabConfig, round: number): number[] {
  if (schedule) return schedule[(round - 1) % schedule.length] ?? [];
  const all = Array.from({ length: clients }, (_, i) => i);
  const count = Math.max(1, Math.round(fraction * clients));
  return shuffle(all, seededRandom(seed + Math.imul(round, 0x9e3779b9)))
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** A seed of its own for the training in one place of a round's cohort. */
export const clientSeed = (seed: number, round: number, place: number): number =>
  (Math.imul(seed + 1, 0x85ebca6b) ^ Math.imul(round, 0x9e3779b9) ^ Math.imul(place + 1, 0xc2b2ae35)) >>> 1;

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
        average: config.noise > 0 ? withNoise(average, config, facts.count, round) : average,
        keep: (tensor) =>
          (config.batchNorm === "local" && isNorm(model, tensor)) ||
          (config.statistics === "never" && isStatistic(tensor)),
        moments: (start, length) => Promise.resolve(moments && part(moments, start, length)),
      });
      for (let i = 0; i < candidate.length; i++) {
        stepNorm += ((candidate[i] as number) - (state.weights[i] as number)) ** 2;
      }
      stepNorm = Math.sqrt(stepNorm);
      const isDue = round % config.evaluateEvery === 0 || round === config.rounds;
      if (isDue) {
        report("evaluating", 0, 1);
        evaluation = await evaluate(candidate);
      }
      const baseLoss = state.evaluation?.loss ?? Infinity;
      published = !isDue || !evaluation || isAcceptable({ loss: evaluation.loss, baseLoss }, config);
      if (published) {
        state.weights = candidate;
        state.moments = moments;
        for (const [client, own] of norms) state.norms.set(client, own);
        for (const [client, own] of residuals) state.residuals.set(client, own);
      }
      state.rounds.push({
        ...{ round, cohort, left: cohort.length - staying.length, published, stepNorm },
        ...{ examples: facts.examples, trainLoss: facts.loss, trainAccuracy: facts.accuracy },
        testLoss: isDue ? (evaluation?.loss ?? null) : null,
        testAccuracy: isDue ? (evaluation?.accuracy ?? null) : null,
        learningRate: state.learningRate,
        bytesDown: cohort.length * down,
        bytesUp: facts.bytes,
        seconds: (now() - begun) / 1000,
      });
      if (published) state.evaluation = evaluation;
    } else {
      state.rounds.push({
        ...{ round, cohort, left: cohort.length, published, stepNorm, examples: 0 },
        ...{ trainLoss: null, trainAccuracy: null, testLoss: null, testAccuracy: null },
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

const brief = ({ examples, loss, accuracy }: Evaluation): LabColumn["test"] => ({ examples, loss, accuracy });

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

/** The comparison that a configuration asks for, once the rounds are over. */
async function compare(
  { config, pool, signal, start }: LabRun,
  state: LabState,
  shares: Shares,
  evaluate: (weights: Float32Array) => Promise<Evaluation>,
  report: (doing: LabProgress["doing"], done: number, of: number) => void,
): Promise<void> {
  if (!config.central && config.personalEpochs === 0) return;
  const { weights } = state;
  const add = async (name: LabColumn["name"], column: Float32Array): Promise<void> => {
    const [test, own] = [await evaluate(column), await ownEvaluation(pool, column, shares)];
    state.columns.push({ name, test: brief(test), own });
  };
  await add("federated", weights);
  if (config.central) {
    report("central", 0, 1);
    const train = Uint32Array.from(shares.train.flatMap((own) => [...own]));
    // As many epochs over everybody's examples as the federation had: C of the clients in each round.
    const epochs = Math.max(1, Math.round(config.epochs * config.rounds * (config.schedule ? 1 : config.fraction)));
    const plan = { ...planOf(config, config.learningRate), epochs, patience: 0 };
    const { delta } = await pool.train({
      ...{ weights: start, train, heldOut: new Uint32Array(), plan, norms: null },
      seed: clientSeed(config.seed, 0, 0),
    });
    await add(
      "central",
      start.map((w, i) => w + (delta[i] ?? 0)),
    );
  }
  if (config.personalEpochs === 0) return;
  const head = { layers: "head", epochs: config.personalEpochs, patience: 0, proximal: 0 } as const;
  const plan = { ...planOf(config, config.learningRate), ...head };
  for (const [name, from] of [
    ["personal", weights],
    ["alone", start],
  ] as const) {
    let done = 0;
    const heldOut = await Promise.all(
      shares.train.map(async (train, client) => {
        signal?.throwIfAborted();
        const own = shares.heldOut[client] ?? new Uint32Array();
        const task = { weights: from, train, heldOut: own, plan, norms: null };
        const result = await pool.train({ ...task, seed: clientSeed(config.seed, 0, client + 1) });
        done += 1;
        report("personal", done, shares.train.length);
        return result.heldOut;
      }),
    );
    state.columns.push({ name, test: null, own: brief(joinEvaluations(heldOut)) });
  }
}

/** What a checkpoint does on everything that the clients held out. */
async function ownEvaluation(pool: LabPool, weights: Float32Array, { heldOut }: Shares): Promise<LabColumn["own"]> {
  const examples = Uint32Array.from(heldOut.flatMap((own) => [...own]));
  return examples.length === 0 ? null : brief(await pool.evaluate({ weights, of: "train", examples }));
}

/** What the clients of a round are told to do. */
export const planOf = (config: LabConfig, learningRate: number): Plan =>
  v.parse(planSchema, { ...config, learningRate, reportInitialLoss: config.aggregation === "q-fair" });

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

/** Bytes of a payload behind gzip, as it travels. */
async function gzipped(payload: Uint8Array<ArrayBuffer>): Promise<number> {
  const stream = new Blob([payload]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

interface Training {
  client: number;
  examples: number;
  result: ClientResult;
}

/** The average of a round's updates, taken in the cohort's order whichever comes first; null where nobody sent one. */
async function collect(
  trainings: readonly Promise<Training>[],
  config: LabConfig,
  model: ModelSummary,
  { learningRate, residuals: before, round }: Pick<LabState, "learningRate" | "residuals" | "round">,
): Promise<{
  average: BlockAverage | null;
  facts: { count: number; examples: number; loss: number; accuracy: number; bytes: number };
  norms: Map<number, Float32Array>;
  residuals: Map<number, Float32Array>;
}> {
  const { aggregation, byzantine, q, updateClip, codec, topShare, errorFeedback } = config;
  const isLinear = aggregation === "mean" || aggregation === "q-fair";
  if (!isLinear && trainings.length * model.parameters * 4 > ROBUST_BYTES) {
    throw new CohortTooLargeError(
      `${aggregation} needs all ${trainings.length} updates at once, which is more than two gigabytes: choose a smaller cohort or model.`,
    );
  }
  // Each is waited for in its turn: until then an error of a later one must not count as unhandled.
  for (const training of trainings) training.catch(() => undefined);
  const facts = { count: 0, examples: 0, loss: 0, accuracy: 0, bytes: 0 };
  const norms = new Map<number, Float32Array>();
  const residuals = new Map<number, Float32Array>();
  const sum = isLinear ? new WeightedSum(model.parameters) : null;
  const updates: Float32Array[] = [];
  const rule = { q: aggregation === "q-fair" ? q : null, clientLearningRate: learningRate, clip: updateClip };
  for (const training of trainings) {
    const { client, examples, result } = await training;
    let { delta } = result;
    if (codec === "float32") facts.bytes += delta.byteLength;
    else {
      const lost = errorFeedback ? (residuals.get(client) ?? before.get(client)) : undefined;
      const wanted = lost ? delta.map((value, i) => value + (lost[i] ?? 0)) : delta;
      const seed = clientSeed(config.seed, round, client);
      const payload = encodeDelta(model, wanted, { codec, share: topShare, seed });
      facts.bytes += await gzipped(payload);
      delta = decodeDelta(model, payload, codec);
      if (errorFeedback) residuals.set(client, subtract(wanted, delta));
    }
    facts.count += 1;
    facts.examples += examples;
    facts.loss += result.loss * examples;
    facts.accuracy += result.accuracy * examples;
    if (result.norms) norms.set(client, result.norms);
    let squares = 0;
    for (const value of delta) squares += value * value;
    const norm = Math.sqrt(squares);
    if (sum) {
      const update = { examples, norm, initialLoss: result.initialLoss, staleness: 0 };
      const { weight, denominator } = linearWeight(update, rule);
      sum.addPart(0, delta, weight);
      sum.addTotals({ count: 1, examples, denominator });
    } else {
      const factor = updateClip > 0 && norm > updateClip ? updateClip / norm : 1;
      updates.push(factor === 1 ? delta : delta.map((value) => value * factor));
    }
  }
  if (facts.count === 0) return { average: null, facts, norms, residuals };
  facts.loss /= facts.examples;
  facts.accuracy /= facts.examples;
  if (sum) {
    const { denominator } = sum.totals;
    const average: BlockAverage = (start, length) =>
      Promise.resolve(sum.sum.slice(start, start + length).map((value) => value / denominator));
    return { average, facts, norms, residuals };
  }
  const average = await robustAverage(
    {
      aggregation: aggregation as Exclude<typeof aggregation, "mean" | "q-fair">,
      ...{ byzantine, updates: updates.length, parameters: model.parameters, piece: 1 << 16 },
    },
    (which, start, length) =>
      Promise.resolve(which.map((i) => (updates[i] as Float32Array).subarray(start, start + length))),
  );
  return { average, facts, norms, residuals };
}

/**
 * Gaussian noise on the average (McMahan et al. 2018, arXiv 1710.06963, algorithm 1): standard deviation z * S / m for a clip S
 * and a cohort of m. From the run's seed, so that it can be repeated: a rehearsal, which protects nobody.
 */
function withNoise(average: BlockAverage, config: LabConfig, count: number, round: number): BlockAverage {
  const deviation = (config.noise * config.updateClip) / count;
  const random = seededRandom(clientSeed(config.seed, round, -2));
  return async (start, length) => (await average(start, length)).map((value) => value + deviation * normal(random));
}
