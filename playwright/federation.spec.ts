import { gzipSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { MODELS, summarize } from "../src/model/model";
import { takeNorms } from "../src/model/batch-norm";
import { decodeCheckpoint } from "../src/model/checkpoint";
import { decodeSafetensors } from "../src/model/safetensors";
import { readUpdateMetadata, UpdateReader, type UpdateMetadata } from "../src/federation/update";
import { DEFAULT_ROUND, NOTEBOOK_ROUND } from "../src/federation/default-round";
import type { History } from "../src/federation/protocol";
import { shareOfNoise } from "../src/federation/privacy/distributed";
import { ringOf } from "../src/federation/secagg/ring";
import { HeadlessClient } from "../tools/headless";
import { collectFaces, expect, openCamera, storedFaces, test } from "./stage";
import { leaksOf, type Recorded } from "./wire";

const TASK = "expressions-compact";
const model = summarize(MODELS.compact);
const decode = (file: Uint8Array) => decodeSafetensors(new Uint8Array(file), model.tensors);
const CLIENTS = 3;
const FACES = 5;

test("three players train the shared model, and the next checkpoint is the weighted mean of what they sent, shrunk by how few their faces are", async ({
  browser,
  stage,
}) => {
  test.setTimeout(900_000);
  const origins = new Set<string>();
  const players: Page[] = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const context = await browser.newContext({ permissions: ["camera"] });
      await context.addInitScript((task) => localStorage.setItem("best-actor-task", task), TASK);
      context.on("request", (request) => origins.add(new URL(request.url()).origin));
      const page = await context.newPage();
      await collectFaces(page, stage.url, FACES + i, "drawn");
      await page.goto("about:blank");
      return page;
    }),
  );

  const director = await browser.newPage();
  await director.goto(`${stage.url}/rounds?task=${TASK}`);
  await expect(director.getByText("No round yet")).toBeVisible();
  await director.getByRole("button", { name: "Start a round" }).click();
  await director.getByLabel("Goal count").fill(String(CLIENTS));
  await director.getByLabel("Admin token").fill("a guess");
  await director.getByRole("button", { name: "Start rounds" }).click();
  await expect(director.getByRole("alert")).toContainText("The admin token is missing or wrong");
  await director.getByLabel("Admin token").fill(stage.adminToken);
  await director.getByRole("button", { name: "Start rounds" }).click();
  await expect(director.getByRole("heading", { name: "Round 1" })).toBeVisible();

  for (const page of players) {
    await page.goto(`${stage.url}/train`);
    await page.getByRole("button", { name: "Take part in rounds" }).click();
  }
  await expect(director.getByTestId("round-state")).toHaveText("published", { timeout: 300_000 });
  await director.getByRole("link", { name: "Clients", exact: true }).click();
  await expect(director.getByText("counted", { exact: true })).toHaveCount(CLIENTS);
  await director.getByRole("link", { name: "Compare", exact: true }).click();
  await expect(director.getByRole("img", { name: "Loss by round" })).toBeVisible();
  for (const page of players) await expect(page.getByText("accepted", { exact: true })).toBeVisible();

  // What went over the wire.
  const { rounds, task } = (await (await fetch(`${stage.url}/api/tasks/${TASK}/rounds`)).json()) as History;
  expect(task).toMatchObject({ trained: true, checkpoint: { version: 1 } });
  const uploads = stage.requests.filter(({ method }) => method === "PUT");
  expect(uploads.map(({ status }) => status)).toEqual(Array.from({ length: CLIENTS }, () => 202));
  const updates = uploads.map(({ body }) => {
    const { data, metadata } = decode(body);
    return { delta: data, n: readUpdateMetadata(metadata).examples };
  });
  expect(updates.map(({ n }) => n).sort()).toEqual([4, 5, 6]);
  const checkpoint = async (sha256: string): Promise<Float32Array> => {
    const response = await fetch(`${stage.url}/api/checkpoints/${sha256}`);
    return decodeCheckpoint(new Uint8Array(await response.arrayBuffer()), model);
  };
  const base = await checkpoint(rounds[0]?.base.sha256 ?? "");
  const next = await checkpoint(task.checkpoint.sha256);
  expect(next).toHaveLength(model.parameters);
  const n = updates.reduce((sum, update) => sum + update.n, 0);
  let worst = 0;
  let moved = 0;
  for (let i = 0; i < next.length; i++) {
    const mean = updates.reduce((sum, update) => sum + (update.n / n) * (update.delta[i] ?? NaN), 0);
    // The base counts as a hundred faces that change nothing.
    const expected = (base[i] ?? NaN) + (n ** 2 / (n ** 2 + 100 ** 2)) * mean;
    // Relative where a number is larger than 1: float32 has no millionths of a moving variance of 64.
    worst = Math.max(worst, Math.abs((next[i] ?? NaN) - expected) / Math.max(1, Math.abs(expected)));
    if (next[i] !== base[i]) moved += 1;
  }
  expect(worst).toBeLessThan(1e-6);
  // Nearly every weight has learned something, and batch normalization, which is frozen, nothing.
  expect(moved).toBeGreaterThan(next.length / 2);
  for (const { name, offset, size } of model.tensors) {
    const changed = next.subarray(offset, offset + size).some((value, i) => value !== base[offset + i]);
    expect(changed, name).toBe(!/_norm\d\//.test(name));
  }
  // Whoever was in the cohort has looked at the candidate before anybody else got it.
  expect(rounds[0]?.evidence.cohort?.clients).toBe(CLIENTS);

  // The faces are here, in each browser, and none of them has left it.
  for (const [i, page] of players.entries()) {
    const faces = await storedFaces(page);
    expect(faces).toHaveLength(FACES + i);
    expect(faces.map(({ pixels }) => pixels.length)).toEqual(faces.map(() => 2304));
    expect(leaksOf(stage.requests, faces)).toEqual([]);
  }
  expect(unknownOf(stage.requests)).toEqual([]);
  expect([...origins].filter((origin) => origin !== "null")).toEqual([stage.url]);

  // The result comes back into the game.
  for (const page of players) {
    await openCamera(page, stage.url);
    await expect(page.getByText("version 1", { exact: true })).toBeVisible();
    await page.goto("about:blank");
  }
});

