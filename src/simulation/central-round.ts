import type { Evaluation } from "../model/evaluation";
import type { Evidence } from "../federation/guard";
import { normOf } from "../federation/privacy/clip";
import { clipOf, mostExamples } from "../federation/round/bounds";
import { drawCohort } from "../federation/round/draw";
import { continued, firstSeries, gather } from "./async-series";
import { attackSuccess, claimsOf } from "./attack";
import { allOf, clientSeed, drawByShare, drawsOf, expectedCohort, planOf, stayingOf } from "./cohort";
import { collect, type Arrival, type Training } from "./collect";
import { durationOf } from "./durations";
import type { Played, Playing } from "./played";
import type { ClientTask } from "./pool";
import { SimulatedRound } from "./simulated-round";
import { stepped } from "./stepped";
import { broadcastOf, firstState, lossOn, selected } from "./strategy-round";

/** Whose updates a round's average is made of. */
interface Members {
  arrivals: Arrival[];
  cohort: number[];
  left: number;
  /** Examples that the members say they have, those who leave included. */
  claims: number[];
  /** Trainings that have begun in this round, and clients that have got the checkpoint: those who were asked for its loss as well. */
  begun: number;
  downloads: number;
}

/** A round that a server averages, as the edge would: its clients train, and what they send becomes the next weights or does not. */
export async function centralRound(playing: Playing): Promise<Played> {
  const { config, data, pool, signal, model, shares, strategic, state, number, rules, down } = playing;
  const { evaluate, report } = playing;
  const round = new SimulatedRound(number, rules, state.clock ?? 0);
  const isAsync = config.mode === "async";
  const own = strategic && (state.strategy ?? firstState(strategic));
  const series = isAsync ? (state.series ?? firstSeries(state.weights)) : null;
  const gathered = series && gather(series, round, config, shares);
  const { arrivals, cohort, left, claims, begun, downloads } = gathered
    ? {
        ...gathered,
        cohort: gathered.arrivals.map(({ client }) => client),
        left: 0,
        claims: [],
        downloads: gathered.begun,
      }
    : await drawn(playing, round);
  const broadcast = strategic && own && broadcastOf(strategic, own);
  report("training", 0, arrivals.length);
  let done = 0;
  const latest = new Map<number, Promise<Training>>();
  const trainings = arrivals.map((arrival) => {
    const { client } = arrival;
    // Who counts twice in an asynchronous round has trained one after the other.
    const before = isAsync ? latest.get(client) : undefined;
    const training = train(arrival, before);
    latest.set(client, training);
    return training;
  });
  async function train(arrival: Arrival, before: Promise<Training> | undefined): Promise<Training> {
    const { client, seed, weights, learningRate } = arrival;
    const norms = before && (await before).result.norms;
    signal?.throwIfAborted();
    const task: ClientTask = {
      weights,
      plan: planOf(config, learningRate),
      seed,
      train: shares.train[client] ?? new Uint32Array(),
      heldOut: shares.heldOut[client] ?? new Uint32Array(),
      norms: norms ?? state.norms.get(client) ?? null,
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
    report("training", done, arrivals.length);
    return { ...arrival, result };
  }
  const collected = await collect(
    ...([trainings, config, model, state, { number, rules, claims }] as const),
    strategic && own && { run: strategic, state: own },
  );
  const { average, facts } = collected;
  signal?.throwIfAborted();
  for (const [client, own] of collected.norms) state.norms.set(client, own);
  for (const [client, own] of collected.residuals) state.residuals.set(client, own);
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
      const weights = config.averageLast
        ? candidate.weights.map((value, i) => (value + (state.weights[i] as number)) / 2)
        : candidate.weights;
      const evaluation = await evaluate(weights);
      found = { evaluation, success: await attackSuccess(config, { data, pool, weights }, evaluation) };
    }
    const evidence = evidenceOf(found.evaluation, state.evaluation);
    published = round.conclude({ type: "merged", version: number, dreams: null, evidence });
    if (published) {
      state.weights = candidate.weights;
      state.moments = candidate.moments;
      // Who has a state takes it over with the checkpoint that came of it.
      if (collected.strategy) state.strategy = collected.strategy;
      state.evaluation = found.evaluation ?? state.evaluation;
    }
  }
  if (series && gathered) {
    const made = candidate && "weights" in candidate ? { weights: candidate.weights, published } : null;
    state.series = continued(series, gathered.atWork, made);
  }
  if (state.clock !== undefined) state.clock = round.life.endedAt ?? round.now;
  return {
    round: {
      cohort,
      left,
      published,
      reason: round.life.reason,
      stepNorm,
      examples: facts.examples,
      trainLoss: facts.count > 0 ? facts.loss : null,
      trainAccuracy: facts.count > 0 ? facts.accuracy : null,
      testLoss: found.evaluation?.loss ?? null,
      testAccuracy: found.evaluation?.accuracy ?? null,
      attackSuccess: found.success,
      clients: facts.clients,
      ...(isAsync && { staleness: arrivals.map(({ staleness }) => staleness) }),
      bytesDown: downloads * down + begun * 4 * model.parameters * Object.keys(broadcast ?? {}).length,
      bytesUp: facts.bytes,
    },
    facts,
    rules: round.life.config,
  };
}

const byNumber = (a: number, b: number): number => a - b;

/** The members of a synchronous round, drawn by the round or chosen by a schedule or a strategy; of those who stay, whose updates come in time. */
async function drawn(
  { config, pool, shares, strategic, state, number, rules }: Playing,
  round: SimulatedRound,
): Promise<Members> {
  const size = expectedCohort(config);
  const lossOf = (client: number): Promise<number> =>
    lossOn(pool, state.weights, shares.train[client] ?? new Uint32Array());
  const draws = drawsOf(config, number);
  let asked = 0;
  const chosen = async (): Promise<number[]> => {
    if (!strategic) return round.draw(allOf(config), draws);
    const { server, wire } = strategic.strategy;
    const wanted = server.candidates?.(strategic.context, size);
    const candidates =
      wanted === undefined
        ? drawCohort(allOf(config), { size }, draws)
        : drawByShare(
            shares.train.map(({ length }) => length),
            wanted,
            draws,
          );
    if (wire.losses) asked = candidates.length;
    return selected(strategic, candidates.sort(byNumber), size, lossOf);
  };
  const cohort = config.schedule?.[(number - 1) % config.schedule.length] ?? (await chosen());
  const trains = round.begin(
    cohort.map((_, place) => String(place)),
    config.clients,
  );
  const { deadline, trainingAt } = round.life;
  const endsAt = (place: number): number =>
    (trainingAt ?? round.now) + durationOf(config, cohort[place] as number, number, place);
  const staying = stayingOf(config, number, cohort).filter((place) => endsAt(place) <= (deadline ?? Infinity));
  const claims = claimsOf(config, shares, cohort);
  const [most, clip] = [mostExamples(rules, claims), clipOf(rules, normOf(state.weights))];
  const arrivals = (trains ? staying : [])
    .filter((place) => round.take(String(place), endsAt(place)))
    .map((place): Arrival => ({
      client: cohort[place] as number,
      seed: clientSeed(config.seed, number, place),
      weights: state.weights,
      learningRate: state.learningRate,
      claimed: claims[place] as number,
      most,
      clip,
      staleness: 0,
    }));
  const begun = cohort.length;
  return { arrivals, cohort, left: begun - staying.length, claims, begun, downloads: Math.max(asked, begun) };
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
