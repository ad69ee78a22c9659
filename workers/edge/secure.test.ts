import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Assignment, Task } from "../../src/federation/protocol";
import { isNorm } from "../../src/model/batch-norm";
import { seededRandom } from "../../src/base/random";
import { ringOf } from "../../src/federation/secagg/ring";
import { takePart as partOf, type Leaves, type Lie } from "./taking-part";
import { fetchEdge, TestTask } from "./testing";

// @module-tag slow

const compact = new TestTask("expressions-compact");
const { model } = compact;
const CLIP = 1;
const SECURE = { codec: "int8", secure: true, updateClip: CLIP, secureStepSeconds: 3 } as const;
const FACTS = { trainLoss: 2, trainAccuracy: 0.5, evalExamples: 2, evalLoss: 3, evalAccuracy: 0.25 };

const clipped = (seed: number): Float32Array => {
  const random = seededRandom(seed);
  const delta = Float32Array.from({ length: model.parameters }, () => random() - 0.5);
  const norm = Math.sqrt(delta.reduce((sum, value) => sum + value * value, 0));
  return delta.map((value) => (value * CLIP) / norm);
};

const rubbish = (bytes: number): string => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(bytes))));

const takePart = (
  assignment: Assignment,
  delta: Float32Array,
  weight: number,
  leaves?: Leaves,
  lie: Lie = (message) => message,
): Promise<void> => partOf(compact, assignment, { delta, facts: { weight, ...FACTS }, seed: weight, leaves, lie });

const WEIGHTS = [3, 10, 20, 5, 8, 2];

/** How far the published checkpoint is from base + weighted mean, beside the size of that mean. */
async function error(base: Float32Array, deltas: Float32Array[], weights: number[]): Promise<number> {
  const next = await compact.download(await compact.get<Task>(""));
  const total = weights.reduce((a, b) => a + b);
  let [wrong, size] = [0, 0];
  for (let i = 0; i < next.length; i++) {
    const mean = deltas.reduce((sum, delta, k) => sum + ((weights[k] ?? 0) / total) * (delta[i] ?? 0), 0);
    wrong += ((next[i] ?? NaN) - (base[i] ?? NaN) - mean) ** 2;
    size += mean ** 2;
  }
  return Math.sqrt(wrong / size);
}

test("a round publishes the mean of vectors that nobody has seen, and the sums of what they held", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 3, overSelection: 1, ...SECURE });
  const deltas = [0, 1, 2].map(clipped);
  const assignments = await compact.cohort(3);
  const running = assignments.map((one, k) => takePart(one, deltas[k] as Float32Array, WEIGHTS[k] ?? 0));
  await compact.until(({ rounds }) => rounds[0]?.cohort.some(({ state }) => state === "counted") ?? false, "one came");
  // What lies in the store is uniform: the vector of a client whose numbers are all small.
  const { objects } = await env.STORE.list({ prefix: "updates/" });
  const file = await env.STORE.get(objects[0]?.key ?? "");
  const stored = new Uint32Array((await file?.arrayBuffer()) ?? new ArrayBuffer(0));
  const { bits } = ringOf(model, { codec: "int8", ...(assignments[0]?.secure as NonNullable<Assignment["secure"]>) });
  const mean = stored.reduce((sum, value) => sum + value / 2 ** bits / stored.length, 0);
  expect(Math.abs(mean - 0.5)).toBeLessThan(6 / Math.sqrt(12 * stored.length));
  await Promise.all(running);
  await compact.published(1);
  expect(await error(base, deltas, WEIGHTS.slice(0, 3))).toBeLessThan(0.05);
  const round = await compact.ended(1);
  expect(round.trainLoss).toBeCloseTo(2, 1);
  expect(round).toMatchObject({ evalExamples: 6 });
  for (const { examples, norm, cosine, trainLoss } of round.cohort)
    expect([examples, norm, cosine, trainLoss]).toEqual([null, null, null, null]);
});

