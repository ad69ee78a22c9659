import * as v from "valibot";
import type { ModelSummary } from "../../model/model";
import { localSteps } from "../aggregation/fednova";
import type { Plan, RoundConfig } from "../protocol";
import { ditto, dittoEntries } from "./ditto";
import { feddyn, feddynEntries } from "./feddyn";
import { fedper } from "./fedper";
import { fedrep, fedrepEntries } from "./fedrep";
import { moon, moonEntries } from "./moon";
import { lastLayers } from "./personal-layers";
import type { AnyStrategy } from "./registry";
import { scaffold } from "./scaffold";
import type { ClientContext, LiveStrategy, Span, StrategyContext, Vectors } from "./strategy";

/**
 * The strategies that live rounds take: those whose clients remember something, on their own device. The server averages as the round says,
 * unless it remembers something, too. Protocol, form, edge and every client follow this list and what each entry's `live` says.
 */
const LIVE = { fedper, fedrep, ditto, moon, feddyn, scaffold };
export type LiveName = keyof typeof LIVE;
/** What a round can say: `none` is FedAvg's client. */
export const LIVE_NAMES = ["none", ...(Object.keys(LIVE) as LiveName[])] as ["none", ...LiveName[]];

/** Of those whose server remembers something. */
const serverEntries = {
  /** N: how many devices the federation counts, whether they come or not. 0 says nothing. */
  population: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1e9)), 0),
} as const;

/** Their options, as a round and a plan name them. */
export const liveEntries = {
  ...fedrepEntries,
  ...dittoEntries,
  ...moonEntries,
  ...feddynEntries,
  ...serverEntries,
} as const;
export const LIVE_OPTIONS = Object.keys(liveEntries) as (keyof typeof liveEntries)[];
type LiveOptions = { [K in keyof typeof liveEntries]: v.InferOutput<(typeof liveEntries)[K]> };
/** What of a round, or of its plan, says which of them its clients follow, and how. */
export type LiveChoice = { strategy: "none" | LiveName } & LiveOptions;

/** A strategy that live rounds take. */
type Live = AnyStrategy & { live: LiveStrategy<never> };

const liveNamed = (name: LiveName): Live => LIVE[name] as unknown as Live;

/** A strategy's options, each with the field of a round that says it. */
const fieldsOf = ({ options, live }: Live): [name: string, field: string][] =>
  Object.keys((options as unknown as { entries: object }).entries).map((name) => [name, live.named?.[name] ?? name]);

/** The options of a strategy, of all that a round says. */
const optionsOf = (strategy: Live, said: LiveOptions): never =>
  Object.fromEntries(
    fieldsOf(strategy).map(([name, field]) => [name, (said as Record<string, unknown>)[field]]),
  ) as never;

/** A strategy's options as the lab names them, by the fields of a round. */
export function asRoundSays(strategy: LiveName, options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const fields = new Map(fieldsOf(liveNamed(strategy)));
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [fields.get(name) ?? name, value]));
}

/** Whether a field of a round is an option of the strategy that it names. */
export const isOptionOf = (strategy: unknown, field: keyof LiveOptions): boolean =>
  isLive(strategy) &&
  (field in serverEntries ? remembers({ strategy }) : fieldsOf(liveNamed(strategy)).some(([, name]) => name === field));

/** Whether a round's server remembers something of its strategy. All updates then count the same, as in the papers. */
export const remembers = ({ strategy }: Pick<LiveChoice, "strategy">): boolean =>
  strategy !== "none" && liveNamed(strategy).live.server !== undefined;

/** Fields of a round that have to stay as they are for what its server remembers to be gone on from. */
export const rememberedBy = ({ strategy }: Pick<LiveChoice, "strategy">): readonly string[] => [
  "strategy",
  // With another way other tensors move.
  "batchNorm",
  ...((strategy !== "none" && liveNamed(strategy).live.server?.measuredBy) || []),
];

export const isLive = (name: unknown): name is LiveName => typeof name === "string" && Object.hasOwn(LIVE, name);

/** A round's strategy, as far as a client needs it; null where it has none. */
export interface LiveRun {
  strategy: Live;
  context: StrategyContext<never>;
}

