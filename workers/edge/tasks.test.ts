import { env } from "cloudflare:workers";
import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { MOST_TASKS, type ListedTask } from "../../src/federation/tasks/description";
import type { Problem, Task } from "../../src/federation/protocol";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/model/checkpoint";
import { MODELS, summarize, type ModelSummary } from "../../src/model/model";
import { encodeSafetensors } from "../../src/model/safetensors";
import { catalogueOf } from "./catalogue";
import { fetchEdge, TestTask, worst } from "./testing";

const shapes = new TestTask("shapes");

/** Three shapes that are drawn, by McMahan's CNN with three classes. */
const SHAPES = {
  title: { en: "Shapes", de: "Formen" },
  examples: "drawing",
  input: { height: 28, width: 28, channels: 1 },
  model: "mnist-cnn",
  labels: [
    { name: "circle", words: { en: "circle", de: "Kreis" } },
    { name: "square", words: { en: "square", de: "Quadrat" } },
    { name: "triangle" },
  ],
  defaultRound: { batchNorm: "average" },
} as const;

/** A network so small that its updates are quick: 8 filters, 3 classes. */
const TINY = {
  name: "tiny",
  layers: [
    { kind: "conv2d", name: "conv", filters: 8, size: 3, padding: "same" },
    { kind: "maxPool", name: "pool", window: 2 },
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "last", units: 3, activation: "softmax" },
  ],
} as const;
const TINY_SHAPES = { ...SHAPES, model: TINY };

const listed = async (): Promise<ListedTask[]> =>
  (await (await fetchEdge("http://edge/api/tasks")).json<{ tasks: ListedTask[] }>()).tasks;
const add = async (description: object = SHAPES, task = shapes): Promise<void> => {
  const answer = await task.admin("PUT", "", description);
  expect([answer.status, await answer.clone().text()]).toEqual([201, await answer.text()]);
};
const bring = (file: Uint8Array<ArrayBuffer>, token = "test-token", task = shapes): Promise<Response> =>
  task.fetch("/first-checkpoint", { method: "PUT", headers: { authorization: `Bearer ${token}` }, body: file });
const codeOf = async (answer: Response): Promise<string> => `${answer.status} ${(await answer.json<Problem>()).code}`;

test("of two administrators who change one task at once the second is told, and changes nothing", async () => {
  const put = (title: string, condition: Record<string, string>, body: object = { ...SHAPES, title: { en: title } }) =>
    shapes.fetch("", {
      method: "PUT",
      headers: { authorization: "Bearer test-token", ...condition },
      body: JSON.stringify(body),
    });
  const now = async (): Promise<ListedTask | undefined> => (await listed()).find(({ name }) => name === "shapes");
  const ifMatch = (revision: number | undefined) => ({ "if-match": `"${revision}"` });
  const isNew = { "if-none-match": "*" };
  const refused = "412 changed-meanwhile";
  expect(await codeOf(await put("Nobody", ifMatch(1)))).toBe(refused);
  expect(await codeOf(await put("Nobody", { "if-match": "*" }))).toBe(refused);
  const first = await Promise.all(["One", "Other"].map((title) => put(title, isNew)));
  expect(first.map(({ status }) => status).sort()).toEqual([201, 412]);
  expect(await codeOf(await put("Late", isNew))).toBe(refused);
  const seen = (await now())?.revision;
  expect(await codeOf(await put("Broken", { "if-match": "1" }))).toBe("400 bad-request");
  // A weak one never matches; of several one has to; both conditions have to hold.
  for (const condition of [
    { "if-match": `W/"${seen}"` },
    { "if-none-match": `"1", "${seen}"` },
    { ...ifMatch(seen), ...isNew },
  ])
    expect(await codeOf(await put("Neither", condition))).toBe(refused);
  const answers = await Promise.all(["One", "Other"].map((title) => put(title, ifMatch(seen))));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
  const won = answers[0]?.status === 200 ? "One" : "Other";
  const after = await now();
  expect(after?.added?.title.en).toBe(won);
  // Also where only its state would become another.
  expect(await codeOf(await put(won, ifMatch(seen), { ...SHAPES, state: "retired" }))).toBe(refused);
  expect(await now()).toEqual(after);
  expect((await put("Last", { "if-match": `"1", "${after?.revision}"` })).status).toBe(200);
  expect((await put("Whatever it is", {})).status).toBe(200);
  expect((await put("Whichever it is", { "if-match": "*" })).status).toBe(200);

  // A state and a first checkpoint are changes as well: none is gone over that was not seen.
  for (const change of [
    () => shapes.admin("PATCH", "", { state: "retired" }),
    () => shapes.admin("PATCH", "", { state: "open" }),
    () => bring(encodeCheckpoint(shapes.model, shapes.randomDelta(7), {}, "float32")),
  ]) {
    const before = (await now())?.revision;
    expect((await change()).status).toBe(200);
    expect(await codeOf(await put("Unseen", ifMatch(before)))).toBe(refused);
  }
  expect(await shapes.get<Task>("")).toMatchObject({ trained: true });
});