test("a player evaluates candidates on held-out faces, keeps its own batch normalization, sends a small part and later the rest", async ({
  page,
  stage,
}) => {
  // Its clock is a year ahead.
  await page.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() + 365 * 86_400_000;
  });
  await collectFaces(page, stage.url, FACES);
  const response = await fetch(`${stage.url}/api/tasks/${TASK}/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${stage.adminToken}` },
    body: JSON.stringify({
      ...DEFAULT_ROUND,
      ...NOTEBOOK_ROUND,
      goalCount: 1,
      epochs: 2,
      learningRate: 0.001,
      evaluators: 1,
      batchNorm: "local",
      aggregation: "q-fair",
      rounds: 2,
      codec: "topk",
      topShare: 0.05,
      downloadCodec: "int8",
    }),
  });
  expect(response.status).toBe(201);
  await page.goto(`${stage.url}/train`);
  await page.getByLabel("Model").selectOption(TASK);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("accepted", { exact: true })).toHaveCount(2, { timeout: 120_000 });
  await expect(page.getByText("What the last training did to your test faces")).toBeVisible();
  const history = async (): Promise<History> =>
    (await (await fetch(`${stage.url}/api/tasks/${TASK}/rounds`)).json()) as History;
  await expect.poll(async () => (await history()).rounds[1]?.state, { timeout: 60_000 }).toBe("published");
  const { rounds } = await history();
  expect(rounds[0]?.evaluation).toMatchObject({ clients: 1, examples: 1 });
  expect(rounds[0]?.evaluation?.loss).toBeGreaterThan(0);

  const updates = stage.requests.filter(({ method }) => method === "PUT").map(({ body }) => readUpdate(body));
  for (const { delta, metadata } of updates) {
    expect(metadata.initialLoss).toBeGreaterThan(0);
    expect(takeNorms(model, delta).every((value) => value === 0)).toBe(true);
    const sent = delta.filter((value) => value !== 0).length;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(0.08 * model.parameters);
  }
  // A new key in each round: nothing on the wire links the two updates.
  const keys = stage.requests.filter(({ method }) => method === "PUT").map(({ key }) => key);
  expect(new Set(keys).size).toBe(2);
  const checkIns = stage.requests.filter(({ path }) => path.endsWith("/check-ins"));
  expect(checkIns.every(({ key }) => key)).toBe(true);
  // Which round is open, the task has said: no check-in is spent on asking.
  expect(JSON.parse(String(checkIns[0]?.body))).toMatchObject({ round: 1 });
  // The first checkpoint came as a whole; the two that the rounds made came as differences.
  const downloads = stage.requests.filter(({ path }) => path.startsWith("/api/checkpoints/")).map(({ path }) => path);
  const made = rounds.map(({ checkpoint }) => `/api/checkpoints/${checkpoint?.sha256}/difference`);
  expect(downloads).toEqual([`/api/checkpoints/${rounds[0]?.base.sha256}`, ...made]);
  const kept = await page.evaluate(
    (task) =>
      new Promise<number[]>((resolve) => {
        const open = indexedDB.open("best-actor");
        open.onsuccess = () => {
          const store = open.result.transaction("settings").objectStore("settings");
          const [norms, residuals] = [store.get("localNorms"), store.get("residuals")];
          residuals.onsuccess = () => {
            const [own, left] = [norms.result, residuals.result] as Record<string, Float32Array>[];
            resolve([...(own?.[task] ?? []), ...(left?.[task] ?? [])]);
          };
        };
      }),
    TASK,
  );
  const norms = kept.slice(0, -model.parameters);
  expect(norms).toHaveLength(takeNorms(model, updates[0]?.delta ?? new Float32Array()).length);
  expect(norms.some((value) => value !== 0)).toBe(true);
  // What has not been sent yet is still there.
  expect(kept.slice(-model.parameters).filter((value) => value !== 0).length).toBeGreaterThan(
    0.8 * (model.parameters - norms.length),
  );
  expect(unknownOf(stage.requests)).toEqual([]);
});

