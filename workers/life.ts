/** What a worker says once it holds its lock. */
export const ALIVE = "alive";
/** What a worker says every second in which it comes back to its event loop. */
const BEAT = "beat";
const BEAT_MS = 1000;

/**
 * Tells the page that this worker lives: every second by a message, and, where the browser has Web Locks, by a lock of this
 * worker's name. However it ends, also without an error event (out of memory, closed by the browser), the lock becomes free,
 * and the page that waits for it knows.
 */
export function showLife(): void {
  postMessage(BEAT);
  setInterval(() => postMessage(BEAT), BEAT_MS);
  if (!("locks" in navigator)) return;
  void navigator.locks.request(self.name, () => {
    postMessage(ALIVE);
    return new Promise(() => undefined);
  });
}

/** Lets messages in, and beats out, in the middle of a computation: on WASM everything else resolves without the event loop. */
export function letMessagesIn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
