import * as Comlink from "comlink";
import { ALIVE } from "../../workers/life";

/**
 * Starts a worker when it is first needed and talks to it through Comlink. An abort stops the worker at once, in the
 * middle of whatever it does, and frees all that it held; the next call starts another.
 */
export class WorkerBridge<Api> {
  #worker: Worker | undefined;
  #remote: Comlink.Remote<Api> | undefined;
  #fail: ((reason: unknown) => void)[] = [];

  /** @param create starts the worker under the name that it is given, which begins with `kind` */
  constructor(
    private readonly kind: string,
    private readonly create: (name: string) => Worker,
  ) {}

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
    const name = `${this.kind}-${crypto.randomUUID()}`;
    const worker = this.create(name);
    const crash = (message: string): void => {
      if (this.#worker === worker) this.stop(new WorkerCrashError(message));
    };
    worker.addEventListener("error", (event) => {
      crash(event.message || "A worker could not be started.");
    });
    worker.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (data !== ALIVE) return;
      void navigator.locks.request(name, () => {
        crash("The browser ended a worker, perhaps for want of memory.");
      });
    });
    this.#worker = worker;
    this.#remote = Comlink.wrap<Api>(worker);
    return this.#remote;
  }
}

/** A worker died or could not be loaded. */
export class WorkerCrashError extends Error {
  override readonly name = "WorkerCrashError";
}
