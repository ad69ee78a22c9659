import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { MOST_EVENTS, type LiveEvent, type Round, type TaskEvent } from "../../src/federation/protocol";
import { TestTask } from "./testing";

// @module-tag slow

/** The log of what happened, who is told of it, and the operator's own words. */
const task = new TestTask("expressions-compact");
const coordinator = () => env.COORDINATOR.get(env.COORDINATOR.idFromName(task.name)) as DurableObjectStub;
const events = (): Promise<TaskEvent[]> => task.get("/events");
const kinds = async (): Promise<string[]> => (await events()).map(({ kind }) => kind);
const stop = (): Promise<Response> => task.admin("DELETE", "/rounds/current");
const WEBHOOK = "https://hooks.example.org/services/secret-part";

afterEach(() => {
  vi.restoreAllMocks();
});

/** What the edge sends out, and what it is answered. */
function listen(answer: () => Response): { url: string; init: RequestInit }[] {
  const calls: { url: string; init: RequestInit }[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation((url, init) => {
    calls.push({ url: url as string, init: init ?? {} });
    return Promise.resolve(answer());
  });
  return calls;
}

const stored = (table: string): Promise<number> =>
  runInDurableObject(
    coordinator(),
    (_, { storage: { sql } }) => sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n,
  );

test(
  "the log says what happened and why, the newest first, and forgets what is old",
  { timeout: 300_000 },
  async () => {
    await task.startRound({ goalCount: 1, overSelection: 1 });
    const [one] = await task.cohort(1);
    if (!one) throw new Error("no cohort");
    await task.send(one, task.randomDelta(1));
    await task.published(1);
    expect(await events()).toMatchObject([
      { kind: "round-published", round: 1, detail: "Version 1." },
      { kind: "round-open", round: 1 },
    ]);
    await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
      for (let i = 0; i < MOST_EVENTS - 10; i++) {
        sql.exec("INSERT INTO events (at, kind, round, detail) VALUES (?, 'replayed', 1, '')", i);
      }
    });
    for (let i = 0; i < 10; i++) {
      await task.startRound();
      await stop();
    }
    const kept = await events();
    expect(kept).toHaveLength(MOST_EVENTS);
    expect(await stored("events")).toBe(MOST_EVENTS);
    expect(kept[0]).toMatchObject({ kind: "round-abandoned", detail: "Stopped by the administrator." });
    expect(kept.map(({ id }) => id)).toEqual(kept.map((_, i) => (kept[0]?.id ?? 0) - i));
  },
);

test("a webhook is told of what goes wrong, in public words only, and follows nobody elsewhere", async () => {
  expect((await task.admin("PUT", "/alerts", { webhook: WEBHOOK }, "a guess")).status).toBe(401);
  expect((await task.admin("GET", "/alerts", undefined, "a guess")).status).toBe(401);
  for (const webhook of [
    "http://hooks.example.org/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://nas.local/",
    5,
  ]) {
    expect((await task.admin("PUT", "/alerts", { webhook })).status, String(webhook)).toBe(webhook === 5 ? 400 : 422);
  }
  const calls = listen(() => new Response(null, { status: 204 }));
  await task.startRound();
  await stop();
  expect(calls).toEqual([]);
  expect((await task.admin("PUT", "/alerts", { webhook: WEBHOOK })).status).toBe(200);
  expect(await (await task.admin("GET", "/alerts")).json()).toEqual({ webhook: WEBHOOK });
  await task.startRound();
  await stop();
  await expect.poll(() => calls.length).toBe(1);
  const [call] = calls;
  expect(call?.url).toBe(WEBHOOK);
  expect(call?.init).toMatchObject({ method: "POST", redirect: "manual" });
  expect(call?.init.signal).toBeInstanceOf(AbortSignal);
  expect(JSON.parse(call?.init.body as string)).toEqual({
    text: "expressions-compact: round 2 was abandoned. Stopped by the administrator.",
    task: "expressions-compact",
    kind: "round-abandoned",
    round: 2,
    detail: "Stopped by the administrator.",
    at: expect.any(Number) as number,
  });
  expect(JSON.stringify(call?.init)).not.toContain("test-token");
  // Nobody but an administrator is told where to.
  expect(JSON.stringify(await events())).not.toContain("secret-part");
  // Of failures without end the first of an hour are told.
  for (let i = 0; i < 30; i++) {
    await task.startRound();
    await stop();
  }
  await expect.poll(() => calls.length).toBe(20);
  expect((await task.admin("PUT", "/alerts", { webhook: null })).status).toBe(200);
  expect(await (await task.admin("GET", "/alerts")).json()).toEqual({ webhook: null });
});

