import { descriptionOf, readableTasksSchema, type AddedTask, type TaskState } from "../federation/tasks/description";
import { taskSchema, type Task } from "../federation/protocol";
import { isBuiltIn, type TaskName } from "../federation/tasks/registry";
import type { TaskRequest } from "../federation/tasks/request";
import type { TaskDescription } from "../federation/tasks/task";
import { api, bearer, read } from "./edge";
import { PATIENCE } from "./http";

/** What there is to ask of the edge's list of tasks. */

/** A task as this device knows it; `task` is null of a built-in one. */
export interface KnownTask {
  name: TaskName;
  state: TaskState;
  task: TaskDescription | null;
}

/** Every task, open or retired, and the names of those that this page is too old for. @throws EdgeAwayError, EdgeRefusalError */
export async function getTasks(): Promise<{ known: KnownTask[]; leftOut: string[] }> {
  const { tasks, leftOut } = await read(readableTasksSchema, "/api/tasks");
  // A later edge may also have more built-in ones.
  const isKnown = ({ name, added }: (typeof tasks)[number]): boolean => added !== null || isBuiltIn(name);
  const newer = tasks.filter((one) => !isKnown(one)).map(({ name }) => name);
  const known = tasks
    .filter(isKnown)
    .map(({ name, state, added }) => ({ name, state, task: added && descriptionOf(added) }));
  return { known, leftOut: [...leftOut, ...newer] };
}

/** What a task was added as, and a number that is higher with each change of its description, state or first checkpoint. */
export interface Added {
  added: AddedTask;
  revision: number;
}

/** What administrators have added tasks as, by their names, as the edge keeps it. @throws EdgeAwayError, EdgeRefusalError */
export async function getAdded(): Promise<ReadonlyMap<TaskName, Added>> {
  const { tasks } = await read(readableTasksSchema, "/api/tasks");
  return new Map(tasks.flatMap(({ name, added, revision }) => (added ? [[name, { added, revision }] as const] : [])));
}

/**
 * Adds a task, or describes one otherwise.
 * @param revision of the task as it was looked at; null where there was none. Where it is another one by now nothing is changed.
 * @throws EdgeAwayError, EdgeRefusalError (`changed-meanwhile`)
 */
export const putTask = (
  task: TaskName,
  description: TaskRequest,
  revision: number | null,
  token: string,
): Promise<Task> =>
  read(taskSchema, api(task), {
    method: "PUT",
    body: JSON.stringify(description),
    headers: { ...bearer(token), ...(revision === null ? { "if-none-match": "*" } : { "if-match": `"${revision}"` }) },
  });

/** Retires a task, or opens it again. */
export const setTaskState = (task: TaskName, state: TaskState, token: string): Promise<Task> =>
  read(taskSchema, api(task), { method: "PATCH", body: JSON.stringify({ state }), headers: bearer(token) });

/** Gives an added task its first checkpoint. */
export const putFirstCheckpoint = (task: TaskName, file: Uint8Array<ArrayBuffer>, token: string): Promise<Task> =>
  read(
    taskSchema,
    `${api(task)}/first-checkpoint`,
    { method: "PUT", body: file, headers: bearer(token) },
    PATIENCE.transfer,
  );
