/**
 * Calls `onSilence` once nobody has said that they are alive for so many seconds. Only seconds in which this page itself ran
 * count: a device that slept, or a tab that was frozen, has not waited.
 */
export class Watch {
  #silent = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(seconds: number, onSilence: () => void) {
    this.#timer = setInterval(() => {
      this.#silent += 1;
      if (this.#silent < seconds) return;
      this.end();
      onSilence();
    }, 1000);
  }

  alive(): void {
    this.#silent = 0;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
