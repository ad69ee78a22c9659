import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { DEFAULT_ROUND } from "../../src/federation/default-round";
import { normOf } from "../../src/federation/privacy/clip";
import {
  READING,
  READING_EVERY,
  type Assignment,
  type History,
  type Round,
  type Task,
} from "../../src/federation/protocol";
import { createSigningKey } from "../../src/federation/signing";
import { encodeUpdate, type UpdateMetadata } from "../../src/federation/update";
import { Aggregator } from "./aggregator";
import { takeRoom } from "./room";
import { fetchEdge, TestTask, worst } from "./testing";

// @module-tag slow

/** What one client can do to a round, whatever it says. Every number of it is a claim. */
const task = new TestTask("expressions-compact");
const { parameters, tensors } = task.model;
const filled = (value: number): Float32Array<ArrayBuffer> => new Float32Array(parameters).fill(value);
const coordinator = () => env.COORDINATOR.get(env.COORDINATOR.idFromName(task.name));
const latest = async (): Promise<Round> => (await task.get<History>("/rounds")).rounds.at(-1) as Round;

afterEach(() => {
  vi.restoreAllMocks();
});

const clock = Date.now.bind(Date);
const later = (seconds: number): Promise<void> => task.later(seconds);

async function cohortOf(examples: readonly number[]): Promise<Assignment[]> {
  const clients = examples.map(() => crypto.randomUUID());
  for (const [i, client] of clients.entries()) await task.checkIn(client, { examples: examples[i] as number });
  const answers = await Promise.all(
    clients.map((client, i) => task.checkIn(client, { examples: examples[i] as number })),
  );
  return answers.map((answer) => {
    if (answer.decision !== "train") throw new Error("not selected");
    return answer.assignment;
  });
}

test("an update counts for the faces that its client checked in with, and for the cap of its round at most", async () => {
  await task.startRound({ goalCount: 3, overSelection: 1, maxExamples: 20 });
  const base = await task.download(await task.get<Task>(""));
  // One who checked in with 5 and says 100,000 now; one who lied from the beginning; one who is honest.
  const [late, liar, honest] = await cohortOf([5, 100_000, 10]);
  if (!late || !liar || !honest) throw new Error("no cohort");
  await task.send(late, filled(0.001), 100_000);
  await task.send(liar, filled(0.002), 100_000);
  await task.send(honest, filled(0.004), 10);
  const next = await task.download(await task.published(1));
  // By hand: (5 * 1 + 20 * 2 + 10 * 4) / 35 thousandths.
  expect(worst(next, (i) => (base[i] as number) + 0.085 / 35)).toBeLessThan(1e-6);
  expect((await task.ended(1)).cohort.map(({ examples }) => examples).sort()).toEqual([10, 20, 5]);
});

test("whoever says that it has far more than the others counts for twice their middle number", async () => {
  await task.startRound({ goalCount: 4, overSelection: 1, maxExamplesRatio: DEFAULT_ROUND.maxExamplesRatio });
  const base = await task.download(await task.get<Task>(""));
  const cohort = await cohortOf([7, 5, 40, 200]);
  const [seven, five, forty, liar] = cohort;
  if (!seven || !five || !forty || !liar) throw new Error("no cohort");
  await task.send(liar, filled(0.004), 200);
  await task.send(forty, filled(0.002), 40);
  await task.send(five, filled(0.001), 5);
  await task.send(seven, filled(0.001), 7);
  const next = await task.download(await task.published(1));
  // By hand: of 5, 7, 40 and 200 the lower middle one is 7. (5 * 1 + 7 * 1 + 14 * 2 + 14 * 4) / 40 thousandths.
  expect(worst(next, (i) => (base[i] as number) + 0.096 / 40)).toBeLessThan(1e-6);
});