test("a task that cannot start says nothing of the others, in health and metrics", async () => {
  const initial = env.INITIAL_CHECKPOINTS as Record<string, string>;
  initial["digits"] = "models/nowhere.safetensors";
  try {
    const health = await fetchEdge("http://edge/api/health");
    expect([health.status, await health.json()]).toEqual([
      503,
      { ok: false, checkpoints: { expressions: 0, "expressions-compact": 0 }, silent: ["digits"] },
    ]);
    const metrics = await (await fetchEdge("http://edge/api/metrics")).text();
    const up = metrics.split("\n").filter((line) => line.startsWith("best_actor_task_up{"));
    expect(up).toEqual([
      `best_actor_task_up{task="expressions"} 1`,
      `best_actor_task_up{task="expressions-compact"} 1`,
      `best_actor_task_up{task="digits"} 0`,
    ]);
    expect(metrics).toContain(`best_actor_checkpoint_version{task="expressions"} 0`);
    expect(metrics).not.toContain(`best_actor_checkpoint_version{task="digits"}`);
  } finally {
    delete initial["digits"];
  }
  expect((await fetchEdge("http://edge/api/health")).status).toBe(200);
});

test("a task is added, plays rounds, is retired, and what it has published can still be read", async () => {
  const { tasks: before } = await (await fetchEdge("http://edge/api/tasks")).json<{ tasks: ListedTask[] }>();
  expect(before.map(({ name, state }) => `${name} ${state}`)).toEqual([
    ...["expressions open", "expressions-compact open", "digits open"],
  ]);
  expect((await shapes.fetch("")).status).toBe(404);
  await add();
  const { revision, ...shown } = (await listed()).at(-1) as ListedTask;
  expect(shown).toEqual({ name: "shapes", state: "open", added: SHAPES });
  expect(revision).toBeGreaterThan(0);
  const first = await shapes.get<Task>("");
  expect(first).toMatchObject({ task: "shapes", model: "mnist-cnn", trained: false, state: "open" });
  // The numbers of weights that Keras gives this network with three classes: 832 + 51,264 + 1,606,144 + 1,539.
  expect(shapes.model.parameters).toBe(1_659_779);
  const start = await shapes.download(first);

  await shapes.startRound({ goalCount: 2 });
  const [one, other] = await shapes.cohort(2);
  if (!one || !other) throw new Error("No cohort.");
  const deltas = [shapes.randomDelta(1), shapes.randomDelta(2)] as const;
  await shapes.send(one, deltas[0], 4);
  await shapes.send(other, deltas[1], 12);
  const task = await shapes.published(1);
  const mean = (i: number): number => (start[i] ?? NaN) + ((deltas[0][i] ?? NaN) * 4 + (deltas[1][i] ?? NaN) * 12) / 16;
  expect(worst(await shapes.download(task), mean)).toBeLessThan(1e-6);

  await shapes.startRound({ goalCount: 1 });
  expect(await codeOf(await shapes.admin("PATCH", "", { state: "retired" }))).toBe("409 round-open");
  expect((await shapes.admin("DELETE", "/rounds/current")).status).toBe(200);
  expect((await shapes.admin("PATCH", "", { state: "retired" })).status).toBe(200);
  expect((await listed()).at(-1)).toMatchObject({ name: "shapes", state: "retired" });
  expect(await codeOf(await shapes.admin("POST", "/rounds", {}))).toBe("409 task-retired");
  const key = await shapes.keyOf("late", null);
  const body = JSON.stringify({ examples: 9, heldOut: 0, round: null });
  expect(await codeOf(await shapes.fetchSigned("/check-ins", key, { method: "POST", body }))).toBe("409 task-retired");
  // History and weights stay.
  expect((await shapes.get<{ rounds: unknown[] }>("/rounds")).rounds).toHaveLength(2);
  expect(worst(await shapes.download(await shapes.get<Task>("")), mean)).toBeLessThan(1e-6);
  expect((await shapes.admin("PATCH", "", { state: "open" })).status).toBe(200);
  await shapes.startRound({ goalCount: 1 });
});

