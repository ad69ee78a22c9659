import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import type { CheckInAnswer, History, Round, Task } from "../../src/federation/protocol";
import { sign } from "../../src/federation/signing";
import { encodeUpdate } from "../../src/federation/update";
import { Database } from "./store/database";
import { fetchEdge, TestTask } from "./testing";

// @module-tag slow

/** Nothing that clients or rounds leave behind grows without end. */
const task = new TestTask("expressions-compact");
const coordinator = () => env.COORDINATOR.get(env.COORDINATOR.idFromName(task.name)) as DurableObjectStub;

/** Copies a round that was played, with many members, so often as if a series had run for long. */
async function repeat(rounds: number, members: number): Promise<void> {
  await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
    const columns = "state, config, base, checkpoint, opened_at, training_at, deadline, ended_at, reason, cleaned, run";
    for (let i = 0; i < rounds; i++) {
      sql.exec(`INSERT INTO rounds (${columns}) SELECT ${columns} FROM rounds WHERE number = 1`);
    }
    const own = "base, state, assigned_at, uploaded_at, bytes, metadata, norm, cosine";
    sql.exec(
      `INSERT INTO updates (id, round, assigned_round, client, label, ${own})
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       SELECT r.number || '-' || i, r.number, r.number, r.number || '-' || i, printf('%08x', r.number * 10000 + i),
       ${own.replace("base", "u.base").replace("state", "u.state")} FROM rounds r, n, updates u
       WHERE r.number > 1 AND u.assigned_round = 1`,
      members,
    );
  });
}

const rowsOf = (table: string): Promise<number> =>
  runInDurableObject(
    coordinator(),
    (_, { storage: { sql } }) => sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n,
  );

test("members of old rounds are folded into what they came to, and a page of history is short however long that is", async () => {
  const series = async (): Promise<Task["privacy"]> => (await task.get<Task>("")).privacy;
  expect(await series()).toEqual([]);
  await task.startRound({ goalCount: 1, overSelection: 1 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const file = encodeUpdate(task.model, task.randomDelta(1), task.metadataFor(one, 4));
  expect((await task.upload(one, file)).status).toBe(202);
  await task.published(1);
  const first = await task.ended(1);
  const mechanism = { sampling: 1, noise: 0, rounds: 1, clients: 1 };
  expect(await series()).toEqual([mechanism]);
  await repeat(149, 300);
  expect(await series()).toEqual([{ ...mechanism, rounds: 150, clients: 150 }]);
  // Everybody asks for the task, before each check-in: that is not to take longer with every round that there was.
  const asked = vi.spyOn(Database.prototype, "all");
  expect(await series()).toEqual([{ ...mechanism, rounds: 150, clients: 150 }]);
  expect(asked.mock.calls.length).toBeGreaterThan(0);
  expect(asked.mock.calls.filter(([, query]) => query.includes("GROUP BY"))).toEqual([]);
  // Before any is folded, and after.
  for (const folded of [false, true]) {
    if (folded) {
      await runInDurableObject(coordinator(), (_, { storage }) => storage.setAlarm(Date.now() + 60_000));
      await runDurableObjectAlarm(coordinator());
    }
    const seen = new Map<number, Round>();
    for (let before: number | undefined; seen.size < 150;) {
      const text = await (await task.fetch(`/rounds${before === undefined ? "" : `?before=${before}`}`)).text();
      expect(text.length).toBeLessThan(100_000);
      const { rounds } = JSON.parse(text) as History;
      expect(rounds.length).toBeGreaterThan(0);
      for (const round of rounds) seen.set(round.number, round);
      before = rounds[0]?.number;
    }
    expect(seen.get(1)).toMatchObject({ trainLoss: first.trainLoss, tally: first.tally });
    expect(seen.get(7)?.tally).toMatchObject({ selected: 300, counted: 300 });
    expect(seen.get(7)?.trainLoss).toBeCloseTo(2, 9);
  }
  expect(await rowsOf("updates")).toBe(100 * 300);
  expect(await rowsOf("evaluations")).toBe(0);
  expect((await task.get<Round>("/rounds/150")).cohort).toHaveLength(300);
  expect((await task.get<Round>("/rounds/2")).cohort).toEqual([]);
});

test("a nonce is short and kept for as long as its signature is fresh; of an id that nobody was given, nothing is kept", async () => {
  await task.startRound({ goalCount: 50 });
  const url = `http://edge/api/tasks/${task.name}/check-ins`;
  const key = await task.keyOf("one", 1);
  const body = JSON.stringify({ examples: 4, round: 1 });
  const headers = await sign({ method: "POST", url, body }, key, Date.now());
  const long = headers["signature-input"]?.replace(/nonce="[^"]*"/, `nonce="${"n".repeat(60_000)}"`) ?? "";
  const refused = await fetchEdge(url, { method: "POST", body, headers: { ...headers, "signature-input": long } });
  expect(refused.status).toBe(401);
  expect(await refused.json()).toMatchObject({ detail: expect.stringContaining("more than 600") as string });
  const unknown = crypto.randomUUID();
  await task.fetchSigned(`/rounds/1/secure/${unknown}`, { id: unknown });
  expect(await rowsOf("nonces")).toBe(0);
  await fetchEdge(url, { method: "POST", body, headers });
  expect(await rowsOf("nonces")).toBe(1);
  await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
    sql.exec("UPDATE nonces SET until = 1");
  });
  // Its first question, which round is open, changes nothing and leaves nothing.
  await task.checkIn("two");
  expect(await rowsOf("nonces")).toBe(1);
});

