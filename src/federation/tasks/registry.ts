import type { ModelName } from "../../model/model";
import type { RoundConfig } from "../protocol";
import { digits } from "./digits";
import { expressions } from "./expressions";
import { expressionsCompact } from "./expressions-compact";
import type { TaskDescription } from "./task";

/** The tasks of this deployment: the edge, the pages, the lab and the clients without a browser read here what there is to do. */
export const TASKS = { expressions, "expressions-compact": expressionsCompact, digits } as const satisfies Record<
  string,
  TaskDescription
>;
export type TaskName = keyof typeof TASKS;
export const TASK_NAMES = Object.keys(TASKS) as [TaskName, ...TaskName[]];
export const DEFAULT_TASK: TaskName = "expressions";

/** The task whose network a model is: its first checkpoint is that model's. */
export const taskOf = (model: ModelName): TaskName | undefined =>
  TASK_NAMES.find((name) => TASKS[name].model === model);

/** Why the rounds of a task cannot be as a configuration says, or a part of one; undefined where they can. */
export function taskConflict(
  task: TaskName,
  { augment = false, rehearse = 0, agreement = 0 }: Partial<RoundConfig>,
): string | undefined {
  if (augment && TASKS[task].examples !== "face") {
    return "Augmentation mirrors faces, which no digit survives: choose augment false.";
  }
  if (TASKS[task].dreams !== null || (rehearse === 0 && agreement === 0)) return undefined;
  const asked = rehearse > 0 ? "rehearse" : "agreement";
  return `The task ${task} has no dreamed pictures: ${asked} must be 0.`;
}