test("clients leave at every step, the edge is killed in between, and the mean of who was left is published", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 6, overSelection: 1, deadlineSeconds: 20, ...SECURE });
  const deltas = WEIGHTS.map((_, k) => clipped(k));
  const leaves: Leaves[] = ["vector", "confirmation", undefined, undefined, undefined, undefined];
  const assignments = await compact.cohort(6);
  const running = assignments.map((one, k) => takePart(one, deltas[k] as Float32Array, WEIGHTS[k] ?? 0, leaves[k]));
  await compact.until(({ rounds }) => (rounds[0]?.cohort ?? []).some(({ state }) => state === "counted"), "one came");
  for (const stub of [
    env.COORDINATOR.get(env.COORDINATOR.idFromName(compact.name)),
    env.AGGREGATOR.get(env.AGGREGATOR.idFromName(`${compact.name}/1/0`)),
  ]) {
    await runInDurableObject(stub as DurableObjectStub, (_, state) => {
      state.abort("killed by the test");
    }).catch(() => undefined);
  }
  await Promise.allSettled(running);
  await compact.published(1);
  // The one that left after its vector counts; the one before it does not.
  expect(await error(base, deltas.slice(1), WEIGHTS.slice(1))).toBeLessThan(0.05);
});

/** A round of five, the first of whom lies. @returns how far what is published is from the mean of some of them */
async function withLiar(lie: Lie, counted: readonly number[]): Promise<number> {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 5, overSelection: 1, deadlineSeconds: 60, ...SECURE });
  const deltas = [0, 1, 2, 3, 4].map(clipped);
  const assignments = await compact.cohort(5);
  await Promise.all(
    assignments.map((one, k) =>
      takePart(one, deltas[k] as Float32Array, WEIGHTS[k] ?? 0, undefined, k === 0 ? lie : undefined),
    ),
  );
  await compact.published(1);
  return error(
    base,
    counted.map((k) => deltas[k] as Float32Array),
    counted.map((k) => WEIGHTS[k] ?? 0),
  );
}

test("who seals rubbish for its peers is left out before anybody masks with it, and the others' mean is published", async () => {
  const lie: Lie = (message) =>
    message.step === "shares"
      ? { ...message, shares: message.shares.map(({ to }) => ({ to, sealed: rubbish(94) })) }
      : message;
  expect(await withLiar(lie, [1, 2, 3, 4])).toBeLessThan(0.05);
  expect((await compact.ended(1)).cohort.filter(({ state }) => state === "dropped")).toHaveLength(1);
});

test("who complains of more peers than a liar can have harmed is out itself, and they stay", async () => {
  let peers: number[] = [];
  const notes: Lie = (message) => {
    if (message.step === "shares") peers = message.shares.map(({ to }) => to);
    return message.step === "check" ? { ...message, unopened: peers.slice(0, 2) } : message;
  };
  expect(await withLiar(notes, [1, 2, 3, 4])).toBeLessThan(0.05);
});

test("who opens wrong shares is found out and spoils nothing", async () => {
  const lie: Lie = (message) =>
    message.step === "reveal"
      ? { ...message, seeds: message.seeds.map(({ of }) => ({ of, share: rubbish(33) })) }
      : message;
  expect(await withLiar(lie, [0, 1, 2, 3, 4])).toBeLessThan(0.05);
});

test("who says something impossible after its vector came has no word any more, but its vector stays in the sum", async () => {
  const lie: Lie = (message) =>
    message.step === "confirm" ? { ...message, macs: [{ member: 900, mac: rubbish(32) }] } : message;
  expect(await withLiar(lie, [0, 1, 2, 3, 4])).toBeLessThan(0.05);
});

test("below the threshold nothing is unmasked: the round is given up, and says why", async () => {
  await compact.startRound({ goalCount: 4, overSelection: 1, deadlineSeconds: 60, ...SECURE });
  const leaves: Leaves[] = [undefined, undefined, "confirmation", "confirmation"];
  const assignments = await compact.cohort(4);
  await Promise.all(assignments.map((one, k) => takePart(one, clipped(k), 1, leaves[k])));
  expect(await compact.ended(1)).toMatchObject({
    state: "abandoned",
    reason: "2 clients have confirmed who has sent a vector; 3 are needed.",
  });
  expect((await compact.get<Task>("")).checkpoint.version).toBe(0);
});

const NOISY = { ...SECURE, noise: 1, batchNorm: "local", prior: 0 } as const;