test("a built-in task is retired and opened, but never described otherwise", async () => {
  const digits = (init: RequestInit): Promise<Response> =>
    fetchEdge("http://edge/api/tasks/digits", { headers: { authorization: "Bearer test-token" }, ...init });
  const change = (state: string): Promise<Response> => digits({ method: "PATCH", body: JSON.stringify({ state }) });
  expect((await change("retired")).status).toBe(200);
  expect((await listed()).find(({ name }) => name === "digits")).toMatchObject({ state: "retired", added: null });
  expect(await codeOf(await digits({ method: "PUT", body: JSON.stringify(SHAPES) }))).toBe("409 built-in");
  const path = "http://edge/api/tasks/digits/first-checkpoint";
  const headers = { authorization: "Bearer test-token" };
  expect(await codeOf(await fetchEdge(path, { method: "PUT", headers, body: new Uint8Array(9) }))).toBe("409 built-in");
  expect((await change("open")).status).toBe(200);
});

test("a first checkpoint is the task's until its first round; then only words and default round change", async () => {
  await add(TINY_SHAPES);
  const random = await shapes.get<Task>("");
  const weights = shapes.randomDelta(7);
  const file = encodeCheckpoint(shapes.model, weights, { secret: "of its author" }, "float32");
  expect((await bring(file)).status).toBe(200);
  const given = await shapes.get<Task>("");
  expect(given).toMatchObject({ trained: true, checkpoint: { version: 0 } });
  expect(await shapes.download(given)).toEqual(weights);
  const stored = await shapes.file(given);
  expect(new TextDecoder().decode(stored)).not.toContain("of its author");
  // What it took the place of is gone.
  expect((await fetchEdge(`http://edge/api/checkpoints/${random.checkpoint.sha256}`)).status).toBe(404);

  // All may change before the first round: another network, which begins at random.
  const four = { ...SHAPES, model: "mnist-2nn", labels: [...SHAPES.labels, { name: "star" }] };
  expect((await shapes.admin("PUT", "", four)).status).toBe(200);
  expect(await shapes.get<Task>("")).toMatchObject({ model: "mnist-2nn", trained: false });
  expect(shapes.model.classes).toBe(4);
  expect((await shapes.admin("PUT", "", TINY_SHAPES)).status).toBe(200);

  await shapes.startRound({ goalCount: 1 });
  await shapes.admin("DELETE", "/rounds/current");
  expect(await codeOf(await shapes.admin("PUT", "", four))).toBe("409 has-rounds");
  const normalized = { ...SHAPES.input, normalization: { mean: [0.13], std: [0.31] } };
  expect(await codeOf(await shapes.admin("PUT", "", { ...TINY_SHAPES, input: normalized }))).toBe("409 has-rounds");
  expect(await codeOf(await bring(file))).toBe("409 has-rounds");
  // Nor does its own first version, sent once more, take anything away.
  const kept = await shapes.get<Task>("");
  expect(await codeOf(await bring(await shapes.file(kept)))).toBe("409 has-rounds");
  expect(await shapes.download(kept)).toHaveLength(shapes.model.parameters);
  const words = { title: { en: "Three shapes" }, ask: { en: "Draw a {label}" } };
  const labels = SHAPES.labels.map((label) => ({ ...label, how: { en: "Slowly." } }));
  const reworded = { ...TINY_SHAPES, ...words, labels, defaultRound: { epochs: 7 } };
  expect((await shapes.admin("PUT", "", reworded)).status).toBe(200);
  expect((await listed()).at(-1)?.added).toMatchObject({ ...words, labels });
  const round = await (await shapes.admin("POST", "/rounds", {})).json<{ config: object }>();
  expect(round.config).toMatchObject({ epochs: 7, rehearse: 0, agreement: 0 });
});

