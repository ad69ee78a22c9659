import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import {
  addedTaskSchema,
  descriptionOf,
  MOST_TASKS,
  type AddedTask,
  type ListedTask,
  type TaskState,
} from "../../src/federation/tasks/description";
import { BUILT_IN_NAMES, isBuiltIn, noteTask, type TaskName } from "../../src/federation/tasks/registry";
import type { Env } from "./env";
import { ProblemError } from "./problem";
import { Database, json, optionalJson } from "./store/database";

const CREATE = `
  CREATE TABLE IF NOT EXISTS added (name TEXT PRIMARY KEY, description TEXT NOT NULL, revision INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS retired (name TEXT PRIMARY KEY);
`;

/** A description as it is stored. */
const addedRow = v.object({ name: v.string(), description: json(addedTaskSchema), revision: v.number() });
/** The same in the list, from which one that a later edge has written, and this one does not understand, is left out. */
const listedRow = v.object({ ...addedRow.entries, description: optionalJson(addedTaskSchema) });

/** An added task, and a number that is higher with each change of its description, its state or its first checkpoint. */
export interface Described {
  added: AddedTask;
  revision: number;
}

/** The one list of the tasks that administrators have added, and of those, built-in ones among them, that are retired. */
export class Catalogue extends DurableObject<Env> {
  readonly #db: Database;
  /** What is asked for most, and by anybody: made once after each change. */
  #listed: ListedTask[] | undefined;
  #listedText: string | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(CREATE);
    this.#db = new Database(ctx.storage.sql);
  }

  /** Every task there is, the built-in ones first. */
  list(): ListedTask[] {
    return (this.#listed ??= this.#list());
  }

  /** The same as players read it: JSON. */
  listText(): string {
    return (this.#listedText ??= JSON.stringify({ tasks: this.list() }));
  }

  #changed(): void {
    this.#listed = this.#listedText = undefined;
  }

  #list(): ListedTask[] {
    const state = (name: TaskName): TaskState =>
      this.#db.exists("SELECT 1 FROM retired WHERE name = ?", name) ? "retired" : "open";
    const rows = this.#db.all(listedRow, "SELECT name, description, revision FROM added ORDER BY name");
    return [
      ...BUILT_IN_NAMES.map((name) => ({ name, state: state(name), added: null, revision: 0 })),
      ...rows.flatMap(({ name, description: added, revision }) =>
        added ? [{ name, state: state(name), added, revision }] : [],
      ),
    ];
  }

  get(name: TaskName): Described | null {
    const row = this.#db.first(addedRow, "SELECT name, description, revision FROM added WHERE name = ?", name);
    return row ? { added: row.description, revision: row.revision } : null;
  }

  /** Adds a task of a new name. */
  add(name: TaskName, added: AddedTask, state: TaskState): "added" | "known" | "full" {
    return this.ctx.storage.transactionSync(() => {
      if (this.get(name)) return "known";
      if (this.#db.number("SELECT count(*) AS n FROM added") >= MOST_TASKS) return "full";
      this.#db.run("INSERT INTO added VALUES (?, ?, ?)", name, JSON.stringify(added), Date.now());
      this.setState(name, state);
      this.#changed();
      return "added";
    });
  }

  /** Describes a known task otherwise. Whether that may be, its Coordinator says: see `redescribe` there. */
  change(name: TaskName, added: AddedTask): Described {
    this.#db.run("UPDATE added SET description = ? WHERE name = ?", JSON.stringify(added), name);
    return { added, revision: this.noteChange(name) };
  }

  /** Something of a task is otherwise now, and what depends on how it was is refused. @returns its new revision */
  noteChange(name: TaskName): number {
    const revision = Math.max(Date.now(), (this.get(name)?.revision ?? 0) + 1);
    this.#db.run("UPDATE added SET revision = ? WHERE name = ?", revision, name);
    this.#changed();
    return revision;
  }

  /** Takes back a task that could not begin. */
  remove(name: TaskName): void {
    this.#db.run("DELETE FROM added WHERE name = ?", name);
    this.setState(name, "open");
    this.#changed();
  }

  setState(name: TaskName, state: TaskState): void {
    const isRetired = this.#db.exists("SELECT 1 FROM retired WHERE name = ?", name);
    if ((state === "retired") === isRetired) return;
    if (state === "open") this.#db.run("DELETE FROM retired WHERE name = ?", name);
    else this.#db.run("INSERT INTO retired VALUES (?)", name);
    this.noteChange(name);
  }
}

export const catalogueOf = ({ CATALOGUE }: Env): DurableObjectStub<Catalogue> =>
  CATALOGUE.get(CATALOGUE.idFromName("catalogue"));

/** Notes what a task is, so that it can be asked for by its name in this isolate. */
export function note(name: TaskName, { added, revision }: Described): void {
  noteTask(name, descriptionOf(added), revision);
}

/**
 * Makes sure that a task is known in this isolate as it is now: everything that is about a task begins with this. A name that nobody has
 * given to one makes nothing and keeps nothing.
 * @returns the revision of its description
 * @throws ProblemError `not-found`
 */
export async function knowTask(env: Env, name: TaskName): Promise<number> {
  if (isBuiltIn(name)) return 0;
  const described = await catalogueOf(env).get(name);
  if (!described) throw new ProblemError("not-found", `There is no task ${name}; GET /api/tasks lists all.`);
  note(name, described);
  return described.revision;
}

/** The names of all tasks, each of which is then known here. */
export async function knowAll(env: Env): Promise<TaskName[]> {
  const listed = await catalogueOf(env).list();
  for (const { name, added, revision } of listed) if (added) note(name, { added, revision });
  return listed.map(({ name }) => name);
}