test("with secure aggregation what leaves the browser is random, and the mean of all is still published, with noise", async ({
  page,
  stage,
}) => {
  await collectFaces(page, stage.url, FACES);
  const clip = 0.5;
  const config = {
    goalCount: 3,
    overSelection: 1,
    epochs: 1,
    learningRate: 0.001,
    rounds: 1,
    selectionSeconds: 0,
    secure: true,
    codec: "int8",
    updateClip: clip,
    noise: 0.5,
    batchNorm: "local",
  };
  const response = await fetch(`${stage.url}/api/tasks/${TASK}/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${stage.adminToken}` },
    body: JSON.stringify({ ...DEFAULT_ROUND, ...NOTEBOOK_ROUND, ...config }),
  });
  expect(response.status).toBe(201);
  const stop = new AbortController();
  const others = [0, 1].map(async () => {
    const client = new HeadlessClient(() => stage.edgeUrl, TASK, stop.signal);
    const assignment = await client.assignment(5);
    const delta = new Float32Array(model.parameters);
    const facts = {
      weight: 5,
      trainLoss: 1,
      trainAccuracy: 0.5,
      evalExamples: 0,
      evalLoss: 0,
      evalAccuracy: 0,
      below: 1,
    };
    return client.sendSecure(assignment, () => Promise.resolve({ delta, facts }));
  });
  await page.goto(`${stage.url}/train`);
  await page.getByLabel("Model").selectOption(TASK);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 120_000 });
  expect(await Promise.all(others)).toEqual([true, true]);
  const history = async (): Promise<History> =>
    (await (await fetch(`${stage.url}/api/tasks/${TASK}/rounds`)).json()) as History;
  await expect.poll(async () => (await history()).rounds[0]?.state).toBe("published");
  const { rounds, task: after } = await history();
  expect(after.privacy).toEqual([{ sampling: 1, noise: 0.5, rounds: 1, clients: 3 }]);
  // No noise is on the sums of what the clients held: they are not told.
  expect(rounds[0]?.trainLoss).toBeNull();

  // The vector does not get smaller by compression, as nothing random does, and says nothing of who sent it.
  const [update] = stage.requests.filter(({ method }) => method === "PUT");
  const body = update?.body ?? Buffer.alloc(0);
  const ring = ringOf(model, {
    codec: "int8",
    cohort: 3,
    clip,
    mostExamples: 1,
    deviation: shareOfNoise(0.5, clip, 2, "int8"),
  });
  expect(body).toHaveLength(Math.ceil((ring.length * ring.bits) / 8));
  expect(gzipSync(body).length).toBeGreaterThan(body.length * 0.999);
  const faces = await storedFaces(page);
  expect(faces).toHaveLength(FACES);
  expect(leaksOf(stage.requests, faces)).toEqual([]);
  expect(unknownOf(stage.requests)).toEqual([]);
  stop.abort();

  // The device tells the player the same.
  await page.getByRole("link", { name: "Privacy: what is kept, what is sent" }).click();
  await expect(page.getByText("masked: without the other devices of its round nobody can read it")).toBeVisible();
  const hex = (await page.getByLabel("The first bytes in hexadecimal").innerText()).split("\n")[0];
  expect(hex?.slice(8, 55)).toBe([...body.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join(" "));
  await expect(page.getByText(/The noise of 1 round keeps .* within epsilon \d/)).toBeVisible();
  await expect(page.getByRole("row", { name: /^Updates/ })).toContainText(`1`);
  await page.getByRole("button", { name: "Withdraw consent" }).click();
  await expect(page.getByText("The last update is part of a mean already")).toBeVisible();
  await page.getByRole("button", { name: "Erase everything…" }).click();
  await page.getByRole("button", { name: "Erase everything", exact: true }).click();
  await expect(page).toHaveURL(`${stage.url}/`);
  // Home has opened a new, empty database.
  expect(await storedFaces(page)).toEqual([]);
  expect(await page.evaluate(async () => [localStorage.length, (await caches.keys()).length])).toEqual([0, 0]);
});

