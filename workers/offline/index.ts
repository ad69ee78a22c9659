/// <reference lib="webworker" />
import { clientsClaim, type WorkboxPlugin } from "workbox-core";
import { ExpirationPlugin } from "workbox-expiration";
import { cleanupOutdatedCaches, createHandlerBoundToURL, precacheAndRoute } from "workbox-precaching";
import { NavigationRoute, registerRoute } from "workbox-routing";
import { CacheFirst } from "workbox-strategies";
import { NOT_PAGES } from "./not-pages";

/**
 * The service worker: the game goes on without the server. It keeps the pages from the first visit on, and the
 * workers and what they load once they were used. What the edge answers is never kept here: checkpoints have a cache of their own.
 */
declare const self: ServiceWorkerGlobalScope;

/** The built files to keep, with a revision where the name does not say it; put in by the build (vite.config.ts). */
declare const PRECACHE: { url: string; revision: string | null }[];

clientsClaim();
precacheAndRoute(PRECACHE);
cleanupOutdatedCaches();
registerRoute(new NavigationRoute(createHandlerBoundToURL("/"), { denylist: NOT_PAGES }));
registerRoute(
  ({ url, sameOrigin }) => sameOrigin && /^\/(assets|models\/blazeface)\//.test(url.pathname),
  // Names change with their content: what older versions used goes first.
  new CacheFirst({
    cacheName: "best-actor-files",
    // Its types are not made for `exactOptionalPropertyTypes`.
    plugins: [new ExpirationPlugin({ maxEntries: 60 }) as WorkboxPlugin],
  }),
);

// The page decides when a new version takes over: it may be in the middle of a take.
self.addEventListener("message", ({ data }) => {
  if ((data as { type?: string } | null)?.type === "SKIP_WAITING") void self.skipWaiting();
});
