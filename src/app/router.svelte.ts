import { chosenTask } from "../client/task.svelte";
import { showsExpressions, taskNamed } from "../federation/tasks/registry";
import type { ExampleKind } from "../federation/tasks/task";
import { address } from "../ui/address.svelte";

/** The pages by their paths. The edge serves index.html for each of them. */
export const ROUTES = [
  "/",
  "/play",
  "/draw",
  "/pictures",
  "/act",
  "/progress",
  "/faces",
  "/train",
  "/rounds",
  "/lab",
  "/privacy",
] as const;
export type Route = (typeof ROUTES)[number];

/** Where the examples of each kind are taken, faces that show no expressions among them. */
const GAMES = { face: "/act", drawing: "/draw", picture: "/pictures" } as const satisfies Record<ExampleKind, Route>;

const route = $derived.by((): Route | null => {
  const path = address.path.replace(/(.)\/$/, "$1");
  // Links, invitations among them, lead to the game; which page that is follows from the task.
  const task = taskNamed(chosenTask.name);
  if (path === "/play" && !showsExpressions(task)) return GAMES[task.examples];
  return ROUTES.find((known) => known === path) ?? null;
});

export const router = {
  /** The page that is shown; null when there is none at this address. */
  get route(): Route | null {
    return route;
  },
};

// Links stay plain <a href>: a click on one of ours changes the page without loading it again.
addEventListener("click", (event: MouseEvent) => {
  if (
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  ) {
    return;
  }
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!ROUTES.some((known) => known === link.pathname) || (link.hash && link.pathname === location.pathname)) return;
  event.preventDefault();
  address.go(link.href);
  // A view of the same page: who chose it stays at the link.
  if (link.dataset["stay"] !== undefined) return;
  scrollTo(0, 0);
  document.querySelector<HTMLElement>("main")?.focus();
});
