/**
 * `npm run bench:load [-- --clients 300] [--codec float32] [--task expressions-compact] [--watchers 1000] [--peer flower]
 * [--profile FOLDER]`: simulated clients on loopback against the real edge, on the same cores: they check in, are assigned, and a whole
 * round of their updates is averaged, while so many WebSockets watch. Nothing may be lost and nothing counted twice, which an
 * independent sum checks. CPU times are those of the processes, which other load does not change.
 *
 * With a peer the clients download the checkpoint, too, as the peer's do, and after our round the peer has rounds of the same tensors.
 * --profile says where the edge's time goes, and keeps its profiles for a browser's developer tools. The last line is one JSON object.
 */
import { fork } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runnerImport } from "vite";
import { fail } from "../tools/faces.mjs";
import { root } from "../tools/setup.mjs";
import { serve } from "../tools/serve.mjs";
import { optionsOf } from "../tools/options.mjs";
import { flowerPrograms, measureFlower } from "./flower/superlink.mjs";
import { profile } from "./isolate.mjs";
import { cpuSecondsOf } from "./processes.mjs";

const NO_LIMIT = { simple: { limit: 1e9, period: 60 } };
/** Requests under way at once: more would only wait in this process. */
const AT_ONCE = 32;
/** Different deltas: making one takes longer than sending it. */
const DELTAS = 16;
/** A round's largest goal. */
const MOST = 1000;
const values = optionsOf(import.meta.url, {
  clients: { type: "count", default: "300" },
  task: { type: "string", default: "expressions-compact" },
  codec: { type: "string", default: "float32" },
  watchers: { type: "count" },
  peer: { type: "string" },
  profile: { type: "string" },
});
const { clients: count, codec, task } = values;
if (values.peer !== undefined && values.peer !== "flower") fail(`--peer is flower, not ${values.peer}.`);
const flower = values.peer && flowerPrograms();
const load = async (path) => (await runnerImport(join(root, path))).module;

if (!existsSync(join(root, "dist/best_actor/index.js"))) fail("There is no build yet: run npm run build first.");
if (count > MOST) fail(`A round has at most ${MOST} clients.`);
const { HeadlessClient, randomDelta } = await load("tools/headless.ts");
const { NOTEBOOK_ROUND } = await load("src/federation/default-round.ts");
const { decodeCheckpoint } = await load("src/model/checkpoint.ts");
const { CODEC_NAMES } = await load("src/federation/codecs/registry.ts");
const { decodeDelta, encodeDelta } = await load("src/federation/codecs/delta.ts");
if (!CODEC_NAMES.includes(codec)) fail(`--codec is one of ${CODEC_NAMES.join(", ")}, not ${codec}.`);

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-load-"));
const edge = await serve({
  port: 0,
  stateFolder,
  ratelimits: { CLIENT_LIMIT: NO_LIMIT, ADDRESS_LIMIT: NO_LIMIT, KEY_LIMIT: NO_LIMIT },
  isInspected: values.profile !== undefined,
});
const api = `${edge.url}/api/tasks/${task}`;
const stop = new AbortController();
const clients = Array.from({ length: count }, () => new HeadlessClient(() => edge.url, task, stop.signal));
const { model } = clients[0];
const get = async (path) => (await fetch(`${api}${path}`)).json();
const weights = async (sha256) =>
  decodeCheckpoint(new Uint8Array(await (await fetch(`${edge.url}/api/checkpoints/${sha256}`)).arrayBuffer()), model);
const round = (value, digits = 1) => Number(value.toFixed(digits));

/** Seconds of CPU by this process, the edge and the watchers. */
function cpu() {
  const { user, system } = process.cpuUsage();
  const own = (user + system) / 1e6;
  const watching = watchers ? cpuSecondsOf(watchers.pid) : 0;
  return { clients: own, watchers: watching, edge: cpuSecondsOf(process.pid) - own - watching };
}

/** Does something for every client, {@link AT_ONCE} at a time. */
async function forAll(work) {
  const ms = [];
  const [begun, before] = [performance.now(), cpu()];
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let i = next++; i < count; i = next++) {
        const start = performance.now();
        await work(clients[i], i);
        ms.push(performance.now() - start);
      }
    }),
  );
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (p) => round(sorted[Math.floor((count - 1) * p)]);
  const cpuMs = () => {
    const after = cpu();
    return Object.fromEntries(
      Object.keys(after).map((who) => [who, round(((after[who] - before[who]) * 1e3) / count)]),
    );
  };
  const now = () => ({ perSecond: round(count / ((performance.now() - begun) / 1000)), cpuMs: cpuMs() });
  return { ...now(), p50Ms: at(0.5), p99Ms: at(0.99), now };
}

/** Does something, and says where the edge's time went meanwhile. */
async function profiled(name, work) {
  if (!values.profile) return work();
  const stopped = await profile(edge.inspectorPort);
  const result = await work();
  const { milliseconds, top, all } = await stopped();
  mkdirSync(values.profile, { recursive: true });
  writeFileSync(join(values.profile, `${name}.cpuprofile`), JSON.stringify(all));
  console.log(`${name}: ${round(milliseconds / count, 2)} ms each in the edge's JavaScript`);
  for (const [what, percent] of top.slice(0, 25)) console.log(`  ${percent.toFixed(1).padStart(5)} %  ${what}`);
  return result;
}

