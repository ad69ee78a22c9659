import { Workbox } from "workbox-window";

/** Whether the server can be reached as far as the browser knows, and whether a newer version of the app waits. */
class Offline {
  online = $state(navigator.onLine);
  /** A newer version has been downloaded and takes over when it is told to. */
  updateReady = $state(false);
  /** The server has no part of this version any more. */
  isGone = $state(false);
  #workbox: Workbox | undefined;

  /** Lets the app start without the server from now on. */
  start(): void {
    addEventListener("online", () => (this.online = true));
    addEventListener("offline", () => (this.online = false));
    addEventListener("vite:preloadError", () => void this.#lookForNewer());
    // While the app is developed, its files change too often to be kept.
    if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
    this.#workbox = new Workbox("/sw.js");
    this.#workbox.addEventListener("waiting", () => (this.updateReady = true));
    // A browser that forbids it, as in some private windows, has the game online only.
    this.#workbox.register().catch((error: unknown) => console.warn("The app cannot be kept for offline use:", error));
  }

  /** A part of the app did not come: is that because the server has a newer app, and no part of this one any more? */
  async #lookForNewer(): Promise<void> {
    const entry = document.querySelector('script[type="module"][src]')?.getAttribute("src");
    try {
      const page = await fetch("/", { cache: "no-store" });
      if (!page.ok || !entry || (await page.text()).includes(entry)) return;
      this.isGone = this.updateReady = true;
    } catch {
      // Then it is the connection.
    }
  }

  /** Changes to the newer version. */
  update(): void {
    if (this.isGone) location.reload();
    this.#workbox?.addEventListener("controlling", () => location.reload());
    this.#workbox?.messageSkipWaiting();
  }
}

export const offline = new Offline();