test("in a round of FedNova one who claims very many faces has nobody step further, and is divided by the steps that make them", async () => {
  await task.startRound({
    aggregation: "fednova",
    goalCount: 3,
    overSelection: 1,
    maxExamplesRatio: 2,
    maxExamples: 100_000,
    epochs: 1,
    batchSize: 5,
  });
  const base = await task.download(await task.get<Task>(""));
  const [honest, other, liar] = await cohortOf([10, 10, 100_000]);
  if (!honest || !other || !liar) throw new Error("no cohort");
  await task.send(honest, filled(0.001), 10);
  await task.send(other, filled(0.001), 10);
  await task.send(liar, filled(0.001), 100_000);
  const next = await task.download(await task.published(1));
  // By hand: n is 10, 10 and 20, tau_eff (20 * 2 + 20 * 4) / 40 = 3, and the deltas are divided by 2, 2 and 20,000 steps.
  const step = 3 * (0.5 * (0.001 / 2) + 0.5 * (0.001 / 20_000));
  expect(worst(next, (i) => (base[i] as number) + step)).toBeLessThan(1e-7);
});

test("statistics of batch normalization make nobody step further in a round of FedExP", async () => {
  const serverEpsilon = 0.1;
  await task.startRound({ serverOptimizer: "fedexp", serverEpsilon, goalCount: 2, overSelection: 1 });
  const base = await task.download(await task.get<Task>(""));
  const [one, other] = await cohortOf([10, 10]);
  if (!one || !other) throw new Error("no cohort");
  /** The same everywhere, but in variances, which are far from one another. */
  const deltaOf = (value: number, variance: number): Float32Array<ArrayBuffer> => {
    const delta = filled(value);
    for (const { offset, size, trainable } of tensors) if (!trainable) delta.fill(variance, offset, offset + size);
    return delta;
  };
  await task.send(one, deltaOf(0.01, 3), 10);
  await task.send(other, deltaOf(-0.006, 7), 10);
  const next = await task.download(await task.published(1));
  // By hand, of T parameters: T (0.01^2 + 0.006^2) / 2 over 2 (T 0.002^2 + eps). Statistics are averaged.
  const T = tensors.reduce((sum, { size, trainable }) => sum + (trainable ? size : 0), 0);
  const scale = (T * 0.000068) / (2 * (T * 0.000004 + serverEpsilon));
  expect(scale).toBeGreaterThan(5);
  const trainable = (i: number): boolean =>
    tensors.some(({ offset, size, trainable }) => trainable && i >= offset && i < offset + size);
  expect(worst(next, (i) => (base[i] as number) + (trainable(i) ? scale * 0.002 : 5))).toBeLessThan(1e-6);
});

test.each(["mean", "median"] as const)(
  "no update moves the weights by more than its share of their norm: %s",
  async (aggregation) => {
    await task.startRound({ goalCount: 1, overSelection: 1, maxUpdateNorm: 0.25, aggregation });
    const base = await task.download(await task.get<Task>(""));
    const [one] = await task.cohort(1);
    if (!one) throw new Error("no cohort");
    await task.send(one, filled(1e30));
    const next = await task.download(await task.published(1));
    const step = next.map((value, i) => value - (base[i] as number));
    expect(normOf(step) / normOf(base)).toBeCloseTo(0.25, 3);
  },
);

test("a clip holds for a rule that compares updates, too", async () => {
  await task.startRound({ goalCount: 3, overSelection: 1, aggregation: "median", updateClip: 2 });
  const base = await task.download(await task.get<Task>(""));
  for (const one of await task.cohort(3)) await task.send(one, task.randomDelta(1));
  const next = await task.download(await task.published(1));
  expect(normOf(next.map((value, i) => value - (base[i] as number)))).toBeCloseTo(2, 3);
});

test.each([
  ["not finite", { serverLearningRate: 2 }, () => filled(3.4e38)],
  ["grown", {}, () => filled(1e30)],
  [
    "no variance",
    {},
    () => {
      const delta = filled(0);
      const variance = tensors.find(({ name }) => name.endsWith("/moving_variance"));
      delta[variance?.offset ?? 0] = -3;
      return delta;
    },
  ],
] as const)(
  "weights that are %s are never published: the round ends, says why, and its series goes on",
  async (why, config, delta) => {
    await task.startRound({ goalCount: 1, overSelection: 1, rounds: 2, ...config });
    const [one] = await task.cohort(1);
    if (!one) throw new Error("no cohort");
    await task.send(one, delta());
    expect(await task.ended(1)).toMatchObject({ state: "abandoned", reason: expect.stringContaining(why) as string });
    const { rounds, task: now } = await task.get<History>("/rounds");
    expect(now.checkpoint.version).toBe(0);
    expect(rounds[1]?.state).toBe("selecting");
  },
);

