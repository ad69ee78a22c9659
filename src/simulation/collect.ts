import { compress } from "../federation/codecs/delta";
import { WeightedSum } from "../federation/fedavg";
import { gzip } from "../base/gzip";
import type { ModelSummary } from "../model/model";
import { normOf } from "../federation/privacy/clip";
import { isRobust, linearOf } from "../federation/aggregation/registry";
import { robustAverage, type BlockAverage } from "../federation/aggregation/robust-average";
import { localSteps } from "../federation/aggregation/fednova";
import { linearWeight } from "../federation/aggregation/weights";
import { addGaussian } from "../federation/privacy/discrete-gaussian";
import { seededBits } from "../federation/privacy/random-bits";
import { factorOf } from "../federation/round/bounds";
import type { RoundConfig } from "../federation/protocol";
import { noiseRuleOf } from "../federation/round/rule";
import { optimizerRule } from "../federation/server-optimizers/registry";
import { squareWithin, steppedSpans } from "../federation/server-optimizers/stepped-spans";
import type { StrategyUpdate, Vectors } from "../federation/strategies/strategy";
import { attackersOf, poisonUpdate } from "./attack";
import { clientSeed } from "./cohort";
import type { LabConfig } from "./config";
import { MaskedSum } from "./masked-sum";
import { metricsOf } from "./played";
import type { ClientResult } from "./pool";
import type { LabState } from "./simulation";
import { keepOf } from "./stepped";
import { aggregated, type RunStrategy, type StrategyState } from "./strategy-round";

/** A cohort whose updates do not fit into memory together, which a robust rule needs. */
export class CohortTooLargeError extends Error {
  override readonly name = "CohortTooLargeError";
}

/** Bytes of updates that a robust rule may hold. */
const ROBUST_BYTES = 2 ** 31;

/** What one client's update says of its training. */
export interface ClientMetrics {
  client: number;
  examples: number;
  loss: number;
  accuracy: number;
  /** Examples that it holds out, and what its own trained model says of them. */
  heldOut: number;
  heldOutLoss: number;
  heldOutAccuracy: number;
}

/** An update that counts in a round: whose it is, and how far it reaches. */
export interface Arrival {
  client: number;
  /** Of the training's own randomness. */
  seed: number;
  /** What the training begins from, and its learning rate. */
  weights: Float32Array<ArrayBuffer>;
  learningRate: number;
  /** n_k, as the client says it; the most that it may count for. */
  claimed: number;
  most: number;
  /** The largest norm that its delta may have; 0 is none. */
  clip: number;
  /** Versions that its base is behind. */
  staleness: number;
}

/** One whose training has ended. */
export interface Training extends Arrival {
  result: ClientResult;
}

/** What a round's updates have come to. */
export interface Collected {
  /** Null where nobody sent one and no noise is added either. */
  average: BlockAverage | null;
  facts: {
    count: number;
    /** Of each update that counts. */
    clients: ClientMetrics[];
    examples: number;
    loss: number;
    accuracy: number;
    bytes: number;
    /** The mean of the squared norms of what is stepped of the updates, averaged as the updates are; 0 where nobody asks for it. */
    meanSquare: number;
    /** Updates whose norm is at most the clip; with noise of the clients what their noise has made of that. */
    below: number;
  };
  /** What a strategy's server remembers if the candidate is published, and its clients. */
  strategy: StrategyState | null;
  /** What the clients whose updates count keep for themselves from now on. */
  norms: Map<number, Float32Array>;
  residuals: Map<number, Float32Array>;
}

/**
 * The average of a round's updates, taken in the cohort's order whichever comes first.
 * @param claims examples that the members of its cohort say they have, those who leave included
 * @throws RangeError of a robust rule
 */
