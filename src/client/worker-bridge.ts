import * as Comlink from "comlink";
import { ALIVE } from "../../workers/life";
import type { Rung, Started } from "../../workers/tf/rungs";
import { noteFailed, noteSilent, noteStarted, rungsToTry } from "./ladder";
import { Watch } from "./watch";

/** Seconds without a sign of life after which a worker is given up: for its script to come over a slow network, to get ready, to work. */
const SILENCE = { script: 120, prepare: 20, work: 120 };
/** Seconds in which a worker that does give signs of life must be ready: longer than all its downloads may take (workers/tf/download.ts). */
const PREPARE = 240;

interface Running<Api> {
  worker: Worker;
  remote: Comlink.Remote<Api>;
  /** Comes with its first sign of life. */
  spoken: Promise<unknown>;
  /** Told of every sign of life. */
  watches: Set<Watch>;
}

/**
 * Starts a worker when it is first needed and talks to it through Comlink. An abort stops the worker at once, in the
 * middle of whatever it does, and frees all that it held; the next call starts another. So does silence: a worker that hangs
 * is ended, and its calls with it.
 */
export class WorkerBridge<Api> {
  #running: Running<Api> | undefined;
  #ready: Promise<Running<Api>> | undefined;
  /** Of the calls under way. */
  #fail = new Set<(reason: unknown) => void>();
  #stops = 0;

  /**
   * @param create starts the worker under the name that it is given, which begins with `kind`
   * @param prepare gets the worker ready on a rung of the ladder; the bridge climbs down to the first one that holds
   */
  constructor(
    private readonly kind: string,
    private readonly create: (name: string) => Worker,
    private readonly prepare?: (api: Comlink.Remote<Api>, highest: Rung) => Promise<Started>,
  ) {}

  /**
   * @param silence seconds without a sign of life that are too many
   * @throws the signal's reason when it aborts, WorkerCrashError when the worker dies, WorkerSilentError when it hangs, or
   *   what `action` throws
   */
  async call<T>(
    action: (api: Comlink.Remote<Api>) => Promise<T>,
    signal?: AbortSignal,
    silence = SILENCE.work,
  ): Promise<T> {
    signal?.throwIfAborted();
    let fail: (reason: unknown) => void = () => undefined;
    const stopped = new Promise<never>((_, reject) => {
      fail = reject;
    });
    this.#fail.add(fail);
    const abort = (): void => {
      this.stop(signal?.reason);
    };
    signal?.addEventListener("abort", abort);
    try {
      this.#ready ??= this.#start();
      const running = await Promise.race([this.#ready, stopped]);
      return await Promise.race([within(running, silence, action(running.remote)), stopped]);
    } catch (error) {
      if (error instanceof WorkerSilentError) {
        if (this.prepare && error.isOfRung) await noteSilent(error);
        this.stop(error);
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#fail.delete(fail);
    }
  }

  /** Ends the worker; calls under way are rejected with `reason`. */
  stop(reason: unknown = new DOMException("The worker was stopped.", "AbortError")): void {
    this.#stops += 1;
    this.#end();
    this.#ready = undefined;
    for (const fail of this.#fail) fail(reason);
    this.#fail.clear();
  }

  #end(): void {
    this.#running?.worker.terminate();
    this.#running = undefined;
  }

  /** Starts a worker, on the best rung that holds where it computes. */
  async #start(): Promise<Running<Api>> {
    const { prepare } = this;
    const stops = this.#stops;
    try {
      for (;;) {
        const [rung, next] = prepare ? await rungsToTry() : [];
        // Whoever asked for it has been told why by `stop`.
        if (stops !== this.#stops) throw new DOMException("The worker was stopped.", "AbortError");
        const running = this.#create();
        try {
          await within(running, SILENCE.script, running.spoken, false);
          if (prepare && rung) await noteStarted(await this.#prepared(running, prepare(running.remote, rung)));
          return running;
        } catch (error) {
          if (stops === this.#stops) this.#end();
          const isElsewhere = error instanceof WorkerSilentError && !error.isOfRung;
          const isOfRung = rung !== undefined && !isElsewhere && (await noteFailed(rung, error));
          if (!isOfRung || !next) throw error;
        }
      }
    } catch (error) {
      // The next call begins anew.
      if (stops === this.#stops) this.#ready = undefined;
      throw error;
    }
  }

  /** @throws WorkerSilentError when the worker falls silent, or promises for too long, or what its preparation throws */
  async #prepared(running: Running<Api>, started: Promise<Started>): Promise<Started> {
    let deadline: Watch | undefined;
    const late = new Promise<never>((_, reject) => {
      deadline = new Watch(PREPARE, () => reject(new WorkerSilentError(PREPARE)));
    });
    try {
      return await Promise.race([within(running, SILENCE.prepare, started), late]);
    } finally {
      deadline?.end();
    }
  }

  #create(): Running<Api> {
    const name = `${this.kind}-${crypto.randomUUID()}`;
    const worker = this.create(name);
    const crash = (message: string): void => {
      if (this.#running?.worker === worker) this.stop(new WorkerCrashError(message));
    };
    const watches = new Set<Watch>();
    worker.addEventListener("error", (event) => {
      crash(event.message || "A worker could not be started.");
    });
    const spoken = new Promise((resolve) => {
      worker.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
        resolve(undefined);
        for (const watch of watches) watch.alive();
        // Without Web Locks, silence alone tells of its end.
        if (data !== ALIVE || !("locks" in navigator)) return;
        void navigator.locks.request(name, () => {
          crash("The browser ended a worker, perhaps for want of memory.");
        });
      });
    });
    return (this.#running = { worker, remote: Comlink.wrap<Api>(worker), spoken, watches });
  }
}

/** Waits for an answer for as long as the worker gives signs of life. @throws WorkerSilentError when it does not */
function within<T>({ watches }: Running<unknown>, seconds: number, answer: Promise<T>, isOfRung?: boolean): Promise<T> {
  return new Promise((resolve, reject) => {
    const watch = new Watch(seconds, () => reject(new WorkerSilentError(seconds, isOfRung)));
    watches.add(watch);
    answer.then(resolve, reject).finally(() => {
      watch.end();
      watches.delete(watch);
    });
  });
}

/** A worker died or could not be loaded. */
export class WorkerCrashError extends Error {
  override readonly name = "WorkerCrashError";
}

/** A worker gave no sign of life for so long that it hangs. */
export class WorkerSilentError extends Error {
  override readonly name = "WorkerSilentError";
  /** @param isOfRung whether the way of computing may be the cause; a script on a slow network, or a GPU, says nothing of it */
  constructor(
    seconds: number,
    readonly isOfRung = true,
  ) {
    super(`A worker gave no answer for ${seconds} seconds.`);
  }
}
