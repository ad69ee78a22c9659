/**
 * `npm run bench:aggregate`: how fast updates of the seed CNN become a sum. The inner loop against the machine's memory copy
 * and NumPy's weighted mean (which is what Flower's FedAvg does), then whole rounds through the real edge with 1, 2, 4 and 8
 * shards and with four hubs that gossip, and an upload over HTTP. Its last line is one JSON object.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runnerImport } from "vite";
import { root } from "../tools/setup.mjs";
import { serve } from "../tools/serve.mjs";
import { ask } from "./ask.mjs";
import { inspect } from "./isolate.mjs";
import { cpuSecondsOf } from "./processes.mjs";

const TASK = "expressions";
const UPDATES = 8;
/** Of the inner loop. */
const TURNS = 100;
/** Hubs by their number: the updates of this machine have no continent, and go to the hub with the fewest. */
const REGIONS = Array.from({ length: 4 }, (_, i) => ({ name: `hub-${i}`, locationHint: "weur", continents: [] }));
const ADDRESS_LIMIT = { simple: { limit: 1e9, period: 60 } };
const round = (value, digits = 2) => Number(value.toFixed(digits));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const load = async (path) => (await runnerImport(join(root, path))).module;

if (!existsSync(join(root, "dist/best_actor/index.js"))) {
  console.error("There is no build yet: run npm run build first.");
  process.exit(1);
}
const { WeightedSum } = await load("src/federation/fedavg.ts");
const { HeadlessClient, randomDelta } = await load("tools/headless.ts");
const { NOTEBOOK_ROUND } = await load("src/federation/default-round.ts");
const stop = new AbortController();
const { model } = new HeadlessClient(() => "", TASK, stop.signal);
const bytes = model.parameters * 4;

/**
 * GB/s of update bytes that the inner loop of a shard adds, and that the machine copies: every update is another one. In turns, and the
 * fastest of each, since other work on the machine can only make one slower.
 */
function innerLoop() {
  const deltas = Array.from({ length: UPDATES }, (_, i) => randomDelta(model, i));
  const copy = new Float32Array(model.parameters);
  const sum = new WeightedSum(model.parameters);
  let [adding, copying] = [Infinity, Infinity];
  for (let i = 0; i < TURNS; i++) {
    const delta = deltas[i % UPDATES];
    const begun = performance.now();
    sum.addPart(0, delta, 3);
    const added = performance.now();
    copy.set(delta);
    adding = Math.min(adding, added - begun);
    copying = Math.min(copying, performance.now() - added);
  }
  const inGBps = (milliseconds) => round(bytes / milliseconds / 1e6);
  return { innerLoopGBps: inGBps(adding), memcpyGBps: inGBps(copying), innerLoopPerMemcpy: round(copying / adding) };
}

/** NumPy's weighted mean of the same updates, as Flower computes it: updates/s. */
function numpy() {
  const script = `
import time, numpy as np
from functools import reduce
u = [np.random.rand(${model.parameters}).astype(np.float32) for _ in range(${UPDATES})]; n = list(range(1, ${UPDATES} + 1)); times = []
for _ in range(6):
    t = time.time(); r = reduce(np.add, [x * k for x, k in zip(u, n)]) / sum(n); times.append(time.time() - t)
print(${UPDATES} / sorted(times)[2])`;
  for (const python of ["/usr/bin/python3", "python3"]) {
    const { status, stdout } = spawnSync(python, ["-c", script], { encoding: "utf8" });
    if (status === 0) return round(Number(stdout), 1);
  }
  return null;
}

/** The task and its rounds. */
const history = async (api) => JSON.parse((await ask(`${api}/rounds`, { within: 60_000 })).text);

/**
 * Asks workerd's inspector how much the edge's isolate holds: its heap and the buffers outside of it. Every Durable Object of the
 * app is in this one isolate. Gives the peak in MB.
 * @param live whether garbage is collected before each look, which slows everything down; else it counts, too. What is left behind between
 * the collection and the look counts in any case
 */
async function watchIsolate(port, live) {
  const inspector = await inspect(port);
  let peak = 0;
  const look = async () => {
    if (live) await inspector.ask("HeapProfiler.collectGarbage");
    const {
      usedSize = 0,
      embedderHeapUsedSize = 0,
      backingStorageSize = 0,
    } = await inspector.ask("Runtime.getHeapUsage");
    peak = Math.max(peak, usedSize + embedderHeapUsedSize + backingStorageSize);
    // Looks that lie in a queue would say the same thing many times.
    if (!isOver) timer = setTimeout(() => void look(), live ? 60 : 20);
  };
  let isOver = false;
  let timer;
  void look();
  return () => {
    isOver = true;
    clearTimeout(timer);
    inspector.close();
    return Math.round(peak / 1e6);
  };
}