test.each([
  { trainLoss: 1e308 },
  { trainAccuracy: -1e300 },
  { trainAccuracy: 1.01 },
  { evalLoss: -1 },
  { evalExamples: 1e8 },
  { trainingMs: 1e300 },
  { initialLoss: 1e308 },
  { backend: "<img src=x onerror=alert(1)>" as UpdateMetadata["backend"] },
])("a number that nothing can be, or a word that nobody knows, is refused: %o", async (more) => {
  await task.startRound({ goalCount: 1, overSelection: 1 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const file = encodeUpdate(task.model, filled(0), { ...task.metadataFor(one, 4), ...more });
  expect(await task.upload(one, file)).toMatchObject({ status: 422, body: { code: "bad-header" } });
});

test("a round whose updates cannot be averaged is tried again for a while, then given up with the reason", async () => {
  const store = Object.getPrototypeOf(env.STORE) as R2Bucket;
  await task.startRound({ goalCount: 1, overSelection: 1, rounds: 2 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const real = Reflect.get(store, "get") as (this: R2Bucket, key: string, ...args: unknown[]) => Promise<never>;
  vi.spyOn(store, "get").mockImplementation(async function (this: R2Bucket, key: string, ...args: unknown[]) {
    if (key.startsWith("checkpoints/")) throw new Error("The store is away.");
    return real.call(this, key, ...args);
  });
  await task.send(one, filled(0));
  await task.until(({ rounds }) => rounds[0]?.state === "aggregating", "it is averaged");
  await later(700);
  expect(await task.ended(1)).toMatchObject({
    state: "abandoned",
    reason: expect.stringContaining("could not be averaged") as string,
  });
});

test("a round that nobody comes to is given up in its time, and those who went away are forgotten", async () => {
  await task.startRound({ goalCount: 5, waitSeconds: 120, rounds: 2 });
  for (let i = 0; i < 3; i++) await task.checkIn(crypto.randomUUID());
  expect((await latest()).waiting).toBe(3);
  await later(45);
  expect(await latest()).toMatchObject({ state: "selecting", waiting: 0 });
  await later(121);
  const { rounds } = await task.get<History>("/rounds");
  expect(rounds[0]).toMatchObject({
    state: "abandoned",
    reason: expect.stringContaining("In 120 s 0 of the 5") as string,
  });
  expect(rounds[1]?.state).toBe("selecting");
});

test("a choice for which too many have left again, or whose goal was raised, waits in peace for more", async () => {
  await task.startRound({ goalCount: 2, selectionSeconds: 35 });
  for (let i = 0; i < 2; i++) await task.checkIn(crypto.randomUUID());
  await task.admin("PATCH", "/rounds/current", { goalCount: 10 });
  const alarmIn = (): Promise<number> =>
    runInDurableObject(coordinator(), async (_, state) => ((await state.storage.getAlarm()) ?? 0) - Date.now());
  expect(await alarmIn()).toBeGreaterThan(5000);
  await later(36);
  expect(await latest()).toMatchObject({ state: "selecting", waiting: 0 });
  expect(await alarmIn()).toBeGreaterThan(5000);
});

test("a silent cohort costs a series one round, and silent clients keep nobody out of an async one", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1, deadlineSeconds: 5, rounds: 2 });
  await task.cohort(1);
  expect((await task.ended(1)).state).toBe("abandoned");
  expect((await latest()).state).toBe("selecting");
  await task.admin("DELETE", "/rounds/current");

  await task.startRound({ goalCount: 2, overSelection: 1, mode: "async", deadlineSeconds: 600 });
  await task.cohort(2);
  const honest = crypto.randomUUID();
  expect(await task.checkIn(honest)).toMatchObject({ decision: "wait", reason: "not-selected" });
  await later(301);
  expect((await task.checkIn(honest)).decision).toBe("train");
});

test("evaluators that never answer keep the others' word out for a quarter of the time only", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1, evaluators: 1, tolerance: 0.1, evaluationSeconds: 600 });
  const [member] = await task.cohort(1);
  if (!member) throw new Error("no cohort");
  await task.send(member, filled(0.001), 5);
  await task.until(({ rounds }) => rounds[0]?.state === "evaluating", "it is evaluated");
  const silent = await task.checkIn(crypto.randomUUID(), { heldOut: 1 });
  expect(silent.decision).toBe("evaluate");
  const honest = crypto.randomUUID();
  expect((await task.checkIn(honest, { heldOut: 1 })).decision).toBe("wait");
  await later(151);
  const answer = await task.checkIn(honest, { heldOut: 1 });
  if (answer.decision !== "evaluate") throw new Error("not asked");
  const body = JSON.stringify({ examples: 1, loss: 1, accuracy: 1, baseLoss: 1, baseAccuracy: 1 });
  await task.fetchSigned(`/evaluations/${answer.evaluation.id}`, answer.evaluation, { method: "POST", body });
  expect((await latest()).state).toBe("published");
});

