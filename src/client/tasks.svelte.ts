import type { TaskState } from "../federation/tasks/description";
import {
  BUILT_IN_NAMES,
  isBuiltIn,
  noteTask,
  showsExpressions,
  taskNamed,
  type TaskName,
} from "../federation/tasks/registry";
import { EXAMPLE_KINDS, type ExampleKind } from "../federation/tasks/task";
import type { KnownTask } from "./catalogue";

/** What the edge has said last of its tasks, in localStorage; another number where an older page could not read it. */
const KEPT = "best-actor-tasks/1";

/** The tasks of this deployment: the built-in ones and those that administrators have added, as far as this device has heard. */
class Tasks {
  #known = $state.raw<readonly KnownTask[]>([]);
  /** Names of tasks that the edge has told of and this page, which is older, cannot read. */
  leftOut = $state.raw<readonly TaskName[]>([]);
  #loading: Promise<void> | undefined;

  constructor() {
    try {
      this.#note(JSON.parse(localStorage.getItem(KEPT) ?? "[]") as KnownTask[]);
    } catch {
      // Somebody else's text. The edge tells them again.
    }
  }

  /** Every task, retired ones too, whose history can be read. */
  get all(): readonly TaskName[] {
    return [...new Set([...BUILT_IN_NAMES, ...this.#known.map(({ name }) => name)])];
  }

  /** Those that players take part in. */
  get open(): readonly TaskName[] {
    return this.all.filter((name) => this.stateOf(name) === "open");
  }

  /** Those of one kind that players take part in; of faces, those that show something else than the expressions. */
  openOf(kind: ExampleKind): readonly TaskName[] {
    return this.open.filter((name) => taskNamed(name).examples === kind && !showsExpressions(taskNamed(name)));
  }

  stateOf(name: TaskName): TaskState {
    return this.#known.find((one) => one.name === name)?.state ?? "open";
  }

  /** Asks the edge; calls while one runs share it. @throws EdgeAwayError, EdgeRefusalError */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #load(): Promise<void> {
    // Who only looks at the first page does not need it.
    const { getTasks } = await import("./catalogue");
    const { known, leftOut } = await getTasks();
    this.#note(known);
    this.leftOut = leftOut;
    // Of a deployment that has the built-in ones, all of them open, there is nothing to remember.
    if (known.some(({ task, state }) => task !== null || state === "retired")) {
      localStorage.setItem(KEPT, JSON.stringify(known));
    } else localStorage.removeItem(KEPT);
  }

  #note(told: readonly KnownTask[]): void {
    // A newer page may have kept what this one, come back from a cache, does not know.
    const known = told.filter(({ name, task }) => (task ? EXAMPLE_KINDS.includes(task.examples) : isBuiltIn(name)));
    for (const { name, task } of known) if (task) noteTask(name, task, Date.now());
    this.#known = known;
  }
}

export const tasks = new Tasks();
