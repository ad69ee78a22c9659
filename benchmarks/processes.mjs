/** What /proc tells of this process and of those that it has started; nothing where there is none. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Linux counts CPU time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

/** @param entry a process's folder under /proc, or a thread's */
const statOf = (entry) => {
  const text = readFileSync(`/proc/${entry}/stat`, "utf8");
  // The second field is the command in parentheses, which may hold spaces.
  const end = text.lastIndexOf(")");
  const [state, parent, ...rest] = text.slice(end + 2).split(" ");
  const seconds = (Number(rest[9]) + Number(rest[10])) / TICKS_PER_SECOND;
  return { name: text.slice(text.indexOf("(") + 1, end), state, parent: Number(parent), seconds };
};

/** A process and all those below it. */
function family(pid) {
  let pids;
  try {
    pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
  const stats = pids.flatMap((one) => {
    try {
      return [{ pid: Number(one), ...statOf(one) }];
    } catch {
      return []; // It has ended in the meantime.
    }
  });
  const below = (parent) => stats.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return [...stats.filter((one) => one.pid === pid), ...below(pid)];
}

const secondsOf = (processes) => processes.reduce((sum, { seconds }) => sum + seconds, 0);

/** Seconds of CPU that a process and all those below it have used; 0 without /proc. */
export const cpuSecondsOf = (pid) => secondsOf(family(pid));

/**
 * What a process and all those below it use: seconds of CPU so far, and bytes of memory, what they share counted once (PSS). 0 without
 * /proc.
 */
export function usageOf(pid) {
  const processes = family(pid);
  const bytes = processes.reduce((sum, one) => {
    try {
      const [, kilobytes = 0] = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${one.pid}/smaps_rollup`, "utf8")) ?? [];
      return sum + Number(kilobytes) * 1024;
    } catch {
      return sum; // It has ended in the meantime.
    }
  }, 0);
  return { seconds: secondsOf(processes), bytes };
}

/** The id of a process of this name below this one; undefined where there is none. */
export const processCalled = (name) => family(process.pid).find((one) => one.name === name)?.pid;

/**
 * A process's threads: the state of each as ps has it (R runs, S sleeps, D waits for a disk, T is stopped), the CPU time that it has used, and
 * the kernel's function that it waits in. None without /proc, or where there is no such process.
 */
export function threadsOf(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`).map((id) => {
      const { name, state, seconds } = statOf(`${pid}/task/${id}`);
      return { id: Number(id), name, state, seconds, waitsIn: readFileSync(`/proc/${pid}/task/${id}/wchan`, "utf8") };
    });
  } catch {
    return [];
  }
}

/** Bytes of memory that a process really has, and its open sockets. */
export function holdingsOf(pid) {
  const [, kilobytes = NaN] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  const sockets = readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      return false; // It was closed in the meantime.
    }
  });
  return { bytes: Number(kilobytes) * 1024, sockets: sockets.length };
}
