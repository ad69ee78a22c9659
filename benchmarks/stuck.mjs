/** What there is to see of an edge that has left a request unanswered. */
import { ask } from "./ask.mjs";
import { threadsOf } from "./processes.mjs";

/** How long everything else may take that is asked then. */
const WITHIN_MS = 15_000;
/** Over so long it is seen what the runtime's threads do. */
const WATCH_MS = 3000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether something is done in time, and in how many milliseconds. */
async function timed(work) {
  const begun = performance.now();
  try {
    const value = await Promise.race([work, pause(WITHIN_MS).then(() => Promise.reject(new Error("no answer")))]);
    return { isDone: true, said: `${value} after ${(performance.now() - begun).toFixed(0)} ms` };
  } catch (error) {
    return { isDone: false, said: `${error.message}` };
  }
}

/**
 * Asks the router, a static file and the objects of both tasks, asks the isolate's inspector, and looks at workerd's threads: who still
 * answers, and what works or sleeps, tells whose fault it is.
 * @returns words, line by line
 */
export async function lookAtStuck({ edge, task, other, inspector, workerd }) {
  const get = (path) =>
    timed(ask(`${edge.url}${path}`, { within: WITHIN_MS }).then(({ status }) => `answered ${status}`));
  const [router, file, own, others, isolate] = await Promise.all([
    get("/api/problems"),
    get("/robots.txt"),
    get(`/api/tasks/${task}`),
    get(`/api/tasks/${other}`),
    timed(inspector.ask("Runtime.getIsolateId").then(() => "answered")),
  ]);
  const lines = [
    `the router alone: ${router.said}`,
    `a static file: ${file.said}`,
    `the Coordinator of ${task}: ${own.said}`,
    `the Coordinator of ${other}: ${others.said}`,
    `the isolate's inspector: ${isolate.said}`,
  ];
  const before = threadsOf(workerd);
  await pause(WATCH_MS);
  const after = threadsOf(workerd);
  if (after.length === 0) lines.push("workerd is no more, or this machine does not say what its threads do.");
  const used = ({ id, seconds }) => seconds - (before.find((one) => one.id === id)?.seconds ?? 0);
  for (const thread of after) {
    const busy = ((100 * used(thread) * 1000) / WATCH_MS).toFixed(0);
    lines.push(`thread ${thread.id} (${thread.name}): ${thread.state}, ${busy} % of a processor, in ${thread.waitsIn}`);
  }
  return lines;
}
