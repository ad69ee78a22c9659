import { joinEvaluations, type Evaluation } from "../model/evaluation";
import { GossipHub } from "../federation/gossip";
import { normOf } from "../federation/privacy/clip";
import { drawCohort } from "../federation/round/draw";
import { CohortTooLargeError } from "./collect";
import { allOf, clientSeed, drawsOf, expectedCohort, planOf, stayingOf, type Shares } from "./cohort";
import type { LabConfig } from "./config";
import { durationOf } from "./durations";
import { metricsOf, type Played, type Playing } from "./played";
import { keepOf } from "./stepped";

/**
 * A federation without a server. Every client has a model of its own; in each round a share C of them train theirs, and then all average
 * with their neighbours: DFedAvg (Sun, Li and Wang 2021, arXiv 2104.11375, algorithm 1), with push-sum (Kempe, Dobra and Gehrke 2003) in the
 * place of a fixed mixing matrix, so that examples can weigh, as in FedAvg. The clients stand on a circle; in step t each gives half of its sum
 * to the one `2^(t mod neighbours)` further on (the exponential graph of Assran et al. 2019, arXiv 1811.10792). It is the arithmetic of a
 * live round's hubs: src/federation/gossip.ts.
 */

/** Numbers of each client that are mixed at once: what its links hold of them must fit into memory for all clients. */
const BLOCK = 1 << 14;
/** Bytes of the clients' models, before and after a round. */
const MODELS_BYTES = 2 ** 31;

/** To whom a client gives in a step. */
const peerOf = (client: number, step: number, { clients, neighbours }: LabConfig): number =>
  (client + 2 ** (step % neighbours)) % clients;

/**
 * Averages models with their neighbours', in place.
 * @param weights n_k, what each model counts
 * @param first number of this round's first step among all of the run
 * @param isAway those with whom nobody can speak
 * @returns messages that were sent
 */
export function mix(
  models: readonly Float32Array[],
  weights: readonly number[],
  { config, first, isAway }: { config: LabConfig; first: number; isAway: (client: number) => boolean },
): number {
  const parameters = models[0]?.length ?? 0;
  const steps = Array.from({ length: config.gossipSteps }, (_, i) =>
    [...models.keys()]
      .map((from) => ({ from, to: peerOf(from, first + i, config) }))
      .filter(({ from, to }) => !isAway(from) && !isAway(to)),
  );
  for (let start = 0; start < parameters; start += BLOCK) {
    const blocks = models.map((model) => model.subarray(start, start + BLOCK));
    const hubs = blocks.map((block, k) => {
      const weight = weights[k] as number;
      return new GossipHub(String(k), { sum: new Float64Array(block).map((value) => weight * value), weight });
    });
    for (const pairs of steps) {
      // All give at once: nobody passes on what it has got in the same step.
      const messages = pairs.map(({ from, to }) => ({ to, message: (hubs[from] as GossipHub).send(String(to)) }));
      for (const { to, message } of messages) (hubs[to] as GossipHub).receive(message);
    }
    blocks.forEach((block, k) => block.set((hubs[k] as GossipHub).estimate()));
  }
  return steps.reduce((sum, pairs) => sum + pairs.length, 0);
}

/** The models' mean, weighted by examples: what a server would have made of them. */
function meanOf(models: readonly Float32Array[], weights: readonly number[]): Float32Array<ArrayBuffer> {
  const total = weights.reduce((a, b) => a + b, 0);
  const sum = new Float64Array(models[0]?.length ?? 0);
  models.forEach((model, k) => {
    const share = (weights[k] as number) / total;
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + share * (model[i] as number);
  });
  return Float32Array.from(sum);
}

const examplesOf = ({ train }: Shares, { maxExamples }: LabConfig): number[] =>
  train.map(({ length }) => Math.min(length, maxExamples));

