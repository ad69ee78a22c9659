import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import type { History, Task } from "../../src/federation/protocol";
import { encodeUpdate } from "../../src/federation/update";
import { takeRoom } from "./room";
import { TestTask, worst } from "./testing";

// @module-tag slow

/** What a store and a clock can do to a round. The tests run in the edge's isolate: its R2 methods and its clock are theirs. */
const task = new TestTask("expressions-compact");
const store = Object.getPrototypeOf(env.STORE) as R2Bucket;

afterEach(() => {
  vi.restoreAllMocks();
});

test("a full store refuses an upload and counts nothing; the same upload is taken once there is room", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const base = await task.download(one);
  const delta = task.randomDelta(1);
  const file = encodeUpdate(task.model, delta, task.metadataFor(one, 4));
  const full = vi.spyOn(store, "put").mockRejectedValue(new Error("put: There is no room left (10000)"));
  expect(await task.upload(one, file)).toMatchObject({ status: 503, body: { code: "store-failed" } });
  expect(full).toHaveBeenCalledOnce();
  expect((await task.get<History>("/rounds")).rounds[0]?.cohort[0]?.state).toBe("training");
  full.mockRestore();
  expect((await task.upload(one, file)).status).toBe(202);
  const next = await task.download(await task.published(1));
  expect(worst(next, (i) => (base[i] as number) + (delta[i] as number))).toBeLessThan(1e-6);
});

test("a small update is added as it came, and read from the store only where there was no room to keep it; the queue adds nothing to it", async () => {
  await task.startRound({ goalCount: 3, overSelection: 1 });
  const [one, two, three] = await task.cohort(3);
  if (!one || !two || !three) throw new Error("no cohort");
  const base = await task.download(one);
  const deltas = [1, 2, 3].map((k) => task.randomDelta(k));
  const get = vi.spyOn(store, "get");
  const reads = (): number => get.mock.calls.filter(([key]) => key.startsWith("updates/")).length;
  const counted = (n: number): Promise<History> =>
    task.until(({ rounds }) => rounds[0]?.tally?.counted === n, `${n} are counted`);
  await task.send(one, deltas[0] as Float32Array, 3);
  await counted(1);
  expect(reads()).toBe(0);
  await env.UPDATES.send({ task: task.name, id: one.id });
  const rooms = Array.from({ length: 4 }, () => takeRoom(4_000_000));
  await task.send(two, deltas[1] as Float32Array, 3);
  await counted(2);
  expect(reads()).toBe(1);
  for (const leave of rooms) leave?.();
  get.mockRestore();
  await task.send(three, deltas[2] as Float32Array, 3);
  const next = await task.download(await task.published(1));
  const mean = (i: number): number => deltas.reduce((sum, delta) => sum + (delta[i] as number) / 3, 0);
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
});

test("a store that takes seconds for each call slows a round down and changes nothing in it", async () => {
  const late = (method: "get" | "put"): void => {
    const real = Reflect.get(store, method) as (this: R2Bucket, ...args: unknown[]) => Promise<never>;
    vi.spyOn(store, method).mockImplementation(async function (this: R2Bucket, ...args: unknown[]) {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      return real.apply(this, args);
    });
  };
  await task.startRound({ goalCount: 2, overSelection: 1 });
  const cohort = await task.cohort(2);
  const base = await task.download(await task.get<Task>(""));
  const deltas = [task.randomDelta(1), task.randomDelta(2)];
  late("get");
  late("put");
  await Promise.all(cohort.map((one, k) => task.send(one, deltas[k] ?? new Float32Array(), 3)));
  const next = await task.download(await task.published(1));
  const mean = (i: number): number => deltas.reduce((sum, delta) => sum + (delta[i] as number) / 2, 0);
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
});

test("a clock that jumps ends a round early or late, but ends it, and with nothing but what was sent", async () => {
  const year = 365 * 24 * 3600 * 1000;
  const real = Date.now;
  await task.startRound({ goalCount: 2, overSelection: 1, deadlineSeconds: 600, rounds: 2 });
  const base = await task.download(await task.get<Task>(""));
  const [one] = await task.cohort(2);
  if (!one) throw new Error("no cohort");
  const delta = task.randomDelta(1);
  await task.send(one, delta);
  await task.until(
    ({ rounds }) => rounds[0]?.cohort.some(({ state }) => state === "counted") ?? false,
    "it is counted",
  );
  // A year ahead: the deadline is long over, and half of the goal is there.
  vi.spyOn(Date, "now").mockImplementation(() => real() + year);
  // Cloudflare's alarms go by the same clock.
  await runDurableObjectAlarm(env.COORDINATOR.get(env.COORDINATOR.idFromName(task.name)));
  const next = await task.download(await task.published(1));
  expect(worst(next, (i) => (base[i] as number) + (delta[i] as number))).toBeLessThan(1e-6);
  const [two] = await task.cohort(2);
  // Back to where it was: the second round's deadline must not be a year away.
  vi.restoreAllMocks();
  await task.admin("PATCH", "/rounds/current", { deadlineSeconds: 5 });
  await task.checkIn(crypto.randomUUID());
  const { rounds } = await task.get<History>("/rounds");
  expect(rounds[1]?.deadline).toBeLessThan(Date.now() + 6000);
  expect(two?.round).toBe(2);
  expect((await task.ended(2)).state).toBe("abandoned");
});