/** The strategy that a round or its plan names; null where that is none. @param model of the round's task */
export function liveRunOf(choice: LiveChoice, model: Pick<ModelSummary, "parameters" | "tensors">): LiveRun | null {
  if (choice.strategy === "none") return null;
  const strategy = liveNamed(choice.strategy);
  return { strategy, context: { options: optionsOf(strategy, choice), model, clients: choice.population } };
}

/** How many of the model's last layers a round leaves to its clients. */
export const personalLayersOf = ({
  strategy,
  personalLayers,
}: Pick<LiveChoice, "strategy" | "personalLayers">): number =>
  strategy !== "none" && liveNamed(strategy).live.personal ? personalLayers : 0;

/** Where a round's personal layers lie; none of a round that has none. */
export const personalSpans = (
  choice: Pick<LiveChoice, "strategy" | "personalLayers">,
  model: Pick<ModelSummary, "tensors">,
): Span[] => lastLayers(model, personalLayersOf(choice));

/** Whether a backend can train as a round's strategy wants it. */
export const canTrain = ({ strategy }: Pick<LiveChoice, "strategy">, backend: "wasm" | "webgpu"): boolean =>
  strategy === "none" || liveNamed(strategy).live.backends.includes(backend);

/** What a device has kept of a strategy's rounds: everything that it takes to go on, and to play with it. */
export interface KeptState {
  choice: LiveChoice & { strategy: LiveName };
  vectors: Vectors;
  /** The round that they were trained in. */
  round?: number;
  /** Where the strategy's server remembers something, what that training went on from: it counts again where nothing came of the round. */
  before?: { round: number; vectors: Vectors };
}

/** The rounds whose updates are in what a round's server remembers: each pair the first and the last of some in a row. */
export type RoundsCounted = readonly (readonly [first: number, last: number])[];

/**
 * What of a device's state belongs to what the server remembers. An accepted update may come to nothing, because its round is abandoned, its
 * candidate rejected or an older version restored: the server then remembers nothing of it, and its device must not either.
 */
function countedOf(
  { live }: Live,
  kept: KeptState | null | undefined,
  counted: RoundsCounted,
): Pick<KeptState, "round" | "vectors"> | undefined {
  if (!live.server) return kept ?? undefined;
  return [kept, kept?.before].find((one) =>
    counted.some(([first, last]) => one?.round !== undefined && one.round >= first && one.round <= last),
  ) as Pick<KeptState, "round" | "vectors"> | undefined;
}

/**
 * What a client goes on from: what it has kept, where that fits the round's strategy, options and network, and what its server remembers;
 * else nothing.
 * @param counted by that server
 */
export function vectorsFor(
  { strategy, context }: LiveRun,
  kept: KeptState | null | undefined,
  counted: RoundsCounted = [],
): Vectors {
  const found: Vectors = {};
  const fitting = countedOf(strategy, kept, counted);
  for (const [name, length] of Object.entries(strategy.live.keeps(context))) {
    const vector = fitting?.vectors[name];
    if (vector?.length !== length) return {};
    found[name] = vector;
  }
  return found;
}

/**
 * What a device keeps once its update is accepted: with what the training went on from, where it may have to come back to that.
 * @param old what it has kept until then
 * @param counted as the round's assignment says
 */
export function keptAfter<T extends KeptState>(
  now: T,
  old: KeptState | null | undefined,
  counted: RoundsCounted = [],
): T {
  const strategy = liveNamed(now.choice.strategy);
  const from = strategy.live.server && countedOf(strategy, old, counted);
  if (from?.round === undefined) return now;
  return { ...now, before: { round: from.round, vectors: from.vectors } };
}

/** What a client is told beside the weights, by what its server remembers; nothing where that is not told. */
export const broadcastFor = ({ strategy, context }: LiveRun, memory: Float32Array | undefined): Vectors =>
  (memory && strategy.live.server?.told?.(context, memory)) ?? {};

/** Whether a round's server has to know each update with the steps that made it. */
export const seesSteps = ({ strategy }: Pick<LiveChoice, "strategy">): boolean =>
  strategy !== "none" && liveNamed(strategy).live.server?.seesUpdates === true;

/** Whether clients are told what their server remembers. */
export const tellsMemory = ({ strategy }: Pick<LiveChoice, "strategy">): boolean =>
  strategy !== "none" && liveNamed(strategy).live.server?.told !== undefined;