/** @throws CohortTooLargeError where the clients' models do not fit into memory */
export async function gossipRound(playing: Playing): Promise<Played> {
  const { config, state, model, shares, number, rules, pool, signal, report } = playing;
  if (2 * config.clients * model.parameters * 4 > MODELS_BYTES) {
    throw new CohortTooLargeError(
      `${config.clients} clients have a model each, before and after a round, which is more than two gigabytes: choose fewer, or a smaller model.`,
    );
  }
  const models = (state.models ?? allOf(config).map(() => state.weights)).map((weights) => weights.slice());
  const scheduled = config.schedule?.[(number - 1) % config.schedule.length];
  const draw = { size: expectedCohort(config) };
  // Whoever a schedule names twice has one model all the same.
  const cohort =
    (scheduled && [...new Set(scheduled)]) ??
    drawCohort(allOf(config), draw, drawsOf(config, number)).sort((a, b) => a - b);
  const staying = stayingOf(config, number, cohort);
  const plan = planOf(config, state.learningRate);
  report("training", 0, staying.length);
  let done = 0;
  const keep = keepOf(config, rules);
  const trainings = staying.map(async (place) => {
    const client = cohort[place] as number;
    const own = models[client] as Float32Array;
    signal?.throwIfAborted();
    const train = shares.train[client] ?? new Uint32Array();
    const { delta, ...result } = await pool.train({
      weights: own,
      plan,
      seed: clientSeed(config.seed, number, place),
      train,
      heldOut: shares.heldOut[client] ?? new Uint32Array(),
      norms: state.norms.get(client) ?? null,
    });
    for (const tensor of model.tensors) {
      if (keep(model, tensor)) continue;
      for (let i = tensor.offset; i < tensor.offset + tensor.size; i++) {
        own[i] = (own[i] as number) + (delta[i] as number);
      }
    }
    done += 1;
    report("training", done, staying.length);
    return { client, examples: Math.min(train.length, config.maxExamples), result };
  });
  const results = await Promise.all(trainings);
  signal?.throwIfAborted();
  const facts = { count: results.length, examples: 0, loss: 0, accuracy: 0, below: 0 };
  for (const { client, examples, result } of results) {
    if (result.norms) state.norms.set(client, result.norms);
    facts.examples += examples;
    facts.loss += result.loss * examples;
    facts.accuracy += result.accuracy * examples;
  }
  const stays = new Set(staying.map((place) => cohort[place]));
  const away = new Set(cohort.filter((client) => !stays.has(client)));
  const weights = examplesOf(shares, config);
  const first = (number - 1) * config.gossipSteps;
  const messages = mix(models, weights, { config, first, isAway: (client) => away.has(client) });
  const mean = meanOf(models, weights);
  const stepNorm = normOf(mean.map((value, i) => value - (state.weights[i] as number)));
  state.models = models;
  state.weights = mean;
  let found: Evaluation[] = [];
  if (number % config.evaluateEvery === 0 || number === config.rounds) {
    report("evaluating", 0, 1);
    found = await Promise.all(models.map(playing.evaluate));
    // All clients' answers, to each of the test examples.
    state.evaluation = { ...joinEvaluations(found), examples: found[0]?.examples ?? 0 };
  }
  if (state.clock !== undefined) {
    state.clock += Math.max(0, ...staying.map((place) => durationOf(config, cohort[place] as number, number, place)));
  }
  // A sum and its weight in float64, as hubs send them.
  const bytes = messages * 8 * (model.parameters + 1);
  return {
    round: {
      cohort,
      left: cohort.length - staying.length,
      published: true,
      reason: null,
      stepNorm,
      examples: facts.examples,
      trainLoss: facts.count > 0 ? facts.loss / facts.examples : null,
      trainAccuracy: facts.count > 0 ? facts.accuracy / facts.examples : null,
      testLoss: found.length > 0 ? (state.evaluation?.loss ?? null) : null,
      testAccuracy: found.length > 0 ? (state.evaluation?.accuracy ?? null) : null,
      ...(found.length > 0 && { spread: spreadOf(found.map(({ accuracy }) => accuracy)) }),
      attackSuccess: null,
      clients: results.map(({ client, examples, result }) => metricsOf(client, examples, result)),
      bytesDown: bytes,
      bytesUp: bytes,
    },
    facts,
    rules,
  };
}

/** How far numbers are from one another: their standard deviation, of all of them and not of a sample, and the least and the most. */
function spreadOf(values: readonly number[]): { deviation: number; least: number; most: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { deviation: Math.sqrt(square), least: Math.min(...values), most: Math.max(...values) };
}
