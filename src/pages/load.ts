import type { Route } from "../router.svelte";

/** The code of a page; that of the first one, `/`, is there from the start. */
export function loadPage(route: Route | null) {
  switch (route) {
    case "/play":
      return import("./Play.svelte");
    case "/progress":
      return import("./Progress.svelte");
    case "/faces":
      return import("./Faces.svelte");
    case "/train":
      return import("./Train.svelte");
    case "/rounds":
      return import("./Rounds.svelte");
    case "/lab":
      return import("./Lab.svelte");
    case "/privacy":
      return import("./Privacy.svelte");
    default:
      return import("./NotFound.svelte");
  }
}
