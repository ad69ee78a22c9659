import * as v from "valibot";
import { invitationTokenSchema } from "../federation/protocol";
import { TASK_NAMES, type TaskName } from "../federation/tasks/registry";
import { chosenTask } from "./task.svelte";

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

/**
 * Whether this page was opened by such a link. Its task becomes the player's choice, and its token is kept on this device and taken out
 * of the address, which people show and send to others.
 */
export function acceptInvitation(): boolean {
  const [mark, token] = location.hash.split("=");
  if (mark !== MARK) return false;
  const wanted = new URLSearchParams(location.search).get("task");
  const task = TASK_NAMES.find((name) => name === wanted);
  if (task !== undefined) {
    chosenTask.choose(task);
    if (v.is(invitationTokenSchema, token)) localStorage.setItem(keyOf(task), token);
  }
  if (token !== undefined) history.replaceState(null, "", `${location.pathname}${location.search}${MARK}`);
  return true;
}
