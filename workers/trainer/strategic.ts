import { putNorms, takeNorms } from "../../src/model/batch-norm";
import type { ModelSummary } from "../../src/model/model";
import { delta } from "../../src/federation/fedavg";
import { clipTo } from "../../src/federation/privacy/clip";
import type { Plan } from "../../src/federation/protocol";
import type { AnyStrategy } from "../../src/federation/strategies/registry";
import type { ClientContext, GradientHook, Vectors } from "../../src/federation/strategies/strategy";
import type { Network } from "../tf/network";
import { DIVERGED, type Examples, type Snapshot } from "./api";
import { askModels, localSgd, type BatchDone, type LocalJob } from "./local-sgd";

/** What a strategy with a state adds to one client's training: the lab and the trainer of live rounds do the same. */
export interface Strategic {
  strategy: AnyStrategy;
  context: ClientContext<never>;
}

/** Where a training begins: the base checkpoint's weights, with whatever of them is the client's own. */
export const startOf = (base: Float32Array, strategic: Strategic | undefined): Float32Array =>
  strategic?.strategy.client.beforeTraining?.(strategic.context) ?? base;

/** Sets a network to where a training begins, and to what FedProx holds it to. */
export function begin(network: Network, from: Float32Array, anchor: Float32Array): void {
  network.setWeights(from);
  network.setAnchor(anchor);
  network.setOptimizer({ steps: 0, first: null, second: null });
}

/** What changes the steps of the shared training. @param network holds the weights that it begins with */
export async function besideOf(
  network: Network,
  own: Examples,
  strategic: Strategic | undefined,
): Promise<Pick<LocalJob, "hook" | "contrast">> {
  if (!strategic) return {};
  const { client } = strategic.strategy;
  const against = client.contrast?.(strategic.context);
  return {
    hook: client.gradientHook?.(strategic.context),
    contrast: against && (await askModels(network, own, against)),
  };
}

/** Weights that are no further from the base than the norm; those that are not changed. */
function within(norm: number, base: Float32Array, trained: Float32Array): Float32Array {
  const { delta: short, isBelow } = clipTo(delta(trained, base), norm);
  return isBelow ? trained : short.map((value, i) => (base[i] as number) + value);
}

/** What becomes of the shared training: what is sent, and what the client keeps. */
export interface SharedOutcome {
  /** The trained weights minus the base's, with zeros for what stays with the client. */
  delta: Float32Array<ArrayBuffer>;
  /** The client's own batch normalization, where the plan keeps it local. */
  norms: Float32Array<ArrayBuffer> | null;
  state: Vectors;
  sent: Vectors;
}

/** @param updateNorm of the plan: a longer way than that is cut short before anything is kept of it or sent */
export function afterShared(
  model: ModelSummary,
  { trained: whole, base, isLocal }: { trained: Float32Array; base: Float32Array; isLocal: boolean },
  strategic: Strategic | undefined,
  { updateNorm }: Pick<Plan, "updateNorm">,
): SharedOutcome {
  const trained = updateNorm === 0 ? whole : within(updateNorm, base, whole);
  const after = strategic?.strategy.client.afterTraining?.(strategic.context, trained);
  const change = after?.delta ?? delta(trained, base);
  const norms = isLocal ? takeNorms(model, trained) : null;
  // What stays on the device does not leave it as a difference either.
  if (norms) putNorms(model, change, new Float32Array(norms.length));
  return { delta: change, norms, state: { ...strategic?.context.state, ...after?.state }, sent: after?.sent ?? {} };
}

/** A model of the client's own that is trained beside the shared one, on the same examples. */
export interface OwnTraining {
  name: string;
  from: Float32Array<ArrayBuffer>;
  hook: GradientHook;
}

/** That of a strategy; undefined where there is none. */
export function ownTrainingOf(strategic: Strategic | undefined): OwnTraining | undefined {
  const personal = strategic?.strategy.client.personal;
  if (!personal) return undefined;
  return {
    name: personal.name,
    from: personal.start(strategic.context),
    hook: personal.gradientHook(strategic.context),
  };
}

/**
 * Trains it.
 * @param base the shared model's weights, which the strategy holds it to
 * @param job of which it takes all but the hook
 * @param resume where an interrupted training of it goes on
 * @returns its weights; null where it has diverged, which takes nothing from the shared training that is done by then
 */
export async function trainOwn(
  network: Network,
  { from, hook }: OwnTraining,
  base: Float32Array,
  job: LocalJob,
  onBatch: (done: BatchDone) => Promise<void>,
  resume?: Snapshot,
): Promise<Float32Array<ArrayBuffer> | null> {
  begin(network, from, base);
  if (resume) {
    network.setWeights(resume.weights);
    network.setOptimizer(resume.optimizer);
  }
  try {
    await localSgd(network, { ...job, hook, from: resume }, onBatch);
  } catch (error) {
    if (error instanceof Error && error.name === DIVERGED) return null;
    throw error;
  }
  const trained = await network.getWeights();
  // The last step may be the one too far, behind which no loss is asked for.
  return trained.every(Number.isFinite) ? trained : null;
}
