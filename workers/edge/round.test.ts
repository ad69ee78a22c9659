import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { MODELS, summarize } from "../../src/model/model";
import { DEFAULT_ROUND } from "../../src/federation/default-round";
import { afterEvent } from "../../src/federation/live";
import type { Assignment, History, LiveEvent, Task } from "../../src/federation/protocol";
import { encodeUpdate } from "../../src/federation/update";
import { TestTask } from "./testing";

// @module-tag slow

const seed = new TestTask("expressions");
/** Where the size is not the point. */
const compact = new TestTask("expressions-compact");
const { model } = compact;

test("a round of three clients publishes w + sum(n_k / n * delta_k)", async () => {
  const base = await seed.download(await seed.get<Task>(""));
  await seed.startRound();
  const assignments = await seed.cohort(3);
  const examples = [4, 9, 2];
  const deltas = [1, 2, 3].map((k) => seed.randomDelta(k));
  for (const [i, assignment] of assignments.entries()) {
    const metadata = seed.metadataFor(assignment, examples[i] as number);
    const answer = await seed.upload(assignment, encodeUpdate(seed.model, deltas[i] as Float32Array, metadata));
    expect(answer).toEqual({ status: 202, body: { status: "accepted" } });
  }
  const next = await seed.download(await seed.published(1));
  let worst = 0;
  for (let i = 0; i < next.length; i++) {
    const mean = deltas.reduce((sum, delta, k) => sum + ((examples[k] as number) / 15) * (delta[i] as number), 0);
    worst = Math.max(worst, Math.abs((next[i] as number) - ((base[i] as number) + mean)));
  }
  expect(worst).toBeLessThan(1e-6);

  const { rounds, task } = await seed.get<History>("/rounds");
  expect(task.trained).toBe(true);
  expect(rounds[0]).toMatchObject({
    state: "published",
    trainLoss: 2,
    trainAccuracy: 0.25,
    evalLoss: 3,
    evalExamples: 3,
  });
  expect(rounds[0]?.cohort.map(({ state }) => state)).toEqual(["counted", "counted", "counted"]);

  // Who only plays gets the same weights in int8: in a quarter of the bytes, none further off than half a step of its channel.
  const { light, ...exact } = task.checkpoint;
  if (!light) expect.fail("There is no light checkpoint.");
  expect(light.bytes).toBeLessThan(0.26 * exact.bytes);
  const coarse = await seed.download({ checkpoint: { ...light, version: exact.version } });
  for (const { offset, size, shape } of seed.model.tensors) {
    const channels = shape.length > 1 ? (shape.at(-1) ?? 1) : 0;
    const steps = new Float64Array(Math.max(1, channels));
    for (let i = 0; i < size && channels > 0; i++) {
      steps[i % channels] = Math.max(steps[i % channels] ?? 0, Math.abs(next[offset + i] ?? NaN) / 127);
    }
    for (let i = offset; i < offset + size; i++) {
      const off = Math.abs((coarse[i] ?? NaN) - (next[i] ?? NaN));
      if (!(off <= 0.5001 * (steps[(i - offset) % steps.length] ?? 0))) expect.fail(`weight ${i} is off by ${off}`);
    }
  }
});

test("the same update sent again and again counts once, also when the queue delivers it twice", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 2 });
  const [first, second] = await compact.cohort(2);
  if (!first || !second) throw new Error("no cohort");
  const delta = compact.randomDelta(1);
  const body = encodeUpdate(model, delta, compact.metadataFor(first, 5));
  const answers = [
    await compact.upload(first, body),
    ...(await Promise.all([compact.upload(first, body), compact.upload(first, body)])),
  ];
  expect(answers.map(({ status }) => status)).toEqual([202, 200, 200]);
  expect(answers[1]?.body).toEqual({ status: "already-accepted" });
  await env.UPDATES.send({ task: "expressions", id: first.id });
  await env.UPDATES.send({ task: "expressions", id: first.id });

  const other = await compact.upload(first, encodeUpdate(model, compact.randomDelta(9), compact.metadataFor(first, 5)));
  expect(other).toMatchObject({ status: 409, body: { code: "repeated-id" } });

  await compact.upload(second, encodeUpdate(model, new Float32Array(model.parameters), compact.metadataFor(second, 5)));
  const next = await compact.download(await compact.published(1));
  for (let i = 0; i < next.length; i += 1009) {
    expect(next[i]).toBeCloseTo((base[i] as number) + (delta[i] as number) / 2, 6);
  }
});

