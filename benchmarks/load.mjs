/**
 * `npm run bench:load [-- --clients 1000]`: simulated clients on loopback against the real edge: they check in, and a whole
 * round of their compact updates is averaged; nothing may be lost and nothing counted twice, which an independent sum checks.
 * Its last line is one JSON object.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runnerImport } from "vite";
import { root } from "../tools/setup.mjs";
import { serve } from "../tools/serve.mjs";
import { optionsOf } from "../tools/options.mjs";

const TASK = "expressions-compact";
const NO_LIMIT = { simple: { limit: 1e9, period: 60 } };
/** Requests under way at once: more would only wait in this process. */
const AT_ONCE = 32;
/** Different deltas: making one takes longer than sending it. */
const DELTAS = 16;
const values = optionsOf(import.meta.url, { clients: { type: "count", default: "1000" } });
const count = values.clients;
const load = async (path) => (await runnerImport(join(root, path))).module;

if (!existsSync(join(root, "dist/best_actor/index.js"))) {
  console.error("There is no build yet: run npm run build first.");
  process.exit(1);
}
const { HeadlessClient, randomDelta } = await load("tools/headless.ts");
const { NOTEBOOK_ROUND } = await load("src/core/default-round.ts");
const { decodeCheckpoint } = await load("src/core/checkpoint.ts");

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-load-"));
const edge = await serve({ port: 0, stateFolder, ratelimits: { CLIENT_LIMIT: NO_LIMIT, ADDRESS_LIMIT: NO_LIMIT } });
const api = `${edge.url}/api/tasks/${TASK}`;
const stop = new AbortController();
const clients = Array.from({ length: count }, () => new HeadlessClient(() => edge.url, TASK, stop.signal));
const { model } = clients[0];
const get = async (path) => (await fetch(`${api}${path}`)).json();
const weights = async (sha256) =>
  decodeCheckpoint(new Uint8Array(await (await fetch(`${edge.url}/api/checkpoints/${sha256}`)).arrayBuffer()), model);

/** Does something for every client, {@link AT_ONCE} at a time; gives the milliseconds of each. */
async function forAll(work) {
  const ms = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let i = next++; i < count; i = next++) {
        const begun = performance.now();
        await work(clients[i], i);
        ms.push(performance.now() - begun);
      }
    }),
  );
  return ms.toSorted((a, b) => a - b);
}
const percentile = (ms, p) => Number(ms[Math.floor((ms.length - 1) * p)].toFixed(1));

try {
  const base = (await get("")).checkpoint;
  const started = await fetch(`${api}/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${edge.adminToken}` },
    body: JSON.stringify({
      ...NOTEBOOK_ROUND,
      goalCount: Math.min(1000, count),
      overSelection: 1,
      selectionSeconds: 0,
      deadlineSeconds: 3600,
    }),
  });
  if (!started.ok) throw new Error(await started.text());

  let begun = performance.now();
  const examples = (i) => 1 + (i % 50);
  const checkIns = await forAll((client, i) => client.checkIn(examples(i)));
  const checkInsPerSecond = Number((count / ((performance.now() - begun) / 1000)).toFixed(1));
  console.log(`${count} check-ins: ${checkInsPerSecond} a second`);

  const deltas = Array.from({ length: DELTAS }, (_, k) => randomDelta(model, k));
  const sent = [];
  begun = performance.now();
  const uploads = await forAll(async (client, i) => {
    const answer = await client.checkIn(examples(i));
    if (answer.decision !== "train") return;
    const status = await client.send(answer.assignment, deltas[i % DELTAS], examples(i));
    // One in ten was lost on the way back, as far as its client knows: it sends it again.
    if (i % 10 === 0) await client.send(answer.assignment, deltas[i % DELTAS], examples(i));
    if (status === "accepted") sent.push(i);
  });
  const uploadSeconds = (performance.now() - begun) / 1000;
  let round;
  do {
    await new Promise((resolve) => setTimeout(resolve, 500));
    round = (await get("/rounds")).rounds[0];
  } while (round.endedAt === null);
  const roundSeconds = (performance.now() - begun) / 1000;
  if (round.state !== "published") throw new Error(round.reason);

  const counted = round.cohort.filter(({ state }) => state === "counted");
  const n = sent.reduce((sum, i) => sum + examples(i), 0);
  const share = Array.from({ length: DELTAS }, (_, k) =>
    sent.filter((i) => i % DELTAS === k).reduce((sum, i) => sum + examples(i) / n, 0),
  );
  const [before, after] = [await weights(base.sha256), await weights(round.checkpoint.sha256)];
  let sumError = 0;
  for (let i = 0; i < after.length; i++) {
    const mean = deltas.reduce((sum, delta, k) => sum + share[k] * delta[i], 0);
    const expected = before[i] + mean;
    sumError = Math.max(sumError, Math.abs(after[i] - expected) / Math.max(1, Math.abs(expected)));
  }
  console.log(
    JSON.stringify({
      clients: count,
      checkInsPerSecond,
      p50Ms: percentile(checkIns, 0.5),
      p99Ms: percentile(checkIns, 0.99),
      updates: counted.length,
      uploadsPerSecond: Number((sent.length / uploadSeconds).toFixed(1)),
      uploadP50Ms: percentile(uploads, 0.5),
      uploadP99Ms: percentile(uploads, 0.99),
      roundSeconds: Number(roundSeconds.toFixed(1)),
      lost: Math.max(0, sent.length - counted.length),
      duplicated: Math.max(0, counted.length - sent.length),
      sumError,
    }),
  );
} finally {
  stop.abort();
  await edge.stop();
  rmSync(stateFolder, { recursive: true, force: true });
}
process.exit(0);