function readUpdate(body: Uint8Array): { delta: Float32Array; metadata: UpdateMetadata } {
  const reader = new UpdateReader(model);
  const delta = new Float32Array(model.parameters);
  for (const { start, values } of reader.push(body)) delta.set(values, start);
  const { metadata } = reader.finish();
  if (!metadata) throw new Error("An update without metadata.");
  return { delta, metadata };
}

/** What left a browser and should not have. */
const unknownOf = (requests: readonly Recorded[]): string[] =>
  requests
    .filter((request) => request.body.length > 0 && !isKnown(request))
    .map(({ method, path, body }) => `${method} ${path}: ${body.subarray(0, 200).toString()}`);

/** The only bodies that may leave a browser: an update (checked number by number above) and small JSON of known keys. */
function isKnown({ method, path, body }: Recorded): boolean {
  if (method === "PUT") return /^\/api\/tasks\/expressions-compact\/rounds\/\d+\/updates\/[0-9a-f-]{36}$/.test(path);
  if (method !== "POST" || body.length > 2000) return false;
  const keys = Object.keys(JSON.parse(body.toString()) as object)
    .sort()
    .join();
  if (path.includes("/secure/")) {
    return [
      "cipherKey,maskKey,seedDigest,step",
      "shares,step",
      "step,unopened",
      "macs,step",
      "keys,seeds,step",
    ].includes(keys);
  }
  if (path.includes("/evaluations/")) return keys === "accuracy,baseAccuracy,baseLoss,examples,loss";
  if (path.endsWith("/check-ins")) return keys === "examples,heldOut,round";
  return path.endsWith("/rounds") && keys === Object.keys(DEFAULT_ROUND).sort().join();
}