export async function collect(
  trainings: readonly Promise<Training>[],
  config: LabConfig,
  model: ModelSummary,
  { weights, residuals: before }: Pick<LabState, "weights" | "residuals">,
  { number, rules, claims }: { number: number; rules: RoundConfig; claims: readonly number[] },
  strategic: { run: RunStrategy; state: StrategyState } | null,
): Promise<Collected> {
  const robust = isRobust(config);
  if ((robust || strategic) && trainings.length * model.parameters * 4 > ROBUST_BYTES) {
    throw new CohortTooLargeError(
      `${config.strategy ?? config.aggregation} needs all ${trainings.length} updates at once, which is more than two gigabytes: choose a smaller cohort or model.`,
    );
  }
  // Each is waited for in its turn: until then an error of a later one must not count as unhandled.
  for (const training of trainings) training.catch(() => undefined);
  const facts: Collected["facts"] = {
    clients: [],
    count: 0,
    examples: 0,
    loss: 0,
    accuracy: 0,
    bytes: 0,
    meanSquare: 0,
    below: 0,
  };
  const keep = keepOf(config, rules);
  const spans = optimizerRule(rules.serverOptimizer).seesUpdates
    ? steppedSpans(model.tensors, (tensor) => keep(model, tensor))
    : [];
  let norming = 0;
  const norms = new Map<number, Float32Array>();
  const residuals = new Map<number, Float32Array>();
  const kept = new Map<number, Vectors>();
  const sent: StrategyUpdate[] = [];
  const sum = robust || rules.secure ? null : new WeightedSum(model.parameters);
  const masked = rules.secure ? new MaskedSum(model, rules, number, claims) : null;
  const updates: Float32Array[] = [];
  const attackers = attackersOf(config);
  for (const training of trainings) {
    const { client, seed, claimed, most, clip, staleness, result } = await training;
    const isAttacker = attackers.has(client);
    let delta = isAttacker ? poisonUpdate(result.delta, config) : result.delta;
    let residual: Float32Array | undefined;
    let bytes = delta.byteLength;
    // A secure round's vectors are rounded for their ring, and keep nothing of what that loses.
    if (config.codec !== "float32" && !masked) {
      const lost = config.errorFeedback ? (residuals.get(client) ?? before.get(client)) : undefined;
      const compressed = compress(model, delta, lost, {
        codec: config.codec,
        share: config.topShare,
        seed: clientSeed(config.seed, number, client),
      });
      bytes = (await gzip(compressed.payload)).length;
      delta = compressed.decoded;
      if (config.errorFeedback) ({ residual } = compressed);
    }
    if (residual) residuals.set(client, residual);
    if (result.norms) norms.set(client, result.norms);
    const examples = Math.min(claimed, most);
    facts.count += 1;
    facts.clients.push(metricsOf(client, examples, result));
    facts.bytes += bytes;
    facts.examples += examples;
    facts.loss += result.loss * examples;
    facts.accuracy += result.accuracy * examples;
    const norm = normOf(delta);
    if (norm <= rules.updateClip) facts.below += 1;
    const share = robust ? 1 : examples;
    facts.meanSquare += share * squareWithin(spans, 0, delta) * factorOf(norm, clip) ** 2;
    norming += share;
    if (strategic) {
      const { state, sent: more } = result.strategy ?? { state: {}, sent: {} };
      sent.push({ client, examples, delta, sent: more });
      kept.set(client, state);
      facts.bytes += Object.values(more).reduce((total, { byteLength }) => total + byteLength, 0);
    } else if (masked) {
      facts.bytes += masked.add(delta, claimed, seed) - bytes;
    } else if (sum) {
      const steps = localSteps(claimed, rules);
      const update = { examples, steps, norm, initialLoss: result.initialLoss, staleness };
      const { weight, denominator } = linearWeight(update, rules, clip);
      sum.addPart(0, delta, weight);
      sum.addTotals({ count: 1, examples, denominator });
    } else {
      const factor = factorOf(norm, clip);
      updates.push(factor === 1 ? delta : delta.map((value) => value * factor));
    }
  }
  const noise = noiseRuleOf(rules);
  if (facts.count === 0 && !noise) return { average: null, facts, norms, residuals, strategy: null };
  if (facts.count > 0) {
    facts.loss /= facts.examples;
    facts.accuracy /= facts.examples;
    facts.meanSquare /= norming;
  }
  if (masked) {
    if (facts.count < masked.fewest) return { average: null, facts, norms, residuals, strategy: null };
    const { average, examples, below } = masked.open(noise?.denominator ?? null);
    return { average, facts: { ...facts, examples, below }, norms, residuals, strategy: null };
  }
  if (strategic) {
    const { run, state } = strategic;
    const { delta, server } = aggregated(run, sent, weights, state);
    const average: BlockAverage = (start, length) => Promise.resolve(delta.slice(start, start + length));
    const clients = new Map([...state.clients, ...kept]);
    return { average, facts, norms, residuals, strategy: { server, clients } };
  }
  if (sum) {
    const denominator = noise?.denominator ?? linearOf(config.aggregation).divisor(sum.totals);
    const average: BlockAverage = (start, length) =>
      Promise.resolve(sum.sum.slice(start, start + length).map((value) => value / denominator));
    const noised = noise ? withNoise(average, noise.deviation, clientSeed(config.seed, number, -2)) : average;
    return { average: noised, facts, norms, residuals, strategy: null };
  }
  const { aggregation, byzantine } = config;
  const average = await robustAverage(
    {
      aggregation,
      byzantine,
      updates: updates.length,
      parameters: model.parameters,
      piece: 1 << 16,
    },
    (which, start, length) =>
      Promise.resolve(which.map((i) => (updates[i] as Float32Array).subarray(start, start + length))),
  );
  return { average, facts, norms, residuals, strategy: null };
}

/** The edge's noise on the average, from the run's seed, so that it can be repeated: a rehearsal, which protects nobody. */
function withNoise(average: BlockAverage, deviation: number, seed: number): BlockAverage {
  const bits = seededBits(seed);
  return async (start, length) => {
    const block = Float64Array.from(await average(start, length));
    addGaussian(block, deviation, bits);
    return block;
  };
}