test("a shard that lost its memory builds its sum again from R2", async () => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 2 });
  const [first, second] = await compact.cohort(2);
  if (!first || !second) throw new Error("no cohort");
  const deltas = [compact.randomDelta(1), compact.randomDelta(2)];
  await compact.upload(first, encodeUpdate(model, deltas[0] as Float32Array, compact.metadataFor(first, 1)));
  await compact.until(
    ({ rounds }) => rounds[0]?.cohort.some(({ state }) => state === "counted") ?? false,
    "one is counted",
  );
  const shard = env.AGGREGATOR.get(env.AGGREGATOR.idFromName("expressions/1/0"));
  await expect(
    runInDurableObject(shard, (_, state) => {
      state.abort("killed by the test");
    }),
  ).rejects.toThrow();
  await compact.upload(second, encodeUpdate(model, deltas[1] as Float32Array, compact.metadataFor(second, 3)));
  const next = await compact.download(await compact.published(1));
  for (let i = 0; i < next.length; i += 1009) {
    const mean = (deltas[0]?.[i] as number) / 4 + ((deltas[1]?.[i] as number) * 3) / 4;
    expect(next[i]).toBeCloseTo((base[i] as number) + mean, 6);
  }
});

describe("an update is refused, and the round goes on, for", () => {
  test("every way to be wrong", async () => {
    await compact.startRound({ goalCount: 1 });
    const [assignment] = await compact.cohort(1);
    if (!assignment) throw new Error("no cohort");
    const good = compact.metadataFor(assignment, 4);
    const zeros = new Float32Array(model.parameters);
    const encoded = encodeUpdate(model, zeros, good);
    const refusal = async (
      body: Uint8Array<ArrayBuffer>,
      to: Pick<Assignment, "id" | "round"> = assignment,
      headers: Record<string, string> = {},
    ): Promise<[number, string | undefined]> => {
      const answer = await compact.upload(to, body, headers);
      expect(answer.body.detail).toMatch(/\w{3}/);
      return [answer.status, answer.body.code];
    };
    const withNumber = (value: number): Uint8Array<ArrayBuffer> => {
      const numbers = zeros.slice();
      numbers[200_000] = value;
      return encodeUpdate(model, numbers, good);
    };
    const other = summarize({ ...MODELS.compact, layers: MODELS.compact.layers.slice(0, 4) });

    expect(await refusal(withNumber(Number.NaN))).toEqual([422, "not-finite"]);
    expect(await refusal(withNumber(-Infinity))).toEqual([422, "not-finite"]);
    expect(await refusal(encodeUpdate(other, new Float32Array(other.parameters), good))).toEqual([422, "wrong-shape"]);
    expect(await refusal(encoded.slice(0, -1000))).toEqual([422, "truncated"]);
    expect(await refusal(new Uint8Array([...encoded.slice(0, 8), 1]))).toEqual([422, "truncated"]);
    const longer = new Uint8Array(encoded.length + 4);
    longer.set(encoded);
    expect(await refusal(longer)).toEqual([422, "wrong-length"]);
    expect(await refusal(new Uint8Array(21_000_000))).toEqual([413, "too-large"]);
    expect(await refusal(new Uint8Array(200_000_000))).toEqual([413, "too-large"]);
    expect(await refusal(new Uint8Array(0))).toEqual([422, "truncated"]);
    expect(await refusal(encodeUpdate(model, zeros, { ...good, round: 7 }))).toEqual([409, "wrong-round"]);
    expect(await refusal(encodeUpdate(model, zeros, { ...good, base: "0".repeat(64) }))).toEqual([409, "wrong-base"]);
    expect(await refusal(encoded, { ...assignment, round: 2 })).toEqual([409, "wrong-round"]);
    expect(await refusal(encoded, { ...assignment, id: crypto.randomUUID() })).toEqual([403, "not-selected"]);
    const lie = { "content-digest": `sha-256=:${btoa("\0".repeat(32))}:` };
    expect(await refusal(encoded, assignment, lie)).toEqual([422, "wrong-digest"]);
    expect(await refusal(encoded, assignment, { "content-digest": "md5=:AA==:" })).toEqual([400, "bad-request"]);

    // The smallest numbers that float32 has are numbers.
    const denormal = encodeUpdate(
      model,
      zeros.map(() => 1e-45),
      good,
    );
    expect((await compact.upload(assignment, denormal)).status).toBe(202);
    await compact.published(1);
    const late = encodeUpdate(model, zeros, { ...good, examples: 5 });
    expect(await refusal(late)).toEqual([409, "repeated-id"]);
    const { rounds } = await compact.get<History>("/rounds");
    expect(rounds[0]?.refused).toMatchObject({ "not-finite": 2, truncated: 3, "wrong-base": 1, "wrong-digest": 1 });
  });
});

