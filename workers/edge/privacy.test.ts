import { NOTEBOOK_ROUND } from "../../src/federation/default-round";
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { isNorm } from "../../src/model/batch-norm";
import { epsilon } from "../../src/federation/privacy/accountant";
import type { Task } from "../../src/federation/protocol";
import { TestTask, worst } from "./testing";

const compact = new TestTask("expressions-compact");
const { model } = compact;
afterEach(() => {
  vi.restoreAllMocks();
});
const normOf = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

test("a round with noise publishes the mean of clipped updates that weigh the same, and noise of the deviation it promises", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  const [clip, noise, goalCount] = [2, 0.7, 3];
  await compact.startRound({ goalCount, noise, updateClip: clip, batchNorm: "local" });
  const deltas = [0, 1, 2].map((k) => compact.randomDelta(k));
  for (const [i, assignment] of (await compact.cohort(goalCount)).entries()) {
    await compact.send(assignment, deltas[i] as Float32Array, 2 + 10 * i);
  }
  await compact.summed(1, goalCount);
  await compact.later(601);
  const next = await compact.download(await compact.published(1));
  const factors = deltas.map((delta) => Math.min(1, clip / normOf(delta)) / goalCount);
  expect(factors.every((factor) => factor < 1 / goalCount)).toBe(true);
  let [squares, cross, count] = [0, 0, 0];
  for (const tensor of model.tensors) {
    for (let i = tensor.offset; i < tensor.offset + tensor.size; i++) {
      const step = (next[i] ?? NaN) - (base[i] ?? NaN);
      if (isNorm(model, tensor)) {
        expect(step).toBe(0);
        continue;
      }
      const mean = deltas.reduce((sum, delta, k) => sum + (factors[k] ?? NaN) * (delta[i] ?? NaN), 0);
      squares += (step - mean) ** 2;
      cross += (step - mean) * mean;
      count += 1;
    }
  }
  const deviation = (noise * clip) / goalCount;
  expect(Math.abs(Math.sqrt(squares / count) / deviation - 1)).toBeLessThan(5 / Math.sqrt(2 * count));
  // What is left of the step has nothing to do with the updates.
  expect(Math.abs(cross) / Math.sqrt(squares)).toBeLessThan(5 * normOf(deltas[0] as Float32Array));

  // Nothing on the dashboard tells who took part, and the dashboard can tell epsilon.
  expect(await compact.ended(1)).toMatchObject({ tally: null, cohort: [], trainLoss: null });
  // Nor is it kept how an update lay to an average with noise.
  const stub = env.COORDINATOR.get(env.COORDINATOR.idFromName(compact.name));
  const kept = (_: unknown, { storage: { sql } }: DurableObjectState): unknown =>
    sql.exec("SELECT count(cosine) AS n, count(norm) AS norms FROM updates").one();
  expect(await runInDurableObject(stub, kept)).toEqual({ n: 0, norms: goalCount });
  const { privacy } = await compact.get<Task>("");
  expect(privacy).toEqual([{ sampling: 1, noise, rounds: 1, clients: 3 }]);
  expect(epsilon(privacy)).toBeGreaterThan(0);
  vi.restoreAllMocks();
  await compact.startRound({ goalCount: 1 });
  const [plain] = await compact.cohort(1);
  if (!plain) throw new Error("no cohort");
  await compact.send(plain, deltas[0] as Float32Array);
  await compact.published(2);
  expect(epsilon((await compact.get<Task>("")).privacy)).toBe(Infinity);
});

test("with noise every waiting client is drawn by itself, and those who waited are counted for delta", async () => {
  await compact.startRound({ goalCount: 3, fraction: 0.02, noise: 1, updateClip: 1, batchNorm: "local", rounds: 3 });
  const clients = Array.from({ length: 150 }, () => crypto.randomUUID());
  for (const client of clients) await compact.checkIn(client);
  await compact.until(({ rounds }) => rounds[0]?.trainingAt != null, "a draw");
  expect((await compact.get<Task>("")).privacy).toEqual([{ sampling: 0.02, noise: 1, rounds: 1, clients: 150 }]);
});