test("the operator's word takes no client's place, can be said again, and rejects what the clients like", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1, evaluators: 1, tolerance: 0.1 });
  const [member] = await task.cohort(1);
  if (!member) throw new Error("no cohort");
  await task.send(member, filled(0.001), 5);
  await task.until(({ rounds }) => rounds[0]?.state === "evaluating", "it is evaluated");
  const said = (loss: number) => ({ examples: 500, loss, accuracy: 0.5, baseLoss: 1, baseAccuracy: 0.9 });
  const path = "/rounds/1/evaluation";
  expect((await task.admin("PUT", path, said(1), "not-the-token")).status).toBe(401);
  for (const loss of [1, 1.2]) expect((await task.admin("PUT", path, said(loss))).status).toBe(200);
  const answer = await task.checkIn(crypto.randomUUID(), { heldOut: 1 });
  if (answer.decision !== "evaluate") throw new Error("not asked");
  const body = JSON.stringify({ ...said(0.5), examples: 1 });
  await task.fetchSigned(`/evaluations/${answer.evaluation.id}`, answer.evaluation, { method: "POST", body });
  const { state, reason, evidence } = await latest();
  expect({ state, reason }).toMatchObject({
    state: "rejected",
    reason: expect.stringContaining("the operator's faces") as string,
  });
  expect(evidence.operator).toMatchObject({ clients: 1, examples: 500, loss: 1.2 });
  expect((await task.admin("PUT", path, said(1))).status).toBe(409);
});

test("a round waits for the operator where it is told to, and harm that has added up over rounds is not published", async () => {
  const asked = { goalCount: 1, overSelection: 1, evaluators: 0, tolerance: 0.1, evaluationSeconds: 600 };
  await task.startRound({ ...asked, awaitOperator: true, rounds: 3 });
  const round = async (number: number, accuracy: number, baseAccuracy: number): Promise<string | null> => {
    const [member] = await task.cohort(1);
    if (!member) throw new Error("no cohort");
    await task.send(member, filled(0.001), 5);
    await task.until(({ rounds }) => rounds.at(-1)?.state === "evaluating", "it is evaluated");
    const said = { examples: 3589, loss: 1, accuracy, baseLoss: 1, baseAccuracy };
    expect((await task.admin("PUT", `/rounds/${number}/evaluation`, said)).status).toBe(200);
    const { rounds } = await task.get<History>("/rounds");
    return rounds.find((one) => one.number === number)?.reason ?? null;
  };
  expect(await round(1, 0.8, 0.8)).toBeNull();
  // Each less than a point below the last.
  expect(await round(2, 0.792, 0.8)).toBeNull();
  expect(await round(3, 0.784, 0.792)).toContain("80.0 % were by an earlier version");
});

test("a round whose last member takes its update back is over at once", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1, deadlineSeconds: 3600, rounds: 2 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  await task.fetchSigned(`/rounds/1/updates/${one.id}`, one, { method: "DELETE" });
  const { rounds } = await task.get<History>("/rounds");
  expect(rounds[0]).toMatchObject({ state: "abandoned", reason: "Every client of the round has left." });
  expect(rounds[1]?.state).toBe("selecting");
});

