import { download } from "../download";
import { instantiate, KERNELS, type Exports, type Kernel, type Size } from "./instance";
import threadUrl from "./thread.ts?worker&url";

/** Places in the block that the threads share: a count of jobs, threads still at work, threads that take a share, kernel, arguments' number, arguments. */
export const JOB = { count: 0, pending: 1, active: 2, kernel: 3, length: 4, arguments: 5 } as const;
const STACK_BYTES = 65_536;
/** A thread that is not ready by then will not be. */
const START_MS = 20_000;

const startError = (message: string): Error => Object.assign(new Error(message), { name: "ThreadStartError" });

export interface ThreadStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  job: Int32Array<SharedArrayBuffer>;
  thread: number;
  stack: number;
}

/**
 * Waits until a place of the job no longer holds `value`: awake for some tens of microseconds, since the next kernel mostly
 * comes by then and waking a thread takes as long, then asleep.
 */
export function waitWhile(job: Int32Array<SharedArrayBuffer>, place: number, value: number): void {
  for (let i = 0; i < 4000; i++) if (Atomics.load(job, place) !== value) return;
  while (Atomics.load(job, place) === value) Atomics.wait(job, place, value);
}

/**
 * Runs kernels on several threads over one memory. The calling thread (a worker, for it waits) takes a share itself, so
 * one core needs no other thread.
 */
export class KernelPool {
  /** Milliseconds spent in each kernel so far. */
  readonly spent: Record<string, number> = {};
  readonly #exports: Exports;
  /** What the threads share; null where there is only this one. */
  readonly #job: Int32Array<SharedArrayBuffer> | null;
  /** Threads that take a share of each kernel, at most all. What a kernel computes does not depend on it, bit for bit. */
  active: number;

  private constructor(
    exports: Exports,
    job: Int32Array<SharedArrayBuffer> | null,
    readonly threads: number,
  ) {
    this.#exports = exports;
    this.#job = job;
    this.active = threads;
  }

  /**
   * Starts the other threads and waits until they are ready.
   * @param memory shared, where there is more than one thread
   * @param allocate reserves bytes in `memory` for good.
   * @throws ThreadStartError (by name); EdgeAwayError (by name) when their script does not come, which says nothing of threads
   */
  static async start(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    threads: number,
    allocate: (bytes: number) => number,
  ): Promise<KernelPool> {
    const stack = (): number => allocate(STACK_BYTES) + STACK_BYTES;
    const exports = instantiate(module, memory, stack());
    if (threads === 1) return new KernelPool(exports, null, 1);
    await download(threadUrl);
    const job = new Int32Array(new SharedArrayBuffer(128));
    const starting = Array.from({ length: threads - 1 }, (_, i) => {
      const worker = new Worker(threadUrl, { type: "module" });
      const start: ThreadStart = { module, memory, job, thread: i + 1, stack: stack() };
      return new Promise((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = (event) => reject(startError(`A kernel thread did not start: ${event.message}`));
        worker.postMessage(start);
      });
    });
    // Nothing waits on the job before all of them have said that they are there.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(startError(`A kernel thread did not start within ${START_MS} ms.`)), START_MS);
    });
    try {
      await Promise.race([Promise.all(starting), late]);
    } finally {
      clearTimeout(timer);
    }
    return new KernelPool(exports, job, threads);
  }

  /** How many float32 a kernel's buffer takes. */
  sizeOf(size: Size, ...values: number[]): number {
    return this.#exports[size](...values);
  }

  /** Runs a kernel and returns when every thread has done its share. */
  run(kernel: Kernel, ...values: number[]): void {
    const begun = performance.now();
    if (this.#job) this.#share(this.#job, kernel, values);
    else this.#exports[kernel](...values, 0, 1);
    this.spent[kernel] = (this.spent[kernel] ?? 0) + performance.now() - begun;
  }

  #share(job: Int32Array<SharedArrayBuffer>, kernel: Kernel, values: number[]): void {
    job[JOB.kernel] = KERNELS.indexOf(kernel);
    job[JOB.active] = this.active;
    job[JOB.length] = values.length;
    job.set(values, JOB.arguments);
    Atomics.store(job, JOB.pending, this.threads - 1);
    Atomics.add(job, JOB.count, 1);
    Atomics.notify(job, JOB.count);
    this.#exports[kernel](...values, 0, this.active);
    for (let left = Atomics.load(job, JOB.pending); left > 0; left = Atomics.load(job, JOB.pending)) {
      waitWhile(job, JOB.pending, left);
    }
  }
}
