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

/** A page; null is an address at which there is none. */
export const loadPage = (route: Exclude<Route, "/"> | null) =>
  route === null ? import("./NotFound.svelte") : PAGES[route]();
