import { loadDeveloperTexts } from "../ui/i18n/developer";
import { nextTask } from "../ui/idle";
import type { Route } from "./router.svelte";

/** The code of each page but the first one's, `/`, which is there from the start. */
const PAGES = {
  "/play": () => import("../play/Play.svelte"),
  "/draw": () => import("../draw/Draw.svelte"),
  "/pictures": () => import("../draw/Pictures.svelte"),
  "/act": () => import("../draw/Act.svelte"),
  "/progress": () => import("../play/Progress.svelte"),
  "/faces": () => import("../gallery/Faces.svelte"),
  "/train": () => import("../train/Train.svelte"),
  "/rounds": () => withDeveloperTexts(import("../rounds/Rounds.svelte")),
  "/lab": () => withDeveloperTexts(import("../lab/Lab.svelte")),
  "/privacy": () => import("./Privacy.svelte"),
} satisfies Record<Exclude<Route, "/">, unknown>;

async function withDeveloperTexts<T>(page: Promise<T>): Promise<T> {
  const [loaded] = await Promise.all([page, loadDeveloperTexts()]);
  return loaded;
}

/** A page, to be drawn in a task of its own; null is an address at which there is none. */
export async function loadPage(route: Exclude<Route, "/"> | null) {
  const page = await (route === null ? import("./NotFound.svelte") : PAGES[route]());
  await nextTask();
  return page;
}