/** A round of the seed CNN through the real edge: from the first accepted upload to the last one counted, and an upload's time. */
async function throughShards(n, { hubs = 0, live = false } = {}) {
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-bench-"));
  const edge = await serve({
    port: 0,
    stateFolder,
    isInspected: true,
    bindings: { AGGREGATOR_SHARDS: String(n), ...(hubs > 0 && { HUBS: REGIONS.slice(0, hubs) }) },
    ratelimits: { CLIENT_LIMIT: ADDRESS_LIMIT, ADDRESS_LIMIT, KEY_LIMIT: ADDRESS_LIMIT },
  });
  try {
    const api = `${edge.url}/api/tasks/${TASK}`;
    const started = await fetch(`${api}/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${edge.adminToken}` },
      body: JSON.stringify({
        ...NOTEBOOK_ROUND,
        goalCount: UPDATES,
        overSelection: 1,
        selectionSeconds: 0,
        topology: hubs > 0 ? "gossip" : "central",
      }),
    });
    if (!started.ok) throw new Error(await started.text());
    const clients = Array.from({ length: UPDATES }, () => new HeadlessClient(() => edge.url, TASK, stop.signal));
    const assignments = await Promise.all(clients.map((client) => client.assignment(5)));
    const delta = randomDelta(model, 2);
    const isolatePeak = await watchIsolate(edge.inspectorPort, live);
    const uploads = [];
    const edgeCpu = () => {
      const { user, system } = process.cpuUsage();
      return cpuSecondsOf(process.pid) - (user + system) / 1e6;
    };
    let cpu = 0;
    const begun = performance.now();
    for (const [i, client] of clients.entries()) {
      const file = await client.pack(assignments[i], delta, 5);
      const [start, before] = [performance.now(), edgeCpu()];
      await client.upload(assignments[i], file);
      uploads.push((performance.now() - start) / 1000);
      cpu += edgeCpu() - before;
    }
    const uploaded = performance.now();
    for (;;) {
      const { rounds } = await history(api);
      if (rounds[0].cohort.every(({ state }) => state === "counted")) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const seconds = (performance.now() - begun) / 1000;
    const shard = {
      n,
      updatesPerSecond: round(UPDATES / seconds),
      gigabytesPerSecond: round((UPDATES * bytes) / seconds / 1e9, 3),
      secondsAfterLastUpload: round((performance.now() - uploaded) / 1000),
    };
    const merging = performance.now();
    for (;;) {
      const { task } = await history(api);
      if (task.checkpoint.version > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const mergeSeconds = round((performance.now() - merging) / 1000);
    return { shard: { ...shard, mergeSeconds }, upload: median(uploads), cpu: cpu / UPDATES, peak: isolatePeak() };
  } finally {
    await edge.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  }
}

const inner = innerLoop();
const numpyUpdatesPerSecond = numpy();
const results = [];
for (const n of [1, 2, 4, 8]) results.push(await throughShards(n));
const live = {};
for (const n of [1, 8]) live[n] = (await throughShards(n, { live: true })).peak;
const hubs = {};
for (const n of [1, 2, 4]) {
  const { shard, peak } = await throughShards(1, { hubs: n, live: true });
  hubs[n] = { mergeSeconds: shard.mergeSeconds, peakIsolateMB: peak };
}
console.log(
  JSON.stringify({
    shards: results.map(({ shard }) => shard),
    ...inner,
    innerLoopUpdatesPerSecond: round((inner.innerLoopGBps * 1e9) / bytes, 1),
    numpyUpdatesPerSecond,
    httpSecondsPer20MB: round(median(results.map(({ upload }) => upload)), 3),
    httpEdgeCpuSeconds: round(median(results.map(({ cpu }) => cpu)), 3),
    peakIsolateMB: live,
    peakIsolateMBWithGarbage: Object.fromEntries(results.map(({ shard, peak }) => [shard.n, peak])),
    // All of them in one isolate, which they are nowhere else: each has a region of its own.
    hubs,
  }),
);
process.exit(0);