/** The same as the lab's workers are told it, for clients without a browser. */
export const toldOf = (
  run: LiveRun | null,
  kept: KeptState | null | undefined,
  counted?: RoundsCounted,
  memory?: Float32Array,
) =>
  run
    ? {
        name: run.strategy.name,
        options: run.context.options,
        clients: run.context.clients,
        broadcast: broadcastFor(run, memory),
        state: vectorsFor(run, kept, counted),
      }
    : undefined;

/** What a client trains by, for a round's plan. @param done steps of it that were taken before it was interrupted */
export function clientContextOf(
  { strategy, context }: { strategy: AnyStrategy; context: StrategyContext<never> },
  told: Pick<ClientContext<never>, "global" | "broadcast"> & { state: Vectors | null },
  { plan, examples, done = 0 }: { plan: Plan; examples: number; done?: number },
): ClientContext<never> {
  const epochs = strategy.client.epochs?.(context, plan.epochs) ?? plan.epochs;
  return {
    ...context,
    global: told.global,
    broadcast: told.broadcast,
    state: told.state ?? strategy.client.init?.(context) ?? {},
    learningRate: plan.learningRate,
    epochs,
    steps: localSteps(examples, { ...plan, epochs }),
    done,
  };
}

export type Plays = LiveStrategy<never>["plays"];

/** What a device plays with once it has kept something of a strategy's round, and a version of such a round is there. */
export const playsAfter = (strategy: LiveName): Plays => liveNamed(strategy).live.plays;

/** What a checkpoint's file says of the round that made it, for devices that have something of their own: strings, as its metadata are. */
export const metadataOf = (choice: Pick<LiveChoice, "strategy" | "personalLayers">): Record<string, string> =>
  choice.strategy === "none" ? {} : { strategy: choice.strategy, personalLayers: String(personalLayersOf(choice)) };

/**
 * The weights that a device plays with where they are its own.
 * @param shared those of a checkpoint, and its file's metadata; not changed
 * @returns null where the shared ones play: nothing is kept that fits the network, or no round of that strategy has made the checkpoint
 */
export function ownWeights(
  kept: KeptState | undefined,
  model: Pick<ModelSummary, "parameters" | "tensors">,
  shared: { weights: Float32Array; metadata: Readonly<Record<string, string>> },
): Float32Array<ArrayBuffer> | null {
  if (!kept) return null;
  const made = metadataOf(kept.choice);
  const isOfIt = Object.entries(made).every(([name, value]) => shared.metadata[name] === value);
  return isOfIt ? withOwn(kept, model, shared.weights) : null;
}

/** Weights with what is kept in its place; null where that does not fit, or has no place in them. */
function withOwn(
  kept: KeptState,
  model: Pick<ModelSummary, "parameters" | "tensors">,
  weights: Float32Array,
): Float32Array<ArrayBuffer> | null {
  const run = liveRunOf(kept.choice, model);
  if (!run) return null;
  const vectors = vectorsFor(run, kept);
  if (Object.keys(vectors).length === 0) return null;
  return run.strategy.live.playedWith?.(run.context, weights, vectors) ?? null;
}

/**
 * The weights by which a device judges a checkpoint: a model of its own says nothing of it, its own layers belong to it where the
 * round leaves as many to its clients.
 * @param personalLayers of the round
 */
export function judgedWeights(
  kept: KeptState | null | undefined,
  personalLayers: number,
  model: Pick<ModelSummary, "parameters" | "tensors">,
  weights: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  if (!kept || personalLayers === 0 || personalLayersOf(kept.choice) !== personalLayers) return weights;
  return withOwn(kept, model, weights) ?? weights;
}

/**
 * Why a strategy does not go with the steps that its clients take, in live rounds and in the lab, in words; undefined where it does.
 * @param strategy also one that the lab alone knows
 * @param steps `lambda` as the strategy is told it
 */
