import type { ListedTask, TaskState } from "../federation/tasks/description";
import { BUILT_IN_NAMES, noteTask, taskNamed, type TaskName } from "../federation/tasks/registry";
import type { ExampleKind, TaskDescription } from "../federation/tasks/task";

/** What the edge has said last of its tasks, in localStorage; another number where an older page could not read it. */
const KEPT = "best-actor-tasks/1";

/** A task as this device knows it; `task` is null of a built-in one. */
interface Known {
  name: TaskName;
  state: TaskState;
  task: TaskDescription | null;
}

/** The tasks of this deployment: the built-in ones and those that administrators have added, as far as this device has heard. */
class Tasks {
  #known = $state.raw<readonly Known[]>([]);
  #loading: Promise<void> | undefined;

  constructor() {
    try {
      this.#note(JSON.parse(localStorage.getItem(KEPT) ?? "[]") as Known[]);
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

  /** Those of one kind that players take part in. */
  openOf(kind: ExampleKind): readonly TaskName[] {
    return this.open.filter((name) => taskNamed(name).examples === kind);
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
    // Who only looks at the first page needs neither.
    const [{ getTasks }, { descriptionOf }] = await Promise.all([
      import("./edge"),
      import("../federation/tasks/description"),
    ]);
    const listed: readonly ListedTask[] = await getTasks();
    const known = listed.map(({ name, state, added }) => ({ name, state, task: added && descriptionOf(added) }));
    this.#note(known);
    localStorage.setItem(KEPT, JSON.stringify(known));
  }

  #note(known: readonly Known[]): void {
    for (const { name, task } of known) if (task) noteTask(name, task, Date.now());
    this.#known = known;
  }
}

export const tasks = new Tasks();
