import * as v from "valibot";
import type { ModelSummary } from "../../model/model";
import { localSteps } from "../aggregation/fednova";
import type { Plan, RoundConfig } from "../protocol";
import { ditto, dittoEntries } from "./ditto";
import { fedper } from "./fedper";
import { fedrep, fedrepEntries } from "./fedrep";
import { moon, moonEntries } from "./moon";
import { lastLayers } from "./personal-layers";
import type { AnyStrategy } from "./registry";
import type { ClientContext, LiveStrategy, Span, StrategyContext, Vectors } from "./strategy";

/**
 * The strategies that live rounds take: those whose clients remember something, on their own device, and whose server averages as the round
 * says. Protocol, form, edge and every client follow this list and what each entry's `live` says.
 */
const LIVE = { fedper, fedrep, ditto, moon };
export type LiveName = keyof typeof LIVE;
/** What a round can say: `none` is FedAvg's client. */
export const LIVE_NAMES = ["none", ...(Object.keys(LIVE) as LiveName[])] as ["none", ...LiveName[]];

/** Their options, as a round and a plan name them. */
export const liveEntries = { ...fedrepEntries, ...dittoEntries, ...moonEntries } as const;
export const LIVE_OPTIONS = Object.keys(liveEntries) as (keyof typeof liveEntries)[];
type LiveOptions = { [K in keyof typeof liveEntries]: v.InferOutput<(typeof liveEntries)[K]> };
/** What of a round, or of its plan, says which of them its clients follow, and how. */
export type LiveChoice = { strategy: "none" | LiveName } & LiveOptions;

/** A strategy that live rounds take. */
type Live = AnyStrategy & { live: LiveStrategy<never> };

/** The options of a strategy, of all that a round says. */
function optionsOf({ options }: Live, said: LiveOptions): never {
  const { entries } = options as unknown as { entries: Record<string, unknown> };
  return Object.fromEntries(Object.entries(said).filter(([name]) => name in entries)) as never;
}

/** Whether a field of a round is an option of the strategy that it names. */
export const isOptionOf = (strategy: unknown, field: keyof LiveOptions): boolean =>
  isLive(strategy) && field in (LIVE[strategy].options as unknown as { entries: Record<string, unknown> }).entries;

const isLive = (name: unknown): name is LiveName => typeof name === "string" && Object.hasOwn(LIVE, name);

/** A round's strategy, as far as a client needs it; null where it has none. */
export interface LiveRun {
  strategy: Live;
  context: StrategyContext<never>;
}

/** The strategy that a round or its plan names; null where that is none. @param model of the round's task */
export function liveRunOf(choice: LiveChoice, model: Pick<ModelSummary, "parameters" | "tensors">): LiveRun | null {
  if (choice.strategy === "none") return null;
  const strategy = LIVE[choice.strategy] as unknown as Live;
  // How many clients there are no client knows, and none of these asks.
  return { strategy, context: { options: optionsOf(strategy, choice), model, clients: 0 } };
}

/** How many of the model's last layers a round leaves to its clients. */
export const personalLayersOf = ({
  strategy,
  personalLayers,
}: Pick<LiveChoice, "strategy" | "personalLayers">): number =>
  strategy !== "none" && (LIVE[strategy] as unknown as Live).live.personal ? personalLayers : 0;

/** Where a round's personal layers lie; none of a round that has none. */
export const personalSpans = (
  choice: Pick<LiveChoice, "strategy" | "personalLayers">,
  model: Pick<ModelSummary, "tensors">,
): Span[] => lastLayers(model, personalLayersOf(choice));

/** Whether a backend can train as a round's strategy wants it. */
export const canTrain = ({ strategy }: Pick<LiveChoice, "strategy">, backend: "wasm" | "webgpu"): boolean =>
  strategy === "none" || LIVE[strategy].live?.backends.includes(backend) === true;

/** What a device has kept of a strategy's rounds: everything that it takes to go on, and to play with it. */
export interface KeptState {
  choice: LiveChoice & { strategy: LiveName };
  vectors: Vectors;
}

/** What a client goes on from: what it has kept, where that fits the round's strategy, options and network; else nothing. */
export function vectorsFor({ strategy, context }: LiveRun, kept: KeptState | null | undefined): Vectors {
  const found: Vectors = {};
  for (const [name, length] of Object.entries(strategy.live.keeps(context))) {
    const vector = kept?.vectors[name];
    if (vector?.length !== length) return {};
    found[name] = vector;
  }
  return found;
}

/** The same as the lab's workers are told it, for clients without a browser. */
export const toldOf = (run: LiveRun | null, kept: KeptState | null | undefined) =>
  run
    ? {
        name: run.strategy.name,
        options: run.context.options,
        clients: run.context.clients,
        broadcast: {},
        state: vectorsFor(run, kept),
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
export const playsAfter = (strategy: LiveName): Plays => (LIVE[strategy] as unknown as Live).live.plays;

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
  { learningRate, proximal, lambda }: Pick<RoundConfig, "learningRate" | "proximal" | "lambda">,
): string | undefined {
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
export function liveConflict(
  config: Pick<
    RoundConfig,
    "strategy" | "optimizer" | "patience" | "mode" | "aggregation" | "layers" | "learningRate" | "proximal" | "lambda"
  >,
): string | undefined {
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
  return stepsConflict(strategy, config);
}