/** The watchers' process, once all of its sockets are open. */
async function startWatchers(number) {
  const child = fork(join(root, "benchmarks/watch.mjs"), [`${api.replace("http", "ws")}/live`, String(number)], {
    execArgv: ["--experimental-websocket"],
  });
  await new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code) => reject(new Error(`The watchers' process has ended with ${code}.`)));
  });
  return child;
}

let watchers;
try {
  const base = (await get("")).checkpoint;
  const started = await fetch(`${api}/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${edge.adminToken}` },
    body: JSON.stringify({
      ...NOTEBOOK_ROUND,
      ...{ codec, goalCount: count, overSelection: 1, selectionSeconds: 0, deadlineSeconds: 3600 },
    }),
  });
  if (!started.ok) throw new Error(await started.text());
  if (values.watchers) watchers = await startWatchers(values.watchers);

  const examples = (i) => 1 + (i % 50);
  // Two requests each: which round is open, and then with a key that is made for it.
  const first = await profiled("first-check-ins", () => forAll((client, i) => client.checkIn(examples(i))));
  const assignments = [];
  const again = await forAll(async (client, i) => {
    const answer = await client.checkIn(examples(i));
    if (answer.decision !== "train") throw new Error(`${i} is told to ${answer.decision}.`);
    assignments[i] = answer.assignment;
  });
  console.log(`${count} check-ins: ${first.perSecond} first ones a second, ${again.perSecond} of those who come again`);

  const deltas = Array.from({ length: DELTAS }, (_, k) => randomDelta(model, k));
  let bytes = 0;
  const begun = performance.now();
  const uploads = await profiled("updates", async () => {
    const sent = await forAll(async (client, i) => {
      const [delta, assignment] = [deltas[i % DELTAS], assignments[i]];
      if (values.peer) await client.checkpoint(assignment.checkpoint);
      const file = await client.pack(assignment, delta, examples(i));
      bytes += file.length;
      await client.upload(assignment, file);
      // One in ten was lost on the way back, as far as its client knows: it sends it again.
      if (i % 10 === 0) await client.upload(assignment, file);
    });
    while ((await get("/rounds?limit=1")).rounds[0].tally.counted < count) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return sent;
  });
  // Until the last one counts, not only until it is taken.
  const updates = uploads.now();
  console.log(`${count} updates: ${updates.perSecond} a second`);
  let last;
  do {
    await new Promise((resolve) => setTimeout(resolve, 100));
    last = await get("/rounds/1");
  } while (last.endedAt === null);
  const roundSeconds = (performance.now() - begun) / 1000;
  if (last.state !== "published") throw new Error(last.reason);

  const counted = last.cohort.filter(({ state }) => state === "counted").length;
  const n = assignments.reduce((sum, _, i) => sum + examples(i), 0);
  const share = Array.from({ length: DELTAS }, (_, k) =>
    assignments.reduce((sum, _, i) => sum + (i % DELTAS === k ? examples(i) / n : 0), 0),
  );
  // What the codec has made of each: the sum is of that.
  const sent = deltas.map((delta) => {
    if (codec === "float32") return delta;
    return decodeDelta(
      model,
      encodeDelta(model, delta, { codec, share: assignments[0].plan.topShare, seed: 1 }),
      codec,
    );
  });
  const [before, after] = [await weights(base.sha256), await weights(last.checkpoint.sha256)];
  let sumError = 0;
  for (let i = 0; i < after.length; i++) {
    const expected = before[i] + sent.reduce((sum, delta, k) => sum + share[k] * delta[i], 0);
    sumError = Math.max(sumError, Math.abs(after[i] - expected) / Math.max(1, Math.abs(expected)));
  }
  const watched = watchers && (await new Promise((resolve) => watchers.once("message", resolve).send("how much")));
  let peer;
  if (flower) {
    await edge.stop();
    const shapes = model.tensors.map(({ shape }) => shape);
    const measured = await measureFlower(flower, count, shapes);
    // From the first download to the next checkpoint, on both sides.
    const ours = round(count / roundSeconds);
    peer = { flower: measured, oursPerSecond: ours, ratio: round(ours / measured.updatesPerSecond, 2) };
  }
  console.log(
    JSON.stringify({
      ...{ task, codec, clients: count, watchers: values.watchers ?? 0 },
      ...{ firstCheckInsPerSecond: first.perSecond, firstCheckInCpuMs: first.cpuMs },
      ...{ checkInsPerSecond: again.perSecond, checkInP50Ms: again.p50Ms, checkInP99Ms: again.p99Ms },
      checkInCpuMs: again.cpuMs,
      ...{ updatesPerSecond: updates.perSecond, uploadP50Ms: uploads.p50Ms, uploadP99Ms: uploads.p99Ms },
      updateCpuMs: updates.cpuMs,
      bytesPerUpdate: Math.round(bytes / count),
      ...(watched && {
        messagesPerWatcher: round(watched.messages / watched.open),
        bytesPerWatcher: Math.round(watched.bytes / watched.open),
        watchersLost: watched.closed,
      }),
      roundSeconds: round(roundSeconds),
      ...{ lost: Math.max(0, count - counted), duplicated: Math.max(0, counted - count), sumError },
      ...peer,
    }),
  );
} finally {
  watchers?.kill();
  stop.abort();
  await edge.stop().catch(() => undefined);
  rmSync(stateFolder, { recursive: true, force: true });
}
process.exit(0);
