import * as Comlink from "comlink";

/**
 * Starts a worker when it is first needed and talks to it through Comlink. An abort stops the worker at once, in the
 * middle of whatever it does, and frees all that it held; the next call starts another.
 */
export class WorkerBridge<Api> {
  #worker: Worker | undefined;
  #remote: Comlink.Remote<Api> | undefined;
  #fail: ((reason: unknown) => void)[] = [];

  constructor(private readonly create: () => Worker) {}

  /** @throws the signal's reason when it aborts, WorkerCrashError when the worker dies, or what `action` throws. */
  async call<T>(action: (api: Comlink.Remote<Api>) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const remote = this.#start();
    let fail: (reason: unknown) => void = () => undefined;
    const stopped = new Promise<never>((_, reject) => {
      fail = reject;
    });
    this.#fail.push(fail);
    const abort = (): void => {
      this.stop(signal?.reason);
    };
    signal?.addEventListener("abort", abort);
    try {
      return await Promise.race([action(remote), stopped]);
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#fail = this.#fail.filter((other) => other !== fail);
    }
  }

  /** Ends the worker; calls under way are rejected with `reason`. */
  stop(reason: unknown = new DOMException("The worker was stopped.", "AbortError")): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#remote = undefined;
    for (const fail of this.#fail.splice(0)) fail(reason);
  }

  #start(): Comlink.Remote<Api> {
    if (this.#remote) return this.#remote;
    this.#worker = this.create();
    this.#worker.addEventListener("error", (event) => {
      this.stop(new WorkerCrashError(event.message || "A worker could not be started."));
    });
    this.#remote = Comlink.wrap<Api>(this.#worker);
    return this.#remote;
  }
}

/** A worker died or could not be loaded. */
export class WorkerCrashError extends Error {
  override readonly name = "WorkerCrashError";
}
