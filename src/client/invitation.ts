import * as v from "valibot";
import { invitationTokenSchema } from "../federation/protocol";
import { findTask, type TaskName } from "../federation/tasks/registry";
import { chosenTask } from "./task.svelte";
import { tasks } from "./tasks.svelte";

/**
 * Links that bring players to a task: `/play?task=NAME#invited`, or `#invited=TOKEN` where its rounds are for invited devices. What
 * stands behind the # stays in the browser: no log of a server or a proxy has the token.
 */

const MARK = "#invited";
const keyOf = (task: TaskName): string => `best-actor-invitation/${task}`;

/** @param origin where players find this server */
export const invitationLink = (origin: string, task: TaskName, token?: string): string =>
  `${origin}/play?task=${task}${MARK}${token === undefined ? "" : `=${token}`}`;

/** What this device was invited with to a task. */
export const invitationTo = (task: TaskName): string | undefined => localStorage.getItem(keyOf(task)) ?? undefined;

/** What came of an invitation's link: all of it, or why this device was not invited to what was meant. */
export type Invited = "taken" | "unknown-task" | "newer-task" | "damaged-token";

/**
 * Reads the link by which this page was opened; undefined where that was no invitation. Its task becomes the player's choice, and its token
 * is kept on this device and taken out of the address, which people show and send to others.
 */
export function acceptInvitation(): Invited | undefined {
  const [mark] = location.hash.split("=");
  if (mark !== MARK) return undefined;
  const token = location.hash === MARK ? undefined : location.hash.slice(MARK.length + 1);
  if (token !== undefined) history.replaceState(null, "", `${location.pathname}${location.search}${MARK}`);
  const wanted = new URLSearchParams(location.search).get("task");
  const task = wanted ?? "";
  if (!findTask(task)) return tasks.leftOut.includes(task) ? "newer-task" : "unknown-task";
  chosenTask.choose(task);
  if (token === undefined) return "taken";
  if (!v.is(invitationTokenSchema, token)) return "damaged-token";
  localStorage.setItem(keyOf(task), token);
  return "taken";
}
