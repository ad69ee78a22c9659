import { compress } from "../codecs/codec";
import { WeightedSum } from "../fedavg";
import { gzip } from "../gzip";
import type { ModelSummary } from "../model";
import { seededRandom } from "../random";
import { robustAverage, type BlockAverage } from "../strategies/aggregate";
import { linearWeight } from "../strategies/weights";
import { attackersOf, claimedExamples, poisonUpdate } from "./attack";
import { clientSeed, expectedCohort } from "./cohort";
import type { LabConfig } from "./config";
import { normal } from "./partition";
import type { ClientResult } from "./pool";
import type { LabState } from "./simulation";

/** A cohort whose updates do not fit into memory together, which a robust rule needs. */
export class CohortTooLargeError extends Error {
  override readonly name = "CohortTooLargeError";
}

/** Bytes of updates that a robust rule may hold. */
const ROBUST_BYTES = 2 ** 31;

/** A client's training that has ended. */
export interface Training {
  client: number;
  examples: number;
  result: ClientResult;
}

/** The average of a round's updates, taken in the cohort's order whichever comes first; null where nobody sent one. */
export async function collect(
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
  const attackers = attackersOf(config);
  const rule = {
    q: aggregation === "q-fair" ? q : null,
    clientLearningRate: learningRate,
    clip: updateClip,
    equally: config.noise > 0,
  };
  for (const training of trainings) {
    const { client, examples: own, result } = await training;
    const isAttacker = attackers.has(client);
    const examples = Math.min(isAttacker ? claimedExamples(own, config) : own, config.maxExamples);
    let delta = isAttacker ? poisonUpdate(result.delta, config) : result.delta;
    if (codec === "float32") facts.bytes += delta.byteLength;
    else {
      const lost = errorFeedback ? (residuals.get(client) ?? before.get(client)) : undefined;
      const seed = clientSeed(config.seed, round, client);
      const compressed = compress(model, delta, lost, { codec, share: topShare, seed });
      facts.bytes += (await gzip(compressed.payload)).length;
      delta = compressed.decoded;
      if (errorFeedback) residuals.set(client, compressed.residual);
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
    const denominator = config.noise > 0 ? expectedCohort(config) : sum.totals.denominator;
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
 * and an expected cohort of m. From the run's seed, so that it can be repeated: a rehearsal, which protects nobody.
 */
export function withNoise(average: BlockAverage, config: LabConfig, round: number): BlockAverage {
  const deviation = (config.noise * config.updateClip) / expectedCohort(config);
  const random = seededRandom(clientSeed(config.seed, round, -2));
  return async (start, length) => (await average(start, length)).map((value) => value + deviation * normal(random));
}