test("what the members were told cannot change under their hands; what they were not told can", async () => {
  await task.startRound({ goalCount: 3, overSelection: 1, secure: true, codec: "int8", updateClip: 1 });
  await task.cohort(3);
  for (const change of [
    ...[{ secure: false }, { epochs: 3 }, { codec: "float32" }, { maxExamples: 5 }],
    ...[{ maxUpdateNorm: 3 }, { downloadCodec: "int8" }, { serverLearningRate: 2 }, { evaluateByClass: true }],
  ]) {
    expect((await task.admin("PATCH", "/rounds/current", change)).status, JSON.stringify(change)).not.toBe(200);
  }
  expect((await task.admin("PATCH", "/rounds/current", { rounds: 9 })).status).toBe(200);
  expect((await latest()).config.secure).toBe(true);
});

test("with noise everybody who was drawn counts, also beyond the goal, and the sum is divided by what was fixed before", async () => {
  const noise = { noise: 0.01, updateClip: 1, batchNorm: "local" } as const;
  await task.startRound({ ...noise, goalCount: 2, overSelection: 2, selectionSeconds: 600 });
  const base = await task.download(await task.get<Task>(""));
  const [one, two, three, four] = await task.cohort(4);
  if (!one || !two || !three || !four) throw new Error("no cohort");
  for (const member of [one, two]) await task.send(member, filled(0.001));
  await task.summed(1, 2);
  expect((await latest()).state).toBe("training");
  for (const member of [three, four]) await task.send(member, filled(0.001));
  await task.summed(1, 4);
  // Not even that all have come ends it before its deadline.
  expect((await latest()).state).toBe("training");
  await later(601);
  const next = await task.download(await task.published(1));
  const kept = tensors.filter(({ name }) => !/_norm\d\//.test(name));
  const size = kept.reduce((sum, tensor) => sum + tensor.size, 0);
  const step = kept.reduce((sum, { offset, size: length }) => {
    for (let i = offset; i < offset + length; i++) sum += ((next[i] as number) - (base[i] as number)) / size;
    return sum;
  }, 0);
  // Four thousandths, divided by the goal of two; the noise of so many numbers is nothing in their mean.
  expect(step).toBeCloseTo(0.002, 4);
});

/** All that anybody is told of a task: what the interface answers without a token, and to an administrator. */
async function told(): Promise<string> {
  const paths = ["", "/rounds", "/rounds/1", "/events", "/checkpoints"];
  const texts = await Promise.all(paths.map(async (path) => (await task.fetch(path)).text()));
  const admin = ["/dead-letters", "/invitations", "/alerts"];
  const more = await Promise.all(admin.map(async (path) => (await task.admin("GET", path)).text()));
  const metrics = await fetchEdge("http://edge/api/metrics");
  const health = await fetchEdge("http://edge/api/health");
  return [...texts, ...more, await metrics.text(), await health.text()].join("\n");
}

test("who takes part in a round with noise, and how many, is told to nobody by anything", async () => {
  const noise = { noise: 0.1, updateClip: 1, batchNorm: "local" } as const;
  await task.startRound({ ...noise, goalCount: 4, overSelection: 1, deadlineSeconds: 60 });
  const heard: string[] = [];
  const stub = coordinator();
  const members = await task.cohort(4);
  await task.until(({ rounds }) => rounds[0]?.state === "training", "it trains");
  const before = await told();
  // Whoever watches from now on learns nothing of what happens next.
  const late = (await stub.fetch("http://edge/live", { headers: { upgrade: "websocket" } })).webSocket;
  const first = new Promise((resolve) => late?.addEventListener("message", resolve, { once: true }));
  late?.accept();
  await first;
  late?.addEventListener("message", ({ data }) => heard.push(String(data)));
  const [one, two, three, four] = members;
  if (!one || !two || !three || !four) return expect.fail();
  await task.send(one, filled(0.001));
  await task.summed(1, 1);
  expect((await task.upload(two, new Uint8Array(9))).status).toBeGreaterThan(399);
  await task.fetchSigned(`/rounds/1/updates/${three.id}`, three, { method: "DELETE" });
  const add = vi.spyOn(Aggregator.prototype, "add").mockRejectedValue(new Error("It is away."));
  await task.send(four, filled(0.001));
  await vi.waitFor(() => expect(add).toHaveBeenCalled(), { timeout: 60_000 });
  await stub.dead(four.id, "It could not be added.");
  expect(await told()).toBe(before);
  expect((await task.admin("POST", `/dead-letters/${four.id}/replay`)).status).toBe(404);
  expect(heard.filter((text) => !text.includes('"presence"'))).toEqual([]);
  await later(61);
  expect(await task.ended(1)).toMatchObject({ state: "published", tally: null, cohort: [], refused: {} });
  expect(await task.admin("GET", "/dead-letters").then((answer) => answer.json())).toEqual([]);
});

test("a draw with noise that gives nobody is run and published like any other", async () => {
  const noise = { noise: 1, updateClip: 1, batchNorm: "local" } as const;
  await task.startRound({ ...noise, goalCount: 2, fraction: 0.5, overSelection: 1, deadlineSeconds: 60 });
  const real = crypto.getRandomValues.bind(crypto);
  const draw = vi
    .spyOn(crypto, "getRandomValues")
    .mockImplementation(((array: Uint32Array<ArrayBuffer>) =>
      array instanceof Uint32Array && array.length === 2
        ? array.fill(2 ** 32 - 1)
        : real(array)) as Crypto["getRandomValues"]);
  const clients = [1, 2, 3, 4].map(String);
  for (const client of clients) await task.checkIn(client);
  for (const client of clients) expect(await task.checkIn(client)).toMatchObject({ reason: "not-selected" });
  draw.mockRestore();
  expect(await latest()).toMatchObject({ state: "training", tally: null, cohort: [] });
  const base = await task.download(await task.get<Task>(""));
  await later(61);
  expect(await task.ended(1)).toMatchObject({ state: "published", reason: null, tally: null, waiting: 0 });
  const next = await task.download(await task.published(1));
  const step = next.map((value, i) => value - (base[i] ?? NaN)).filter((value) => value !== 0);
  // Noise of deviation z S over the goal, and nothing else.
  expect(normOf(step) / Math.sqrt(step.length)).toBeCloseTo(0.5, 2);
  expect((await task.get<Task>("")).privacy).toEqual([{ sampling: 0.5, noise: 1, rounds: 1, clients: 4 }]);
});

test("an observer of a round with secure aggregation learns of no client but where it is", async () => {
  const secret = { secure: true, codec: "int8", updateClip: 1, secureStepSeconds: 600 } as const;
  await task.startRound({ ...secret, goalCount: 3, overSelection: 1 });
  await task.cohort(3);
  const { tally, cohort } = await latest();
  expect([tally?.bytesUp, tally?.bytesDown]).toEqual([0, 0]);
  expect(cohort).toHaveLength(3);
  for (const { examples, norm, backend, bytesUp, bytesDown } of cohort) {
    expect([examples, norm, backend, bytesUp, bytesDown]).toEqual([null, null, null, 0, 0]);
  }
});

test("a key of a secure round that nobody can use, or that another has, costs its member the round and nobody else", async () => {
  const secure = { secure: true, codec: "int8", updateClip: 1, secureStepSeconds: 2 } as const;
  await task.startRound({ goalCount: 6, overSelection: 1, ...secure });
  const members = await task.cohort(6);
  const random = (): string => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
  const key = async (): Promise<string> => {
    const pair = (await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"])) as CryptoKeyPair;
    return btoa(
      String.fromCharCode(...new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer)),
    );
  };
  const [one, two] = [await key(), await key()];
  const zero = btoa(String.fromCharCode(...new Uint8Array(32)));
  const say = (member: Assignment, cipherKey: string, maskKey: string): Promise<Response> => {
    const body = JSON.stringify({ step: "keys", cipherKey, maskKey, seedDigest: random() });
    return task.fetchSigned(`/rounds/1/secure/${member.id}`, member, { method: "POST", body });
  };
  const at = (i: number): Assignment => members[i] as Assignment;
  expect((await say(at(0), one, two)).status).toBe(200);
  const repeated = await say(at(1), one, await key());
  expect(await repeated.json()).toMatchObject({ code: "secure-refused", status: 422 });
  expect((await say(at(2), zero, await key())).status).toBe(422);
  const same = await key();
  expect((await say(at(3), same, same)).status).toBe(422);
  expect((await say(at(4), await key(), await key())).status).toBe(200);
  expect((await say(at(5), await key(), await key())).status).toBe(200);
  const step = async (member: Assignment): Promise<unknown> =>
    (await task.fetchSigned(`/rounds/1/secure/${member.id}`, member)).json();
  // The three honest ones go on at once: nobody waits for the others.
  expect(await step(at(0))).toMatchObject({ step: "shares", peers: [{}, {}] });
  expect(await step(at(1))).toMatchObject({ step: "over" });
  // Shares for somebody who is no peer.
  const sealed = btoa(String.fromCharCode(...new Uint8Array(94)));
  const body = JSON.stringify({ step: "shares", shares: [{ to: 900, sealed }] });
  const shared = await task.fetchSigned(`/rounds/1/secure/${at(4).id}`, at(4), { method: "POST", body });
  expect(shared.status).toBe(422);
  expect((await latest()).state).toBe("training");
});

test("a body is neither long, nor deep, nor slow: the edge reads no more of it than it has to", async () => {
  await task.startRound({ goalCount: 3 });
  const key = await createSigningKey();
  const refused = async (path: string, body: string): Promise<[number, string]> => {
    const response = await task.fetchSigned(path, key, { method: "POST", body });
    return [response.status, (await response.json<{ code: string }>()).code];
  };
  expect(await refused("/check-ins", "[".repeat(3_000_000))).toEqual([413, "too-large"]);
  expect(await refused("/check-ins", '{"a":1,')).toEqual([400, "bad-request"]);
  // Nothing else is wrong with it: without the bound the parser would go down all the way.
  const nested = await task.fetchSigned("/check-ins", key, { method: "POST", body: "[".repeat(9) + "]".repeat(9) });
  expect(await nested.json()).toMatchObject({ code: "bad-request", detail: "The body is nested deeper than 8." });
  const admin = await task.admin("POST", "/rounds", "x".repeat(50_000));
  expect(admin.status).toBe(413);
});

test("a JSON body that stalls is ended in its time, however often a little of it comes", async () => {
  await task.startRound({ goalCount: 3 });
  const body = JSON.stringify({ examples: 4, round: 1 });
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const sent = readable as unknown as Uint8Array<ArrayBuffer>;
  const answer = task.fetchSigned("/check-ins", await createSigningKey(), { method: "POST", body }, sent);
  const send = (from: number, to?: number): Promise<void> =>
    writer.write(new TextEncoder().encode(body.slice(from, to))).catch(() => undefined);
  await send(0, 3);
  vi.spyOn(Date, "now").mockImplementation(() => clock() + 15_100);
  await send(3, 6);
  await new Promise((resolve) => setTimeout(resolve, 300));
  // By now nobody waits for the rest.
  await send(6);
  await writer.close().catch(() => undefined);
  expect((await answer).status).toBe(408);
});

test("an update whose body stalls is ended, two at a time are read of one, and none after the deadline", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1, deadlineSeconds: 6 });
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const body = encodeUpdate(task.model, filled(0), task.metadataFor(one, 4));
  const stalled = (): Promise<Response> => {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    void writer.write(body.slice(0, 1000)).catch(() => undefined);
    return task.fetchSigned(
      `/rounds/1/updates/${one.id}`,
      one,
      { method: "PUT", body, headers: { "content-length": String(body.length) } },
      readable as unknown as Uint8Array<ArrayBuffer>,
    );
  };
  const began = Date.now();
  const hanging = [stalled(), stalled()];
  await new Promise((resolve) => setTimeout(resolve, 500));
  const third = await task.upload(one, body);
  expect(third).toMatchObject({ status: 429, body: { code: "too-many-requests" } });
  const answers = await Promise.all(hanging);
  expect(answers.map(({ status }) => status)).toEqual([408, 408]);
  // Their round's deadline ended them, long before a body may stall.
  expect(Date.now() - began).toBeLessThan(25_000);
  expect((await env.STORE.list({ prefix: "updates/" })).objects).toEqual([]);
  // Nor do they hold any room.
  const rooms = fillRoom();
  expect(rooms).toHaveLength(4);
  for (const leave of rooms) leave();
});

