import { EXPRESSIONS } from "../../model/expressions";
import { summarize, type ModelName } from "../../model/model";
import { heldInTraining, MOST } from "../../model/trainable";
import type { RoundConfig } from "../protocol";
import { BLOCK } from "../server-optimizers/step-model";
import { digits } from "./digits";
import { expressions } from "./expressions";
import { expressionsCompact } from "./expressions-compact";
import { fit } from "./network";
import type { TaskDescription } from "./task";

/** The tasks that every deployment has. Others are added by an administrator while it runs: see description.ts. */
export const BUILT_IN = { expressions, "expressions-compact": expressionsCompact, digits } as const satisfies Record<
  string,
  TaskDescription
>;
export type BuiltInName = keyof typeof BUILT_IN;
export const BUILT_IN_NAMES = Object.keys(BUILT_IN) as [BuiltInName, ...BuiltInName[]];
export const DEFAULT_TASK: BuiltInName = "expressions";

/** A task's name: one of the built-in ones, or of one that an administrator has added. */
export type TaskName = string;

/** There is no such task, or nobody here has heard of it yet. */
export class UnknownTaskError extends Error {
  override readonly name = "UnknownTaskError";
}

/** Those that were added, as far as they are known here: the edge is asked for them, and what it says is noted with {@link noteTask}. */
const added = new Map<TaskName, { task: TaskDescription; revision: number }>();

export const isBuiltIn = (name: TaskName): name is BuiltInName => Object.hasOwn(BUILT_IN, name);

/** A task by its name; undefined where it is not known here. */
export const findTask = (name: TaskName): TaskDescription | undefined =>
  isBuiltIn(name) ? BUILT_IN[name] : added.get(name)?.task;

/** A task by its name. @throws UnknownTaskError */
export function taskNamed(name: TaskName): TaskDescription {
  const task = findTask(name);
  if (!task) throw new UnknownTaskError(`The task ${name} is not known here.`);
  return task;
}

/**
 * Notes what an added task is, unless something newer or the same is known. The built-in ones stay as they are.
 * @param revision higher with each change of the task
 */
export function noteTask(name: TaskName, task: TaskDescription, revision: number): void {
  const known = added.get(name);
  if (isBuiltIn(name) || (known && known.revision >= revision)) return;
  // What follows from it is computed once for each: one that says the same stays what it is.
  const isSame = JSON.stringify(known?.task) === JSON.stringify(task);
  added.set(name, { task: known && isSame ? known.task : task, revision });
}

/**
 * Whether a task is about the seven expressions, in FER2013's order. Faces that show them are one collection on a device, whatever network
 * learns from them, and `src/play` knows them by heart; those of any other task of faces are that task's, as drawings and pictures are.
 */
export const showsExpressions = ({ examples, labels }: Pick<TaskDescription, "examples" | "labels">): boolean =>
  examples === "face" && labels.join() === EXPRESSIONS.join();

/** The task whose network a model is: its first checkpoint is that model's. */
export const taskOf = (model: ModelName): BuiltInName | undefined =>
  BUILT_IN_NAMES.find((name) => BUILT_IN[name].model === model);

/** Reads of R2 that a merge makes for itself: some ten seconds of the seed CNN's, and a tenth of the subrequests that Cloudflare allows. */
const MOST_READS = 1000;

/** Why the rounds of a task cannot be as a configuration says, or a part of one; undefined where they can. */
export function taskConflict(
  task: Pick<TaskDescription, "examples" | "dreams" | "model" | "input" | "labels">,
  { augment = false, rehearse = 0, agreement = 0, strategy, personalLayers = 1, ...size }: Partial<RoundConfig>,
): string | undefined {
  const { examples, dreams } = task;
  const model = summarize(fit(task));
  const layers = model.layers.filter(({ parameters }) => parameters > 0).length;
  if (personalLayers >= layers && (personalLayers > 1 || (strategy ?? "none") !== "none")) {
    return `The task's network has ${layers} layers with weights, and at least one has to be shared: choose fewer personalLayers.`;
  }
  const { goalCount = 1, overSelection = 1, batchSize = 1 } = size;
  // As many dreamed pictures join every batch.
  const held = heldInTraining(fit(task)) * (rehearse > 0 ? 2 : 1);
  if (batchSize * held > MOST.heldByBatch) {
    return `A batch of ${batchSize} holds ${batchSize * held} numbers of this task's network at once, and at most ${MOST.heldByBatch} are taken: choose a batchSize of ${Math.floor(MOST.heldByBatch / held)} or less.`;
  }
  const reads = Math.ceil(goalCount * overSelection) * Math.ceil(model.parameters / BLOCK);
  if (strategy === "scaffold" && reads > MOST_READS) {
    return `SCAFFOLD's server reads every update of the cohort once more, block by block: here ${reads} reads, and it takes ${MOST_READS} at most. Choose a lower goalCount.`;
  }
  const { noise = 0, awaitOperator = false, tolerance = null } = size;
  if (noise > 0 && dreams === null && !awaitOperator && tolerance !== null) {
    return "With noise no client judges a candidate, and this task has no dreamed pictures that could: choose awaitOperator true, or tolerance null, which publishes whatever comes.";
  }
  if (augment && examples === "drawing") {
    return "Augmentation mirrors faces, which no drawing survives: choose augment false.";
  }
  if (dreams !== null || (rehearse === 0 && agreement === 0)) return undefined;
  const asked = rehearse > 0 ? "rehearse" : "agreement";
  return `This task has no dreamed pictures: ${asked} must be 0.`;
}
