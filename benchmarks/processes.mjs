/** CPU time of this process and of what it has started, by /proc: 0 where there is none. */
import { readdirSync, readFileSync } from "node:fs";

/** Linux counts CPU time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

const statOf = (pid) => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the command in parentheses, which may hold spaces.
  const [, parent, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(parent), seconds: (Number(rest[9]) + Number(rest[10])) / TICKS_PER_SECOND };
};

/** Seconds of CPU that a process and all those below it have used; 0 without /proc. */
export function cpuSecondsOf(pid) {
  let pids;
  try {
    pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return 0;
  }
  const stats = pids.flatMap((one) => {
    try {
      return [{ pid: Number(one), ...statOf(one) }];
    } catch {
      return []; // It has ended in the meantime.
    }
  });
  const below = (parent) => stats.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  const own = stats.filter((one) => one.pid === pid);
  return [...own, ...below(pid)].reduce((sum, { seconds }) => sum + seconds, 0);
}