test("of two first checkpoints sent at once one is the task's, with its file; one for another description is not taken", async () => {
  await add(TINY_SHAPES);
  const [one, other] = [1, 2].map((seed) =>
    encodeCheckpoint(shapes.model, shapes.randomDelta(seed), { task: "x" }, "float32"),
  ) as [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>];
  for (let i = 0; i < 20; i++) {
    await bring(one);
    const answers = await Promise.all([bring(other), bring(one)]);
    // One after the other, or whoever comes second to a task that has changed meanwhile is told.
    expect([[200, 200].join(), [200, 409].join()]).toContain(
      answers
        .map(({ status }) => status)
        .sort()
        .join(),
    );
    expect(await shapes.download(await shapes.get<Task>(""))).toHaveLength(shapes.model.parameters);
  }
  // Half of it is there when the labels change their places.
  let send: (() => void) | undefined;
  const rest = new Promise<void>((resolve) => (send = resolve));
  const slow = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(one.slice(0, 100));
      await rest;
      controller.enqueue(one.slice(100));
      controller.close();
    },
  });
  const answer = shapes.fetch("/first-checkpoint", {
    method: "PUT",
    headers: { authorization: "Bearer test-token" },
    body: slow,
  });
  const turned = { ...TINY_SHAPES, labels: [...SHAPES.labels].reverse() };
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect((await shapes.admin("PUT", "", turned)).status).toBe(200);
  send?.();
  expect(await codeOf(await answer)).toBe("409 task-changed");
  expect(await shapes.get<Task>("")).toMatchObject({ trained: false });
});

test("a task that is added retired takes nobody in until it is opened, and one that cannot be retired stays as it is", async () => {
  await add({ ...TINY_SHAPES, state: "retired" });
  expect(await shapes.get<Task>("")).toMatchObject({ state: "retired" });
  expect((await listed()).at(-1)?.state).toBe("retired");
  expect(await codeOf(await shapes.admin("POST", "/rounds", {}))).toBe("409 task-retired");
  expect((await shapes.admin("PATCH", "", { state: "open" })).status).toBe(200);
  await shapes.startRound({ goalCount: 1 });
  const refused = await shapes.admin("PUT", "", { ...TINY_SHAPES, title: { en: "Gone" }, state: "retired" });
  expect(await codeOf(refused)).toBe("409 round-open");
  expect((await listed()).at(-1)).toMatchObject({ state: "open", added: { title: { en: "Shapes" } } });
  const change = await shapes.admin("PATCH", "/rounds/current", { toString: 1 });
  expect(change.status).toBe(400);
});

test("a task that a later edge has described is left out of the list, in which all others still stand", async () => {
  const later = JSON.stringify({ ...SHAPES, examples: "sound" });
  await runInDurableObject(catalogueOf(env), (_, { storage }) => {
    storage.sql.exec("INSERT INTO added VALUES ('sounds', ?, 1)", later);
  });
  await add(TINY_SHAPES);
  expect((await listed()).map(({ name }) => name)).toEqual(["expressions", "expressions-compact", "digits", "shapes"]);
});

