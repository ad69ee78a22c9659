import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test, vi } from "vitest";
import { type Assignment, type History, type Task } from "../../src/federation/protocol";
import { encodeUpdate } from "../../src/federation/update";
import { hubOf } from "./env";
import { Hub, type HubPlan } from "./hub";
import { nameOf } from "./identity";
import { cosinesOf, cosinesTo, TestTask, worst } from "./testing";

// @module-tag slow

const task = new TestTask("expressions-compact");
const EXAMPLES = [4, 7, 1, 20, 3, 11];

/** Sends a delta for every assignment, with different weights; gives their mean as a centre would compute it. */
async function sendAll(assignments: Assignment[]): Promise<(i: number) => number> {
  const deltas = assignments.map((_, k) => task.randomDelta(k));
  for (const [k, assignment] of assignments.entries()) {
    await task.send(assignment, deltas[k] as Float32Array, EXAMPLES[k] ?? 1);
  }
  const total = assignments.reduce((n, _, k) => n + (EXAMPLES[k] ?? 1), 0);
  return (i) => deltas.reduce((sum, delta, k) => sum + ((EXAMPLES[k] ?? 1) / total) * (delta[i] as number), 0);
}

/** Takes a hub one of its tables away: whatever needs it fails from then on, until the object starts anew. */
async function breakDown(name: string, table: "added" | "hub"): Promise<void> {
  await runInDurableObject(hubOf(env, task.name, 1, name), (_, { storage }) => {
    storage.sql.exec(`DROP TABLE ${table}`);
  });
}

async function start(): Promise<{ base: Float32Array; assignments: Assignment[] }> {
  const base = await task.download(await task.get<Task>(""));
  await task.startRound({ goalCount: EXAMPLES.length, overSelection: 1, topology: "gossip" });
  return { base, assignments: await task.cohort(EXAMPLES.length) };
}

test("four hubs gossip their way to the mean that a centre would compute, and all agree on the checkpoint", async () => {
  const { base, assignments } = await start();
  const mean = await sendAll(assignments);
  const next = await task.download(await task.published(1));
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  const { rounds } = await task.get<History>("/rounds");
  const cosines = rounds.slice(0, 1).flatMap(cosinesOf);
  const deltas = assignments.map((_, k) => task.randomDelta(k));
  cosinesTo(task.model, deltas, mean).forEach((cosine, k) => expect(cosines[k]).toBeCloseTo(cosine, 6));
  expect(rounds[0]?.hubs.map(({ name, state, updates }) => [name, state, updates])).toEqual([
    ...[
      ["americas", "done", 2],
      ["europe", "done", 2],
      ["asia-pacific", "done", 1],
      ["africa", "done", 1],
    ],
  ]);
  // The second round needs what the first one's clearing up must have left alone, and nothing else.
  await task.startRound({ goalCount: 1, overSelection: 1, topology: "gossip", serverOptimizer: "momentum" });
  const more = await sendAll(await task.cohort(1));
  const last = await task.download(await task.published(2));
  expect(worst(last, (i) => (next[i] as number) + more(i))).toBeLessThan(1e-6);
});

test("hubs that die are given up, and the others count their updates", async () => {
  const { base, assignments } = await start();
  // One does not even take updates, another one dies with some in its sum.
  await breakDown("europe", "added");
  await breakDown("africa", "hub");
  const mean = await sendAll(assignments);
  await task.until(({ rounds }) => rounds[0]?.state === "published", "the round is published");
  const next = await task.download(await task.get<Task>(""));
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  const { rounds } = await task.get<History>("/rounds");
  const hubs = rounds[0]?.hubs ?? [];
  expect(hubs.map(({ state }) => state)).toEqual(["done", "gone", "done", "gone"]);
  expect(hubs.reduce((n, { updates }) => n + updates, 0)).toBe(EXAMPLES.length);
});

test("hubs that are killed in mid-gossip begin again from their updates", async () => {
  const { base, assignments } = await start();
  // The last hub and the others do not reach one another for now, so that nobody can finish; the Coordinator reaches them all.
  const exchange: Hub["exchange"] = Reflect.get(Hub.prototype, "exchange");
  const cut = vi.spyOn(Hub.prototype, "exchange").mockImplementation(function (this: Hub, message, announced) {
    const isAfrica = nameOf(this["ctx"]).endsWith("/africa");
    return isAfrica || message.from === "africa" ? Promise.resolve(null) : exchange.call(this, message, announced);
  });
  const mean = await sendAll(assignments);
  await task.until(({ rounds }) => rounds[0]?.hubs.some(({ lost }) => lost > 3) ?? false, "the hubs gossip");
  cut.mockRestore();
  for (const name of ["americas", "europe", "asia-pacific", "africa"]) {
    // It throws into whoever is calling.
    await runInDurableObject(hubOf(env, task.name, 1, name), (_, state) => {
      state.abort("killed");
    }).catch(() => undefined);
  }
  const next = await task.download(await task.published(1));
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  const { rounds } = await task.get<History>("/rounds");
  expect(rounds[0]?.hubs.map(({ state }) => state)).toEqual(["done", "done", "done", "done"]);
  expect(rounds[0]?.hubs[0]?.epoch).toBeGreaterThan(1_000_000);
});

test("a hub has no part in the gossip of a plan that it has not been told of yet", async () => {
  const hub = hubOf(env, task.name, 9, "americas");
  const plan = (generation: number, members: string[]): HubPlan => ({ round: 9, generation, members }) as HubPlan;
  await hub.mix(plan(1, ["americas", "europe", "africa"]));
  // Africa has been given up, and Europe was told first.
  const question = { from: "europe", epoch: 2_000_000, block: 0, mass: null, done: [0, 0] };
  expect(await hub.exchange(question, null)).toBeNull();
  await hub.mix(plan(2, ["americas", "europe"]));
  expect(await hub.exchange(question, null)).toMatchObject({ epoch: 2_000_000, message: { done: [0, 0] } });
  await hub.clear();
});

test("a robust average is no sum that hubs could gossip about, and the edge says so", async () => {
  const response = await task.admin("POST", "/rounds", {
    goalCount: 5,
    fraction: 1,
    epochs: 1,
    batchSize: 5,
    learningRate: 0.1,
    deadlineSeconds: 60,
    rounds: 1,
    topology: "gossip",
    aggregation: "median",
  });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ detail: expect.stringContaining("Choose the mean") as string });
});

test("an update goes to the hub of its continent", async () => {
  const { base, assignments } = await start();
  const deltas = assignments.map((_, k) => task.randomDelta(k));
  const from = ["AF", "OC", "AF", "EU", "SA", "AN"];
  for (const [k, assignment] of assignments.entries()) {
    const file = encodeUpdate(task.model, deltas[k] ?? new Float32Array(), task.metadataFor(assignment, 2));
    expect((await task.upload(assignment, file, {}, { continent: from[k] ?? "" })).status).toBe(202);
  }
  const next = await task.download(await task.published(1));
  const mean = (i: number): number => deltas.reduce((sum, delta) => sum + (delta[i] as number) / deltas.length, 0);
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  const { rounds } = await task.get<History>("/rounds");
  const updates = rounds[0]?.hubs.map(({ updates }) => updates) ?? [];
  expect(updates.reduce((sum, n) => sum + n, 0)).toBe(6);
  // Nobody is at home in Antarctica: its update goes to the emptiest.
  expect(updates[3]).toBe(2);
});
