import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Assignment, Problem, RoundConfig, Task } from "../../src/federation/protocol";
import { decodeHeader } from "../../src/model/safetensors";
import { takePart } from "./taking-part";
import { TestTask, worst } from "./testing";

// @module-tag slow

/** Rounds whose clients have their last layer for themselves, and one client that sends another all the same. */
const task = new TestTask("expressions-compact");
/** The last layer of `compact`, as src/model/model.ts lays it out: 64 x 7 weights and 7 biases, at the end. */
const HEAD = 64 * 7 + 7;
const { parameters } = task.model;
const isHead = (i: number): boolean => i >= parameters - HEAD;
/** So large that it would be all of the average, and all of its update's norm. */
const LIE = 1e5;

const body = (seed: number): Float32Array => task.randomDelta(seed).map((value, i) => (isHead(i) ? 0 : value));
const lying = (seed: number): Float32Array => body(seed).map((value, i) => (isHead(i) ? LIE : value));

async function begin(config: Partial<RoundConfig>): Promise<{ base: Float32Array; assignments: Assignment[] }> {
  const base = await task.download(await task.get<Task>(""));
  await task.startRound({ strategy: "fedper", goalCount: 3, overSelection: 1, ...config });
  return { base, assignments: await task.cohort(3) };
}

test("whatever a client sends in the place of personal layers counts for nothing: not in the average, and not in its norm", async () => {
  const bodies = [1, 2, 3].map(body);
  const norms = bodies.map((delta) => Math.sqrt(delta.reduce((sum, value) => sum + value * value, 0)));
  const clip = Math.min(...norms) / 2;
  const { base, assignments } = await begin({ updateClip: clip });
  for (const [k, assignment] of assignments.entries()) await task.send(assignment, k === 1 ? lying(2) : body(k + 1));
  const published = await task.published(1);
  const next = await task.download(published);
  const mean = (i: number): number =>
    bodies.reduce((sum, delta, k) => sum + ((delta[i] ?? NaN) * clip) / (norms[k] ?? NaN) / 3, 0);
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  // To the bit: nobody's head was added, however little.
  expect(next.subarray(parameters - HEAD)).toEqual(base.subarray(parameters - HEAD));
  // Its file says for whom it is, so that a device knows whether its own layers belong to it.
  const { metadata } = decodeHeader(await task.file(published));
  expect(metadata).toMatchObject({ strategy: "fedper", personalLayers: "1" });
  const { cohort } = await task.ended(1);
  cohort
    .map(({ norm }) => norm ?? NaN)
    .sort((a, b) => a - b)
    .forEach((norm, k) => expect(norm).toBeCloseTo(norms.toSorted((a, b) => a - b)[k] ?? NaN, 3));
});

test("nothing of them lies in the store, in whatever codec they came", async () => {
  const { assignments } = await begin({ aggregation: "median" });
  // Two of three: the round stays open, and with it what it keeps.
  for (const [k, assignment] of assignments.slice(0, 2).entries()) await task.send(assignment, lying(k + 1));
  const { objects } = await env.STORE.list({ prefix: `updates/${task.name}/` });
  expect(objects).toHaveLength(2);
  for (const { key } of objects) {
    const stored = new Float32Array((await (await env.STORE.get(key))?.arrayBuffer()) ?? new ArrayBuffer(0));
    expect(stored).toHaveLength(parameters);
    expect(stored.subarray(parameters - HEAD).every((value) => value === 0)).toBe(true);
    expect(stored.subarray(0, parameters - HEAD).some((value) => value !== 0)).toBe(true);
  }
});

test("what the difference of a version before has lost is not added to them", async () => {
  const rounds = { goalCount: 1, overSelection: 1, downloadCodec: "int4" } as const;
  await task.startRound(rounds);
  const [first] = await task.cohort(1);
  if (!first) throw new Error("no cohort");
  await task.send(first, task.randomDelta(1));
  const base = await task.download(await task.published(1));
  await task.startRound({ ...rounds, strategy: "fedper" });
  const [second] = await task.cohort(1);
  if (!second) throw new Error("no cohort");
  await task.send(second, lying(2));
  const next = await task.download(await task.published(2));
  expect(next.subarray(parameters - HEAD)).toEqual(base.subarray(parameters - HEAD));
  expect(next.subarray(0, parameters - HEAD)).not.toEqual(base.subarray(0, parameters - HEAD));
});

test("hubs that gossip leave them as they are", async () => {
  const { base, assignments } = await begin({ topology: "gossip" });
  for (const [k, assignment] of assignments.entries()) await task.send(assignment, lying(k + 1));
  const next = await task.download(await task.published(1));
  const bodies = [1, 2, 3].map(body);
  const mean = (i: number): number => bodies.reduce((sum, delta) => sum + (delta[i] ?? NaN) / 3, 0);
  expect(worst(next, (i) => (base[i] as number) + mean(i))).toBeLessThan(1e-6);
  expect(next.subarray(parameters - HEAD)).toEqual(base.subarray(parameters - HEAD));
});

test("and so does a sum under masks, which nobody can look into", async () => {
  const { base, assignments } = await begin({ secure: true, codec: "int8", updateClip: 1, secureStepSeconds: 10 });
  const facts = { weight: 4, trainLoss: 2, trainAccuracy: 0.5, evalExamples: 1, evalLoss: 3, evalAccuracy: 0 };
  await Promise.all(assignments.map((one, k) => takePart(task, one, { delta: lying(k + 1), facts, seed: k })));
  const next = await task.download(await task.published(1));
  expect(next.subarray(parameters - HEAD)).toEqual(base.subarray(parameters - HEAD));
});

test.each([
  [{ optimizer: "adam" }, "plain SGD"],
  [{ patience: 1 }, "plain SGD"],
  [{ mode: "async" }, "one and the same base"],
  [{ aggregation: "fednova" }, "FedNova"],
  [{ aggregation: "q-fair" }, "q-FedAvg"],
  [{ layers: "head" }, "choose layers all"],
] as const)("what does not go with a strategy is refused in words: %o", async (config, words) => {
  for (const strategy of ["fedper", "fedrep", "ditto", "moon"] as const) {
    const answer = await task.admin("POST", "/rounds", { strategy, goalCount: 3, ...config });
    expect(answer.status).toBe(422);
    expect((await answer.json<Problem>()).detail).toContain(words);
  }
});
