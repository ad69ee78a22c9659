import { isBuiltIn, type TaskName } from "../federation/tasks/registry";
import type { ExampleKind } from "../federation/tasks/task";

/**
 * Which form of a game's texts: digits have sentences of their own, and what the labels of an added task are called is put between
 * quotation marks.
 */
export function wordsOf(kind: ExampleKind, task: TaskName): "" | "named" | "picture" | "acted" {
  if (kind === "drawing") return isBuiltIn(task) ? "" : "named";
  return kind === "face" ? "acted" : kind;
}
