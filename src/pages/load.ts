import { nextTask } from "../client/idle";
import type { Route } from "../router.svelte";

/** The code of each page but the first one's, `/`, which is there from the start. */
const PAGES = {
  "/play": () => import("./Play.svelte"),
  "/progress": () => import("./Progress.svelte"),
  "/faces": () => import("./Faces.svelte"),
  "/train": () => import("./Train.svelte"),
  "/rounds": () => import("./Rounds.svelte"),
  "/lab": () => import("./Lab.svelte"),
  "/privacy": () => import("./Privacy.svelte"),
} satisfies Record<Exclude<Route, "/">, unknown>;

/** A page, to be drawn in a task of its own; null is an address at which there is none. */
export async function loadPage(route: Exclude<Route, "/"> | null) {
  const page = await (route === null ? import("./NotFound.svelte") : PAGES[route]());
  await nextTask();
  return page;
}