test("clients that leave cannot hang a round: at the deadline it is averaged or given up", async () => {
  await compact.startRound({ goalCount: 2, deadlineSeconds: 5 });
  const [first] = await compact.cohort(2);
  if (!first) throw new Error("no cohort");
  await compact.upload(first, encodeUpdate(model, compact.randomDelta(1), compact.metadataFor(first, 4)));
  await compact.published(1);
  let { rounds } = await compact.get<History>("/rounds");
  expect(rounds[0]?.cohort.map(({ state }) => state).sort()).toEqual(["counted", "dropped"]);

  await compact.startRound({ goalCount: 2, deadlineSeconds: 5 });
  const [alone] = await compact.cohort(2);
  if (!alone) throw new Error("no cohort");
  for (let i = 0; i < 100 && rounds[1]?.state !== "abandoned"; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    ({ rounds } = await compact.get<History>("/rounds"));
  }
  expect(rounds[1]).toMatchObject({ state: "abandoned", reason: expect.stringContaining("0 of 2 updates") as string });
  const late = await compact.upload(alone, encodeUpdate(model, compact.randomDelta(1), compact.metadataFor(alone, 4)));
  expect(late).toMatchObject({ status: 409, body: { code: "round-closed" } });
});

test("a fraction C of the waiting clients is chosen; the others are told to come back; who returns finds its place", async () => {
  await compact.startRound({ goalCount: 2, fraction: 0.5 });
  const clients = Array.from({ length: 4 }, () => crypto.randomUUID());
  const first = await Promise.all(clients.slice(0, 3).map((client) => compact.checkIn(client)));
  expect(first.every((answer) => answer.decision === "wait" && answer.reason === "selecting")).toBe(true);
  await compact.checkIn(clients[3] as string);
  const answers = await Promise.all(clients.map((client) => compact.checkIn(client)));
  expect(answers.filter(({ decision }) => decision === "train")).toHaveLength(2);
  expect(answers.filter((a) => a.decision === "wait" && a.reason === "not-selected")).toHaveLength(2);
  expect(await Promise.all(clients.map((client) => compact.checkIn(client)))).toEqual(
    answers.map((answer) =>
      answer.decision === "wait" ? { ...answer, retryAfterSeconds: expect.any(Number) as number } : answer,
    ),
  );
  const { rounds } = await compact.get<History>("/rounds");
  expect(rounds[0]?.cohort).toHaveLength(2);
  // Nothing on the dashboard names a client.
  for (const client of clients) expect(JSON.stringify(rounds)).not.toContain(client);
});

test("only the administrator starts and stops rounds, and only one is open at a time", async () => {
  const config = { ...DEFAULT_ROUND };
  expect((await compact.admin("POST", "/rounds", config, "wrong")).status).toBe(401);
  expect((await compact.fetch("/rounds", { method: "POST", body: JSON.stringify(config) })).status).toBe(401);
  const bad = await compact.admin("POST", "/rounds", { ...config, fraction: 2 });
  expect(bad.status).toBe(400);
  expect(bad.headers.get("content-type")).toBe("application/problem+json");
  expect(await bad.json()).toMatchObject({
    code: "bad-request",
    detail: expect.stringContaining("fraction") as string,
  });
  await compact.startRound();
  expect((await compact.admin("POST", "/rounds", config)).status).toBe(409);
  expect(await (await compact.admin("DELETE", "/rounds/current")).json()).toMatchObject({ state: "abandoned" });
  expect((await compact.admin("DELETE", "/rounds/current")).status).toBe(409);
  expect(await compact.checkIn(crypto.randomUUID())).toMatchObject({ decision: "wait", reason: "no-round" });
});

test("watchers are told of every change", async () => {
  const response = await compact.fetch("/live", { headers: { upgrade: "websocket" } });
  const socket = response.webSocket;
  if (!socket) throw new Error("no WebSocket");
  const events: LiveEvent[] = [];
  socket.addEventListener("message", ({ data }) => {
    events.push(JSON.parse(data as string) as LiveEvent);
  });
  socket.accept();
  await compact.startRound({ goalCount: 1 });
  const [assignment] = await compact.cohort(1);
  if (!assignment) throw new Error("no cohort");
  await compact.upload(assignment, encodeUpdate(model, compact.randomDelta(1), compact.metadataFor(assignment, 4)));
  await compact.published(1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.close();
  expect(events[0]?.type).toBe("history");
  let known: History | undefined;
  const states = new Set<string | undefined>();
  for (const event of events) {
    known = afterEvent({ rounds: [], ...known }, event);
    states.add(known?.rounds.at(-1)?.state);
  }
  // What comes within a tenth of a second comes together; what was told piece by piece is what the edge says at once.
  expect([...states].at(-1)).toBe("published");
  expect(known).toEqual(await compact.get<History>("/rounds"));
});