/** Takes what room there is for updates in memory. */
const fillRoom = (): (() => void)[] =>
  Array.from({ length: 4 }, () => takeRoom(4_000_000)).filter((leave) => leave !== undefined);

test("where others fill the room for updates in memory, an update counts as ever, and the room is there again", async () => {
  await task.startRound({ goalCount: 1, overSelection: 1 });
  const base = await task.download(await task.get<Task>(""));
  const [one] = await task.cohort(1);
  if (!one) throw new Error("no cohort");
  const rooms = fillRoom();
  expect(rooms).toHaveLength(4);
  await task.send(one, filled(0.001));
  const next = await task.download(await task.published(1));
  expect(worst(next, (i) => (base[i] as number) + 0.001)).toBeLessThan(1e-6);
  for (const leave of rooms) leave();
});

test("a watcher that no longer reads is let go, and one that says that it does stays", async () => {
  const watch = async (isReading: boolean): Promise<{ closed?: number }> => {
    const socket = (await task.fetch("/live", { headers: { upgrade: "websocket" } })).webSocket;
    if (!socket) throw new Error("no WebSocket");
    const state: { closed?: number } = {};
    let read = 0;
    socket.addEventListener("close", ({ code }) => {
      state.closed = code;
    });
    socket.addEventListener("message", () => {
      read += 1;
      if (isReading && read % READING_EVERY === 0) socket.send(READING);
    });
    socket.accept();
    return state;
  };
  await task.startRound({ goalCount: 1000, overSelection: 1 });
  const [reader, other] = [await watch(true), await watch(false)];
  let ahead = 0;
  vi.spyOn(Date, "now").mockImplementation(() => clock() + ahead);
  for (let i = 0; i < 6 * READING_EVERY && other.closed === undefined; i++) {
    // No two changes go into one message.
    ahead += 110;
    await task.checkIn(crypto.randomUUID());
  }
  expect(other.closed).toBe(1008);
  expect(reader.closed).toBeUndefined();
});