test("a stored configuration that can no longer be read does not close its task", async () => {
  await task.startRound({ goalCount: 3 });
  await runInDurableObject(coordinator(), (_, { storage: { sql } }) => {
    sql.exec("UPDATE rounds SET config = json_set(config, '$.updateClip', 1e300, '$.codec', 'lost')");
  });
  const { rounds } = await task.get<History>("/rounds");
  expect(rounds[0]?.config).toMatchObject({ goalCount: 3, updateClip: 0, codec: "float32" });
  expect((await task.admin("DELETE", "/rounds/current")).status).toBe(200);
});

afterEach(() => {
  vi.restoreAllMocks();
});

const [ROUNDS, FIRST, THEN] = env.SOAK ? [1000, 101, 201] : [181, 61, 121];

test(`${ROUNDS} rounds leave as much behind for each as the first ones did`, { timeout: 900_000 }, async () => {
  const [rounds, published] = [ROUNDS, 60];
  const clock = Date.now.bind(Date);
  let ahead = 0;
  // A minute a round, so that what has its time is over in time.
  vi.spyOn(Date, "now").mockImplementation(() => clock() + ahead);
  const kept = async (): Promise<{ bytes: number; updates: number; nonces: number; files: number }> => {
    const bytes = await runInDurableObject(coordinator(), (_, { storage: { sql } }) => sql.databaseSize);
    const files = (await env.STORE.list()).objects.length;
    return { bytes, updates: await rowsOf("updates"), nonces: await rowsOf("nonces"), files };
  };
  await task.startRound({ goalCount: 1, overSelection: 1, rounds });
  const marks = new Map<number, Awaited<ReturnType<typeof kept>>>();
  for (let round = 1; round <= rounds; round++) {
    ahead += 60_000;
    const key = await task.keyOf("one", round);
    const body = JSON.stringify({ examples: 4, round });
    const checkIn = await task.fetchSigned("/check-ins", key, { method: "POST", body });
    const answer = await checkIn.json<CheckInAnswer>();
    if (answer.decision !== "train") throw new Error(`round ${round}: ${JSON.stringify(answer)}`);
    const path = `/rounds/${round}/updates/${answer.assignment.id}`;
    if (round % published === 0) {
      const file = encodeUpdate(task.model, task.randomDelta(round), task.metadataFor(answer.assignment, 4));
      expect((await task.fetchSigned(path, key, { method: "PUT", body: file })).status).toBe(202);
      // The clock of the alarms is the real one.
      await task.until(({ task: { checkpoint } }) => {
        void runDurableObjectAlarm(coordinator());
        return checkpoint.version === round / published;
      }, `round ${round} is published`);
    } else expect((await task.fetchSigned(path, key, { method: "DELETE" })).status).toBe(200);
    await runDurableObjectAlarm(coordinator());
    if ([1, FIRST, THEN, rounds].includes(round)) marks.set(round, await kept());
  }
  const at = (round: number) => marks.get(round) as Awaited<ReturnType<typeof kept>>;
  const perRound = (from: number, to: number): number => (at(to).bytes - at(from).bytes) / (to - from);
  // SQLite takes pages of 4 KB.
  expect(perRound(THEN, rounds)).toBeLessThan(perRound(1, FIRST) + 100);
  expect(at(rounds).updates).toBeLessThanOrEqual(102);
  expect(at(rounds).nonces).toBeLessThan(30);
  expect(at(rounds).files).toBeLessThan(20);
  expect((await (await task.fetch("/rounds")).text()).length).toBeLessThan(100_000);
});