test("a webhook that does not take an alert is asked three times, and the log says so", async () => {
  let tries = 0;
  const calls = listen(() => {
    tries += 1;
    if (tries === 1) throw new TypeError(`fetch failed: ${WEBHOOK}`);
    return new Response("<html>", { status: 302, headers: { location: "http://169.254.169.254/" } });
  });
  await task.admin("PUT", "/alerts", { webhook: WEBHOOK });
  await task.startRound();
  await stop();
  await expect.poll(kinds, { timeout: 30_000 }).toContain("alert-failed");
  expect(calls.map(({ url }) => url)).toEqual([WEBHOOK, WEBHOOK, WEBHOOK]);
  expect(JSON.stringify(await events())).not.toContain("secret-part");
  expect((await events())[0]?.detail).toBe("The webhook answered with 302.");
});

test("when nobody has come to an open round for an hour, that is told once", async () => {
  const clock = Date.now.bind(Date);
  let ahead = 0;
  vi.spyOn(Date, "now").mockImplementation(() => clock() + ahead);
  await task.startRound({ goalCount: 3 });
  await task.checkIn("one");
  ahead = 3_500_000;
  await runDurableObjectAlarm(coordinator());
  expect(await kinds()).not.toContain("nobody-came");
  ahead = 3_700_000;
  await runInDurableObject(coordinator(), (_, { storage }) => storage.setAlarm(clock()));
  await runDurableObjectAlarm(coordinator());
  await expect.poll(kinds).toContain("nobody-came");
  ahead = 9_000_000;
  await runInDurableObject(coordinator(), (_, { storage }) => storage.setAlarm(clock()));
  await runDurableObjectAlarm(coordinator());
  expect((await kinds()).filter((kind) => kind === "nobody-came")).toHaveLength(1);
});

test("an operator's note is bounded, stands with its round, and goes when it says nothing", async () => {
  await task.startRound();
  const write = (note: unknown, round = 1, token?: string): Promise<Response> =>
    task.admin("PUT", `/rounds/${round}/note`, note, token);
  expect((await write({ text: "mine" }, 1, "a guess")).status).toBe(401);
  expect((await write({ text: "x".repeat(501) })).status).toBe(422);
  expect((await write({ tags: Array.from({ length: 9 }, (_, i) => `t${i}`) })).status).toBe(400);
  expect((await write({ tags: ["x".repeat(25)] })).status).toBe(422);
  expect(await (await write({ tags: [" "] })).json()).toMatchObject({ code: "unfit", status: 422 });
  expect((await write({ text: "of no round" }, 7)).status).toBe(404);
  expect((await write({ text: " darker room ", tags: ["lamp", "😀".repeat(24)] })).status).toBe(200);
  expect((await task.get<Round>("/rounds/1")).note).toEqual({ text: "darker room", tags: ["lamp", "😀".repeat(24)] });
  await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
    for (let round = 2; round <= 1000; round++) sql.exec("INSERT INTO notes VALUES (?, '{}')", round);
  });
  // There is room for the one that is there, and for no other.
  expect((await write({ text: "brighter" })).status).toBe(200);
  await stop();
  await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
    sql.exec("UPDATE notes SET round = 1001 WHERE round = 2");
  });
  await task.startRound();
  expect((await write({ text: "one more" }, 2)).status).toBe(409);
  expect((await write({})).status).toBe(200);
  expect((await task.get<Round>("/rounds/1")).note).toBeNull();
});

test("watchers hear what happens, and how many are there; a key of an earlier round is not counted again", async () => {
  const response = await task.fetch("/live", { headers: { upgrade: "websocket" } });
  const socket = response.webSocket;
  if (!socket) throw new Error("no socket");
  const heard: LiveEvent[] = [];
  socket.accept();
  socket.addEventListener("message", ({ data }) => {
    heard.push(JSON.parse(String(data)) as LiveEvent);
  });
  const online = (): number | undefined =>
    heard.flatMap((event) => (event.type === "presence" ? [event.online] : [])).at(-1);
  await expect.poll(online).toBe(0);
  await task.checkIn("one");
  await task.checkIn("two");
  await expect.poll(online, { timeout: 10_000 }).toBe(2);
  await task.startRound({ goalCount: 5 });
  await expect
    .poll(() => heard.some((event) => event.type === "event" && event.event.kind === "round-open"))
    .toBe(true);
  await task.checkIn("one");
  await task.checkIn("two");
  await task.checkIn("three");
  await expect.poll(online, { timeout: 10_000 }).toBe(3);
  socket.close();
});