test("with noise the checkpoint has as much as the clients that came share out, and nobody's losses are summed", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  const goalCount = 4;
  await compact.startRound({ goalCount, overSelection: 1, ...NOISY });
  const deltas = WEIGHTS.slice(0, goalCount).map((_, k) => clipped(k));
  const assignments = await compact.cohort(goalCount);
  await Promise.all(assignments.map((one, k) => takePart(one, deltas[k] as Float32Array, WEIGHTS[k] ?? 0)));
  const next = await compact.download(await compact.published(1));
  let [squares, count] = [0, 0];
  for (const tensor of model.tensors) {
    if (isNorm(model, tensor)) continue;
    for (let i = tensor.offset; i < tensor.offset + tensor.size; i++) {
      const mean = deltas.reduce((sum, delta) => sum + (delta[i] ?? 0) / goalCount, 0);
      squares += ((next[i] ?? NaN) - (base[i] ?? NaN) - mean) ** 2;
      count += 1;
    }
  }
  // Two would have to be enough; four have come. The rounding is as much noise as a 150th of all.
  const deviation = (CLIP / goalCount) * Math.sqrt(4 / 2);
  // Of so many numbers a deviation is known to 0.00125 of itself: four times that is allowed for chance.
  expect(Math.sqrt(squares / count) / deviation).toBeGreaterThan(0.995);
  expect(Math.sqrt(squares / count) / deviation).toBeLessThan(1.01);
  const round = await compact.ended(1);
  expect(round).toMatchObject({ trainLoss: null, evalExamples: 0 });
  expect((await compact.get<Task>("")).privacy).toMatchObject([{ sampling: 1, noise: 1, rounds: 1 }]);
});

test("with noise no sum is opened of fewer vectors than make all of it", async () => {
  await compact.startRound({ goalCount: 6, overSelection: 1, deadlineSeconds: 30, ...NOISY });
  const assignments = await compact.cohort(6);
  // Three are silent from the beginning, one of the others takes its part back, and two would open the sum.
  const leaves: Leaves[] = [undefined, undefined, "vector"];
  const running = leaves.map((leave, k) => takePart(assignments[k] as Assignment, clipped(k), 1, leave));
  await running[2];
  const { id } = assignments[2] as Assignment;
  await compact.fetchSigned(`/rounds/1/updates/${id}`, { id }, { method: "DELETE" });
  await Promise.all(running);
  expect(await compact.ended(1)).toMatchObject({
    state: "abandoned",
    reason: expect.stringContaining("2 clients have sent a vector; 3 are needed") as string,
  });
});

test("a vector of the wrong length, or of somebody without shares, is refused", async () => {
  await compact.startRound({ goalCount: 3, overSelection: 1, ...SECURE });
  const [one] = await compact.cohort(3);
  if (!one) throw new Error("no cohort");
  expect(await compact.upload(one, new Uint8Array(100))).toMatchObject({ status: 403, body: { code: "not-selected" } });
  const wrong = await compact.fetchSigned(`/rounds/1/secure/${one.id}`, one, {
    method: "POST",
    body: JSON.stringify({ step: "keys", cipherKey: "AAAA", maskKey: "AAAA", seedDigest: "AAAA" }),
  });
  expect(wrong.status).toBe(400);
  const id = crypto.randomUUID();
  expect(await (await compact.fetchSigned(`/rounds/1/secure/${id}`, { id })).json()).toEqual({
    step: "over",
    published: false,
  });
});

test.each([
  [{ aggregation: "median" }, "compare"],
  [{ aggregation: "krum" }, "compare"],
  [{ codec: "topk" }, "whole numbers"],
  [{ mode: "async" }, "synchronous"],
  [{ updateClip: 0 }, "range"],
  [{ goalCount: 2 }, "hidden"],
] as const)("%o does not go with secure aggregation, and the answer says why", async (config, reason) => {
  const response = await fetchEdge(`http://edge/api/tasks/${compact.name}/rounds`, {
    method: "POST",
    headers: { authorization: "Bearer test-token" },
    body: JSON.stringify({
      goalCount: 3,
      fraction: 1,
      epochs: 1,
      batchSize: 5,
      learningRate: 0.1,
      deadlineSeconds: 60,
      rounds: 1,
      ...SECURE,
      ...config,
    }),
  });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ detail: expect.stringContaining(reason) as string });
});
