import { exportExamples } from "../faces/file";
import type { Example } from "../faces/kept";
import type { TaskName } from "../federation/tasks/registry";
import type { ExampleKind } from "../federation/tasks/task";
import { saveFile } from "../ui/save";

/** Gives the player a task's examples as a file. @param examples the newest first */
export function saveExamples(kind: ExampleKind, examples: readonly Example[], task: TaskName): void {
  // The oldest first, so that they are kept in that order again where they are imported.
  saveFile(exportExamples({ [`${kind}s`]: examples.toReversed() }), "application/json", `best-actor-${task}.json`);
}
