/** What a worker says once it holds its lock. */
export const ALIVE = "alive";

/**
 * Holds a Web Lock of this worker's name for as long as the worker lives. However it ends, also without an error event (out
 * of memory, closed by the browser), the lock becomes free, and the page that waits for it knows.
 */
export function holdLifeLock(): void {
  void navigator.locks.request(self.name, () => {
    postMessage(ALIVE);
    return new Promise(() => undefined);
  });
}
