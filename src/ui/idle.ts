/** Waits until the page has nothing more urgent to do. */
export const whenIdle = (): Promise<void> =>
  new Promise((resolve) => {
    // Safari has no idle callbacks.
    if ("requestIdleCallback" in window) requestIdleCallback(() => resolve(), { timeout: 2000 });
    else setTimeout(resolve, 200);
  });

const SIGNS = ["pointermove", "pointerdown", "touchstart", "wheel", "keydown", "focusin", "click"];

const firstSign = new Promise<void>((resolve) => {
  const used = (): void => {
    for (const sign of SIGNS) removeEventListener(sign, used);
    resolve();
  };
  for (const sign of SIGNS) addEventListener(sign, used, { passive: true });
});

/** Waits for the first sign of a person on this site: who comes by mistake downloads no model. */
export const whenUsed = (): Promise<void> => firstSign;

/** Ends the task that is running, so that the browser can draw and listen; what follows comes in one of its own. */
export const nextTask = (): Promise<void> =>
  new Promise((resolve) => {
    // Not setTimeout, which waits 4 ms when nested.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (): void => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
