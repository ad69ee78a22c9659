import { instantiate, KERNELS } from "./instance";
import { JOB, waitWhile, type ThreadStart } from "./pool";

/** One more thread of a KernelPool: it waits for jobs for as long as it lives. */
addEventListener("message", ({ data }: MessageEvent<ThreadStart>) => {
  const { module, memory, job, thread, stack } = data;
  const exports = instantiate(module, memory, stack);
  let done = 0;
  postMessage("ready");
  for (;;) {
    waitWhile(job, JOB.count, done);
    done += 1;
    const kernel = KERNELS[job[JOB.kernel] ?? 0];
    const length = job[JOB.length] ?? 0;
    const active = job[JOB.active] ?? 0;
    if (kernel && thread < active)
      exports[kernel](...job.subarray(JOB.arguments, JOB.arguments + length), thread, active);
    Atomics.sub(job, JOB.pending, 1);
    Atomics.notify(job, JOB.pending);
  }
});