test("the clip of a series follows the norms of its updates", async () => {
  const cohort = 12;
  await compact.startRound({
    ...{
      goalCount: cohort,
      noise: 1,
      updateClip: 1,
      clipQuantile: 0.5,
      batchNorm: "local",
      rounds: 2,
      overSelection: 1,
    },
  });
  const zeros = new Float32Array(model.parameters);
  for (const assignment of await compact.cohort(cohort)) await compact.send(assignment, zeros);
  await compact.summed(1, cohort);
  await compact.later(601);
  await compact.published(1);
  const { rounds } = await compact.until(({ rounds }) => rounds.length === 2, "the next round opens");
  // All norms lay below it: exp(-0.2 (1 + noise - 0.5)), with a deviation of 1 / 20 of the noise.
  expect(rounds[1]?.config.updateClip).toBeGreaterThan(Math.exp(-0.2 * 0.75));
  expect(rounds[1]?.config.updateClip).toBeLessThan(Math.exp(-0.2 * 0.25));
});

test("an update that is taken back is deleted and counts no more, until a mean has been made of it", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 4, overSelection: 1, deadlineSeconds: 6 });
  const [one, two, three, four] = await compact.cohort(4);
  if (!one || !two || !three || !four) throw new Error("no cohort");
  const deltas = [0, 1, 2].map((k) => compact.randomDelta(k));
  for (const [i, assignment] of [one, two, three].entries()) {
    await compact.send(assignment, deltas[i] as Float32Array);
  }
  const counted = ({ rounds }: { rounds: { cohort: { state: string }[] }[] }): number =>
    rounds[0]?.cohort.filter(({ state }) => state === "counted").length ?? 0;
  await compact.until((history) => counted(history) === 3, "all are counted");
  const withdraw = async ({ id }: { id: string }): Promise<unknown> =>
    (await compact.fetchSigned(`/rounds/1/updates/${id}`, { id }, { method: "DELETE" })).json();
  expect(await withdraw(one)).toEqual({ status: "withdrawn" });
  expect(await withdraw(one)).toEqual({ status: "withdrawn" });
  expect((await env.STORE.list({ prefix: "updates/" })).objects.some(({ key }) => key.includes(one.id))).toBe(false);
  // The queue may bring it a second time.
  await env.UPDATES.send({ task: compact.name, id: one.id });
  expect(await withdraw(four)).toEqual({ status: "withdrawn" });
  expect(await compact.upload(four, new Uint8Array(9))).toMatchObject({ status: 409 });
  const late = await compact.upload(one, new Uint8Array(9));
  expect(late).toMatchObject({ status: 409, body: { code: "round-closed" } });
  const next = await compact.download(await compact.published(1));
  expect(worst(next, (i) => (base[i] ?? NaN) + ((deltas[1]?.[i] ?? NaN) + (deltas[2]?.[i] ?? NaN)) / 2)).toBeLessThan(
    1e-6,
  );
  expect(await withdraw(two)).toEqual({ status: "too-late" });
  expect(await withdraw({ id: crypto.randomUUID() })).toMatchObject({ code: "not-found" });
});

test.each([
  [{ noise: 1e-160, updateClip: 1, batchNorm: "local" }, "Noise below 0.01"],
  [{ noise: 1, batchNorm: "local" }, "update clip"],
  [{ noise: 1, updateClip: 1, batchNorm: "average" }, "batch normalization"],
  [{ noise: 1, updateClip: 1, batchNorm: "local", prior: 10 }, "prior 0"],
  [{ noise: 1, updateClip: 1, batchNorm: "local", aggregation: "median" }, "the mean"],
  [{ noise: 1, updateClip: 1, batchNorm: "local", mode: "async" }, "synchronous"],
  [{ noise: 1, updateClip: 1, batchNorm: "local", clipQuantile: 0.5 }, "at least 11"],
] as const)("%o is refused with the reason", async (config, reason) => {
  const response = await compact.admin("POST", "/rounds", {
    ...NOTEBOOK_ROUND,
    goalCount: 2,
    ...config,
  });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ detail: expect.stringContaining(reason) as string });
});
