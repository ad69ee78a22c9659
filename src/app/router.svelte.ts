/** The pages by their paths. The edge serves index.html for each of them. */
export const ROUTES = ["/", "/play", "/progress", "/faces", "/train", "/rounds", "/lab", "/privacy"] as const;
export type Route = (typeof ROUTES)[number];

function current(): Route | null {
  const path = location.pathname.replace(/(.)\/$/, "$1");
  return ROUTES.find((route) => route === path) ?? null;
}

let route = $state(current());

export const router = {
  /** The page that is shown; null when there is none at this address. */
  get route(): Route | null {
    return route;
  },
};

addEventListener("popstate", () => {
  route = current();
});

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
  history.pushState(null, "", link.href);
  route = current();
  scrollTo(0, 0);
  document.querySelector<HTMLElement>("main")?.focus();
});