export function stepsConflict(
  strategy: string | null,
  {
    learningRate,
    proximal,
    lambda,
    alignment,
    batchNorm,
  }: Pick<RoundConfig, "learningRate" | "proximal" | "lambda" | "alignment" | "batchNorm">,
): string | undefined {
  if (strategy === "feddyn" && proximal > 0) {
    return "FedDyn pulls to the checkpoint by itself, and corrects for as much as that: choose proximal 0.";
  }
  if (strategy === "feddyn" && learningRate * alignment >= 2) {
    return "FedDyn's clients would diverge: their pull to the checkpoint goes beyond it by as much or more. Choose alignment (alpha in the lab) so that learningRate times it is below 2.";
  }
  if ((strategy === "feddyn" || strategy === "scaffold") && batchNorm === "local") {
    return "FedDyn and SCAFFOLD correct for how clients differ, and a client's own batch normalization is to stay different: choose batchNorm average or frozen.";
  }
  if (strategy === "scaffold" && proximal > 0) {
    return "SCAFFOLD's clients take what they have moved by for their mean gradient, which FedProx's pull is no part of: choose proximal 0.";
  }
  if (strategy === "fedrep" && proximal > 0) {
    return "FedRep holds the head while the body is trained, and the body before that; FedProx would move what is held: choose proximal 0.";
  }
  // A step of the pull alone takes v - w_t to (1 - learningRate * (lambda + proximal)) (v - w_t): no shorter from a factor of -1 on.
  if (strategy === "ditto" && learningRate * (lambda + proximal) >= 2) {
    return "Ditto's own models would diverge: their pull to the shared one goes beyond it by as much or more. Choose lambda and proximal so that learningRate times their sum is below 2.";
  }
  return undefined;
}

/** Why a round's strategy does not go with what else it says, in words; undefined where it does. */
export function liveConflict(config: RoundConfig): string | undefined {
  const { strategy, optimizer, patience, mode, aggregation, layers } = config;
  if (strategy === "none") return undefined;
  if (optimizer !== "sgd" || patience > 0) {
    return "Strategies count steps of plain SGD: choose optimizer sgd and patience 0.";
  }
  if (mode !== "sync") {
    return "A strategy with a state knows updates of one and the same base only: choose mode sync, or strategy none.";
  }
  if (aggregation === "q-fair" || aggregation === "fednova") {
    return "q-FedAvg weighs by the shared model's loss and FedNova by the plan's steps, and a strategy's clients have others: choose another aggregation, or strategy none.";
  }
  if (layers === "head") {
    return "A strategy's clients train all layers: choose layers all, or strategy none.";
  }
  return serverConflict(config) ?? stepsConflict(strategy, config);
}

/** Why a server that remembers something does not go with what else a round says; undefined where it does, and where it remembers nothing. */
export function serverConflict(config: RoundConfig): string | undefined {
  if (!remembers(config)) return undefined;
  const name = config.strategy === "feddyn" ? "FedDyn" : "SCAFFOLD";
  if (config.aggregation !== "mean" || config.serverOptimizer !== "sgd") {
    return `${name}'s server remembers what all updates together tell of its clients, and steps as its paper does: choose aggregation mean and serverOptimizer sgd.`;
  }
  if (config.strategy === "feddyn" && (config.serverLearningRate !== 1 || config.prior > 0)) {
    return "FedDyn's step is the mean and what its server remembers, both whole: choose serverLearningRate 1 and prior 0.";
  }
  if (config.noise > 0) {
    return `What ${name}'s server remembers would add up the noise of all rounds: choose noise 0.`;
  }
  if (config.clipQuantile > 0) {
    return `${name}'s clients cut their own updates to the clip, which would find none longer and fall from round to round: choose clipQuantile 0.`;
  }
  const exact = config.secure ? "int8" : "float32";
  if (config.codec !== exact) {
    return `What ${name}'s devices keep has to be what counts, and a codec loses some of it on the way: choose codec ${exact}${config.secure ? ", the most exact under masks" : ""}.`;
  }
  // All who are drawn may count: whose update is there counts when the goal is reached.
  const most = Math.ceil(config.goalCount * config.overSelection);
  if (config.population < most) {
    return `${name}'s server has to know how many devices there are in all: choose population, of ${most} or more, for as many may count in one round.`;
  }
  if (seesSteps(config) && (config.secure || config.topology !== "central")) {
    return "SCAFFOLD's server divides each update by its steps: masks hide it, and a hub knows its own only. Choose secure false and topology central, or FedDyn, which needs the sum alone.";
  }
  return undefined;
}