test("who has not signed for an update says nothing to the watchers, who hear ten times a second and only what is new", async () => {
  const response = await task.fetch("/live", { headers: { upgrade: "websocket" } });
  const socket = response.webSocket;
  if (!socket) throw new Error("no WebSocket");
  const heard: { at: number; text: string }[] = [];
  socket.addEventListener("message", ({ data }) => {
    heard.push({ at: Date.now(), text: data as string });
  });
  socket.accept();
  await task.startRound({ goalCount: 50, overSelection: 1 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = heard.length;
  const path = `/rounds/1/updates/${crypto.randomUUID()}`;
  for (let i = 0; i < 20; i++) await task.fetch(path, { method: "PUT", body: new Uint8Array(10) });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(heard.length).toBe(before);
  expect((await latest()).refused).toEqual({});
  await Promise.all(Array.from({ length: 40 }, () => task.checkIn(crypto.randomUUID())));
  await new Promise((resolve) => setTimeout(resolve, 300));
  socket.close();
  const news = heard.slice(before);
  expect(news.length).toBeGreaterThan(0);
  for (const [i, { at }] of news.entries()) if (i > 0) expect(at - (news[i - 1]?.at ?? 0)).toBeGreaterThan(50);
  // What has changed is a number; the whole round is a hundred times as long.
  for (const { text } of news) expect(text.length).toBeLessThan(400);
  expect(news.at(-1)?.text).toContain('"waiting":40');
});

test("a page of another origin may not listen", async () => {
  const ask = async (origin: string): Promise<number> =>
    (await task.fetch("/live", { headers: { upgrade: "websocket", origin } })).status;
  expect(await ask("https://elsewhere.example")).toBe(403);
  expect(await ask("null")).toBe(403);
  expect(await ask("http://edge")).toBe(101);
});
