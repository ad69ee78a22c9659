import { RUNGS, isThreaded, type Rung, type Started } from "../../workers/tf/rungs";
import type { Learned } from "../faces/kept";
import { getSetting, setSetting } from "../faces/settings";

/** The errors, by name, that say that a rung does not hold here. Others, as of a network that is away, say nothing about it. */
const OF_A_RUNG = new Set([
  "CompileError",
  "LinkError",
  "RuntimeError",
  "RangeError",
  "ThreadStartError",
  "WorkerSilentError",
]);

const fresh = (): Learned => ({ agent: navigator.userAgent, failed: [] });
/** Of this visit, for a browser that keeps nothing. */
let visit: Learned | undefined;

/** What has been learned about this browser's version, here or in earlier visits. */
export async function learned(): Promise<Learned> {
  if (visit) return visit;
  const kept = await getSetting("ladder").catch(() => undefined);
  visit ??= kept?.agent === navigator.userAgent ? kept : fresh();
  return visit;
}

/** A browser that keeps nothing learns again at its next visit. */
async function keep(change: Partial<Learned>): Promise<void> {
  visit = { ...(await learned()), ...change };
  await setSetting("ladder", visit).catch(() => undefined);
}

/** The rungs to try, best first; the last one always, for there is nothing below it. */
export async function rungsToTry(): Promise<Rung[]> {
  const { failed } = await learned();
  const last = RUNGS.at(-1);
  return RUNGS.filter((rung) => rung === last || !failed.some((one) => one.rung === rung));
}

/** Notes that a rung did not hold. @returns whether that is what the error says, so that the next one is worth trying */
export async function noteFailed(rung: Rung, error: unknown): Promise<boolean> {
  if (!(error instanceof Error) || !OF_A_RUNG.has(error.name)) return false;
  console.warn(`Computing with ${rung} does not work here:`, error);
  // Threads that do not come, or that wait for one another, do so whatever they compute.
  const isOfThreads = isThreaded(rung) && (error.name === "ThreadStartError" || error.name === "WorkerSilentError");
  const gone = isOfThreads ? RUNGS.filter(isThreaded) : [rung];
  const { failed } = await learned();
  const why = `${error.name}: ${error.message}`;
  await keep({ failed: [...failed.filter((one) => !gone.includes(one.rung)), ...gone.map((rung) => ({ rung, why }))] });
  return true;
}

/** Notes a start: what the device check shows. */
export const noteStarted = (started: Started): Promise<void> => keep({ started });

/** Notes that work under way fell silent. Only threads can wait for one another for ever; one alone was merely slow. */
export async function noteSilent(error: Error): Promise<void> {
  const { started } = await learned();
  if (started && isThreaded(started.rung)) await noteFailed(started.rung, error);
}

/** Tries every rung again from now on. */
export const forget = (): Promise<void> => keep(fresh());
