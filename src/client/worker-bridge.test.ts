import "fake-indexeddb/auto";
import * as Comlink from "comlink";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ALIVE } from "../../workers/life";
import { RUNGS, isThreaded, type Started } from "../../workers/tf/rungs";

interface Api {
  prepare: () => Promise<Started>;
  work: () => Promise<string>;
}
const STARTED: Started = { rung: "relaxed", threads: 2, active: 2, startMs: 1 };
const never = new Promise<never>(() => undefined);

const ports: MessagePort[] = [];

/** A worker on the other end of a channel, which says that it lives again and again; or one whose script does not come. */
function workerOf(api: Api | undefined): Worker {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  if (api) {
    Comlink.expose(api, port2);
    port2.postMessage(ALIVE);
    setInterval(() => port2.postMessage("beat"), 1000);
  }
  port1.start();
  const worker = port1 as unknown as Worker & { terminate: () => void };
  worker.terminate = () => port1.close();
  return worker;
}

/** Seconds of fake time, with what real messages there are in between. */
async function pass(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    vi.advanceTimersByTime(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets time pass until an answer is there, and says how many seconds. */
async function settled(answer: Promise<unknown>): Promise<number> {
  const done = vi.fn();
  answer.then(done, done);
  let seconds = 0;
  for (; done.mock.calls.length === 0 && seconds < 2000; seconds++) await pass(1);
  return seconds;
}

/** A bridge over such workers, and the ladder that it climbs. */
async function bridgeTo(create: () => Worker) {
  vi.resetModules();
  const { WorkerBridge, WorkerSilentError } = await import("./worker-bridge");
  const ladder = await import("./ladder");
  const bridge = new WorkerBridge<Api>("test", create, (api) => api.prepare());
  return { bridge, WorkerSilentError, ...ladder };
}

beforeEach(async () => {
  vi.spyOn(console, "warn").mockReturnValue(undefined);
  // No Web Locks.
  vi.stubGlobal("navigator", { userAgent: "a browser" });
  await (await bridgeTo(() => workerOf(undefined))).forget();
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  for (const port of ports.splice(0)) port.close();
});

const readyApi: Api = { prepare: () => Promise.resolve(STARTED), work: () => never };

test("a script that does not come ends in an error, and costs the browser no rung", async () => {
  const { bridge, rungsToTry } = await bridgeTo(() => workerOf(undefined));
  const call = bridge.call((api) => api.work());
  await settled(call);
  await expect(call).rejects.toMatchObject({ name: "WorkerSilentError" });
  expect(await rungsToTry()).toEqual(RUNGS);
});

test.each([
  ["a GPU that hangs costs the browser none of its threads", false, RUNGS],
  ["threads that wait for one another are left out", true, RUNGS.filter((rung) => !isThreaded(rung))],
])("%s", async (_, isOfRung, rungs) => {
  const { bridge, rungsToTry, WorkerSilentError } = await bridgeTo(() => workerOf(readyApi));
  const call = bridge.call((api) => api.work());
  await vi.waitFor(async () => expect((await (await import("./ladder")).learned()).started).toEqual(STARTED));
  bridge.stop(new WorkerSilentError(300, isOfRung));
  await expect(call).rejects.toMatchObject({ name: "WorkerSilentError" });
  expect(await rungsToTry()).toEqual(rungs);
});

test("a worker that answers, in a browser without Web Locks", async () => {
  const { bridge } = await bridgeTo(() => workerOf({ ...readyApi, work: () => Promise.resolve("done") }));
  expect(await bridge.call((api) => api.work())).toBe("done");
});

test("a worker that gives signs of life and never gets ready is ended, and a way of computing without threads tried", async () => {
  const tried: Worker[] = [];
  const { bridge } = await bridgeTo(() => {
    const work = (): Promise<string> => Promise.resolve("done");
    tried.push(workerOf(tried.length === 0 ? { prepare: () => never, work } : { ...readyApi, work }));
    return tried.at(-1) as Worker;
  });
  const call = bridge.call((api) => api.work());
  // Longer than all its downloads together may take.
  expect(await settled(call)).toBeGreaterThan(180);
  expect(await call).toBe("done");
  expect(tried).toHaveLength(2);
});