describe("liars", () => {
  const wrongs: [what: string, description: object, field: string][] = [
    ["one label", { ...SHAPES, labels: [{ name: "circle" }] }, "labels"],
    ["65 labels", { ...SHAPES, labels: Array.from({ length: 65 }, (_, i) => ({ name: `l${i}` })) }, "labels"],
    ["two labels of one name", { ...SHAPES, labels: [{ name: "a" }, { name: "a" }] }, "labels"],
    ["a label that leads elsewhere", { ...SHAPES, labels: [{ name: "../a" }, { name: "b" }] }, "labels.0.name"],
    ["words that turn the text around", { ...SHAPES, title: { en: "a\u202eb" } }, "title.en"],
    ["words without English", { ...SHAPES, title: { de: "Formen" } }, "title"],
    ["a question without English", { ...SHAPES, ask: { de: "Zeichne {label}" } }, "ask"],
    ["a question with two places", { ...SHAPES, ask: { en: "{label} or {label}?" } }, "ask"],
    ["a question that turns the text around", { ...SHAPES, ask: { en: "a\u202eb" } }, "ask.en"],
    ["a question as long as a page", { ...SHAPES, ask: { en: "a".repeat(161) } }, "ask.en"],
    ["a way to draw it with a control character", { ...SHAPES, labels: [{ name: "a", how: { en: "a\u0007" } }, { name: "b" }] }, "labels.0.how.en"],
    ["a way to draw it as long as a page", { ...SHAPES, labels: [{ name: "a" }, { name: "b", how: { en: "a".repeat(161) } }] }, "labels.1.how.en"],
    ["a language that is none", { ...SHAPES, title: { en: "a", "__proto__ ": "b" } }, "title"],
    ["a huge input", { ...SHAPES, input: { height: 4096, width: 4096, channels: 1 } }, "input.height"],
    ["drawings in colour", { ...SHAPES, input: { height: 28, width: 28, channels: 3 } }, "input"],
    ["a flat input", { ...SHAPES, input: { height: 28, width: 27, channels: 1 } }, "input"],
    ["a deviation of nothing", { ...SHAPES, input: { ...SHAPES.input, normalization: { mean: [0.5], std: [0] } } }, "input.normalization.std.0"],
    ["a mean beyond white", { ...SHAPES, input: { ...SHAPES.input, normalization: { mean: [127.5], std: [0.5] } } }, "input.normalization.mean.0"],
    ["a normalization of three channels for one", { ...SHAPES, input: { ...SHAPES.input, normalization: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } } }, "input"],
    ["a network that nobody knows", { ...SHAPES, model: "gpt" }, "model"],
    ["a network of other classes", { ...SHAPES, model: { ...TINY, layers: [...TINY.layers.slice(0, 3), { ...TINY.layers[3], units: 9 }] } }, "model"],
    ["a network too large", { ...SHAPES, model: { name: "big", layers: [TINY.layers[2], { kind: "dense", name: "d1", units: 4096, activation: "relu" }, { kind: "dense", name: "d2", units: 4096, activation: "relu" }, { ...TINY.layers[3] }] } }, "model"],
    ["filters that the kernels do not take", { ...SHAPES, model: { ...TINY, layers: [{ ...TINY.layers[0], filters: 7 }, ...TINY.layers.slice(1)] } }, "model"],
    ["a tensor's name that leads elsewhere", { ...SHAPES, model: { ...TINY, layers: [{ ...TINY.layers[0], name: "../x" }, ...TINY.layers.slice(1)] } }, "model"],
    ["rounds that rehearse nothing", { ...SHAPES, defaultRound: { rehearse: 3 } }, "defaultRound"],
    ["rounds that mirror drawings", { ...SHAPES, defaultRound: { augment: true } }, "defaultRound"],
    ["rounds of an unknown field", { ...SHAPES, defaultRound: { unheardOf: 1 } }, "unheardOf"],
    // What a round that says nothing would be: a task begins with random weights, or with a checkpoint.
    ["rounds that no random model can begin with", { ...SHAPES, defaultRound: { aggregation: "fednova" } }, "Begun with random weights"],
    ["rounds that no checkpoint can begin with", { ...SHAPES, defaultRound: { strategy: "feddyn", population: 10 } }, "Begun with a checkpoint"],
    ["rounds with noise that nobody judges", { ...SHAPES, defaultRound: { noise: 1, updateClip: 1, prior: 0, evaluators: 0, batchNorm: "frozen" } }, "choose awaitOperator true"],
    ["words that nobody can see", { ...SHAPES, labels: [{ name: "a", words: { en: "\u200b" } }, { name: "b" }] }, "labels.0.words.en"],
    ["two labels of the same words", { ...SHAPES, labels: [{ name: "a", words: { en: "Ball" } }, { name: "b", words: { en: "Ball" } }] }, "the same words"],
    ["rounds of a field that every object has", { ...SHAPES, defaultRound: { toString: 1 } }, "defaultRound"],
    ["a field that nobody knows", { ...SHAPES, webhook: "http://elsewhere" }, "webhook"],
  ]; // prettier-ignore

  test.each(wrongs)("%s is refused, and the field is named", async (_, description, field) => {
    const answer = await shapes.admin("PUT", "", description);
    const problem = await answer.json<Problem>();
    expect([400, 422]).toContain(answer.status);
    expect(problem.detail).toContain(field);
    expect(await listed()).toHaveLength(3);
  });

  test("who has no token changes nothing, and a name that is none makes no object", async () => {
    const objects = async (): Promise<number> => (await listDurableObjectIds(env.COORDINATOR)).length;
    expect(await codeOf(await shapes.admin("PUT", "", SHAPES, "guessed"))).toBe("401 unauthorized");
    expect((await shapes.fetch("", { method: "PUT", body: JSON.stringify(SHAPES) })).status).toBe(401);
    await add();
    expect(await codeOf(await shapes.admin("PATCH", "", { state: "retired" }, "guessed"))).toBe("401 unauthorized");
    expect(await codeOf(await bring(new Uint8Array(9), "guessed"))).toBe("401 unauthorized");
    expect((await shapes.get<Task>("")).state).toBe("open");
    const known = await objects();
    const names = ["..%2fdigits", "%2e%2e", "Shapes", "shapes%00", "shapes%2frounds", "a--b", "-a", "x".repeat(41), "constructor", "__proto__", "squares"]; // prettier-ignore
    for (const name of names) {
      const url = `http://edge/api/tasks/${name}`;
      const headers = { authorization: "Bearer test-token" };
      expect([404, 405], name).toContain((await fetchEdge(url)).status);
      expect([404, 405], name).toContain((await fetchEdge(`${url}/rounds`)).status);
      if (name === "squares") continue;
      const put = await fetchEdge(url, { method: "PUT", headers, body: JSON.stringify(SHAPES) });
      expect(name === "constructor" ? [422] : [400, 404, 405], name).toContain(put.status);
    }
    expect(await objects()).toBe(known);
    expect(await listed()).toHaveLength(4);
  });

  test("a first checkpoint of other shapes, with numbers that are none, cut short or too large is not taken", async () => {
    await add(TINY_SHAPES);
    const before = await shapes.get<Task>("");
    const { model } = shapes;
    const weights = (change: (i: number) => number = () => 0.1): Float32Array<ArrayBuffer> =>
      Float32Array.from({ length: model.parameters }, (_, i) => change(i));
    const raw = (of: ModelSummary, values: Float32Array): Uint8Array<ArrayBuffer> =>
      encodeSafetensors(of.tensors, values, {});
    const good = raw(model, weights());
    const compact = summarize(MODELS.compact);
    const files: [Uint8Array<ArrayBuffer>, string][] = [
      [
        raw(
          model,
          weights((i) => (i === 5 ? NaN : 0.1)),
        ),
        "422 not-finite",
      ],
      [
        raw(
          model,
          weights((i) => (i === 5 ? 3e38 : 0.1)),
        ),
        "422 not-finite",
      ],
      [
        raw(
          model,
          weights(() => 0),
        ),
        "422 not-finite",
      ],
      [
        raw(
          model,
          weights((i) => (i === 80 ? Infinity : 0.1)),
        ),
        "422 not-finite",
      ],
      [raw(compact, new Float32Array(compact.parameters)).slice(0, good.length), "422 wrong-shape"],
      [raw(compact, new Float32Array(compact.parameters)), "413 too-large"],
      [good.slice(0, -4), "422 wrong-length"],
      [good.slice(0, 4), "422 truncated"],
      [new Uint8Array(0), "422 truncated"],
      [new Uint8Array(64).fill(255), "422 header-too-large"],
    ];
    for (const [file, code] of files) expect([code, await codeOf(await bring(file))]).toEqual([code, code]);
    expect(await shapes.get<Task>("")).toEqual(before);
    expect(decodeCheckpoint(await shapes.file(before), model)).toHaveLength(model.parameters);
    expect((await bring(good)).status).toBe(200);
    // Other tools lay the tensors out in an order of their own.
    const other = model.tensors.toReversed();
    const values = weights((i) => i / 100);
    const laidOut = other.flatMap(({ offset, size }) => [...values.subarray(offset, offset + size)]);
    expect((await bring(encodeSafetensors(other, Float32Array.from(laidOut), {}))).status).toBe(200);
    expect(decodeCheckpoint(await shapes.file(await shapes.get<Task>("")), model)).toEqual(values);
  });

  test("a negative variance is no weight", async () => {
    const normed = {
      name: "normed",
      layers: [TINY.layers[0], { kind: "batchNorm", name: "norm" }, ...TINY.layers.slice(1)],
    };
    await add({ ...SHAPES, model: normed });
    const weights = new Float32Array(shapes.model.parameters);
    const variance = shapes.model.tensors.find(({ name }) => name === "norm/moving_variance");
    weights[variance?.offset ?? NaN] = -1;
    expect(await codeOf(await bring(encodeSafetensors(shapes.model.tensors, weights, {})))).toBe("422 not-finite");
  });

  test("there are as many tasks as there may be, retired ones counted", async () => {
    for (let i = 0; i < MOST_TASKS; i++) {
      const url = `http://edge/api/tasks/task-${i}`;
      const headers = { authorization: "Bearer test-token" };
      const body = JSON.stringify({ ...TINY_SHAPES, state: "retired" });
      expect((await fetchEdge(url, { method: "PUT", headers, body })).status).toBe(201);
    }
    expect(await codeOf(await shapes.admin("PUT", "", SHAPES))).toBe("409 too-many-tasks");
    expect((await shapes.fetch("")).status).toBe(404);
    expect(await listed()).toHaveLength(3 + MOST_TASKS);
  });
});
