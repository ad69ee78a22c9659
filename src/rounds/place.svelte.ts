import { chosenTask } from "../client/task.svelte";
import { findTask, type TaskName } from "../federation/tasks/registry";
import { address } from "../ui/address.svelte";

/** The sections of Rounds, in the order of their tabs. */
export const VIEWS = ["overview", "round", "clients", "versions", "compare", "privacy", "events", "tasks"] as const;
export type View = (typeof VIEWS)[number] | "wall";

/** What of Rounds an address shows. */
interface Place {
  task: TaskName;
  view: View;
  /** The round that is looked at; undefined follows the latest. */
  round: number | undefined;
}

const asked = $derived(new URLSearchParams(address.search));

/** Where one is in Rounds: task, view and round are all in the address, so that each can be linked, and Back leads to the one before. */
export const place = {
  /** At first the task that this device plays. */
  get task(): TaskName {
    const task = asked.get("task");
    return task !== null && findTask(task) ? task : chosenTask.name;
  },

  get view(): View {
    return [...VIEWS, "wall" as const].find((name) => name === asked.get("view")) ?? "overview";
  },

  get round(): number | undefined {
    const round = asked.get("round") ?? "";
    return /^[1-9]\d{0,8}$/.test(round) ? Number(round) : undefined;
  },

  /** What else the address says of a view: a filter, or what is compared. */
  param(name: string): string | undefined {
    return asked.get(name) ?? undefined;
  },

  /** The address of another place. A round is part of it only where that is looked at. */
  href(to: Partial<Place> & Pick<Place, "view">, more: Record<string, string> = {}): string {
    const { task = place.task, view, round } = to;
    // eslint-disable-next-line svelte/prefer-svelte-reactivity -- it is text at once
    const query = new URLSearchParams({
      task,
      ...(view !== "overview" && { view }),
      ...(round !== undefined && { round: String(round) }),
      ...more,
    });
    return `/rounds?${query.toString()}`;
  },

  go(to: Partial<Place> & Pick<Place, "view">, more: Record<string, string> = {}): void {
    address.go(place.href(to, more));
  },
};
