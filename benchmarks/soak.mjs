/**
 * `npm run bench:soak [-- --minutes 60]`: rounds at full speed through the real edge on real workerd, with clients that take part, boast,
 * send huge deltas or no numbers, repeat, leave, stall in mid-body and come back, while some watch, and one of those never reads.
 *
 * After each turn of rounds (central, robust, secure, by hubs, judged) it looks what workerd holds: memory, live memory of the isolate
 * with all Durable Objects, open sockets, the state on disk; and what the turn took: CPU time of the edge, and how long honest
 * clients' updates did. Each has to stay flat (benchmarks/flat.ts): by Theil and Sen's slope it may grow over the second half of the
 * run by what ALLOWED says, or by less than a quarter of how it grew in the first half. The first fifth of a run does not count.
 * Latency is judged in runs of ten minutes and more, whose end is not decided by what else a machine has to do.
 *
 * It ends with 1 where something grows, where a round hangs, where a request is not answered, and where a kind of client has not done what
 * it is for. Where it breaks off it says what the edge was doing (stuck.mjs). Without /proc memory and sockets are not measured. The last line
 * is one JSON object.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runnerImport } from "vite";
import { fail } from "../tools/faces.mjs";
import { optionsOf } from "../tools/options.mjs";
import { EMPTY_BYTES, serve } from "../tools/serve.mjs";
import { root } from "../tools/setup.mjs";
import { ask } from "./ask.mjs";
import { inspect } from "./isolate.mjs";
import { cpuSecondsOf, holdingsOf, processCalled } from "./processes.mjs";
import { dawdlers, KINDS, strangers, watch } from "./soak-clients.mjs";
import { lookAtStuck } from "./stuck.mjs";

const [TASK, OTHER_TASK] = ["expressions-compact", "expressions"];
const NO_LIMIT = { simple: { limit: 1e9, period: 60 } };
/** A round that takes longer hangs, and so does the answer to a request. */
const PATIENCE_MS = 90_000;
/** Who waits for a draw, or for the end of a round, asks so often. */
const ASK_MS = 100;
/** Of a run, the part in which caches and free lists fill. */
const WARM_UP = 0.2;
/** Turns without which nothing can be judged, however long they take. */
const FEWEST_TURNS = 7;
const JUDGE_LATENCY_MINUTES = 10;
/** Different deltas: making one takes longer than sending it. */
const DELTAS = 16;

const { minutes: text } = optionsOf(import.meta.url, { minutes: { type: "string", default: "60" } });
const minutes = Number(text);
if (!(minutes >= 1)) fail(`--minutes is a number from 1 on, not ${text}.`);
if (!existsSync(join(root, "dist/best_actor/index.js"))) fail("There is no build yet: run npm run build first.");
const load = async (path) => (await runnerImport(join(root, path))).module;
const { HeadlessClient, randomDelta, RefusalError } = await load("tools/headless.ts");
const { NOTEBOOK_ROUND } = await load("src/federation/default-round.ts");
const { DEFAULT_MAX_UPDATE_NORM } = await load("src/federation/protocol.ts");
const { createSigningKey, sign } = await load("src/federation/signing.ts");
const { trendOf } = await load("benchmarks/flat.ts");

/** Who takes part, by kind. */
const CAST = ["honest", "honest", "honest", ...Object.keys(KINDS)];
/** Three of the cast send nothing that counts, and one may come late. */
const GOAL = CAST.length - 4;
const CENTRAL = {
  ...NOTEBOOK_ROUND,
  ...{ goalCount: GOAL, overSelection: CAST.length / GOAL, selectionSeconds: 2, deadlineSeconds: 6 },
  maxUpdateNorm: DEFAULT_MAX_UPDATE_NORM,
};
const SECURE = {
  ...{ secure: true, codec: "int8", updateClip: 1, overSelection: 1, secureStepSeconds: 2, deadlineSeconds: 30 },
};
/** A turn: one round of each, so that every look comes after the same. */
const TURN = {
  central: CENTRAL,
  robust: { ...CENTRAL, aggregation: "median" },
  secure: { ...CENTRAL, ...SECURE },
  hubs: { ...CENTRAL, topology: "gossip" },
  judged: { ...CENTRAL, agreement: 0.8 },
};
/** What of all that is seen must have been seen: a soak in which nobody stalls is none. */
const EXPECTED = [
  ...["accepted", "boasted", "enormous", "nonsense refused", "replay refused", "silent", "withdrawn", "stalled"],
  ...[
    "stall ended",
    "dawdler refused",
    "came back",
    "left a secure round",
    "central published",
    "robust published",
    "secure published",
  ],
  ...["hubs published", "judged"],
];

const MB = 1e6;
/** What a measure may grow by over the second half, by chance, and with each round, by design. */
const ALLOWED = {
  isolate: { chance: 4 * MB },
  // Of the local runtime around the isolate, which keeps something of each object that there ever was.
  memory: { chance: 48 * MB, each: 0.2 * MB },
  sockets: { chance: 6 },
  // Of ten checkpoints of 1.2 MB one stays for the next thousand versions, and of a round its members and what it came to.
  disk: { chance: 24 * MB, each: 0.2 * MB },
};
/** By so many times may a turn take longer in the end, of its median. */
const SLOWER = 0.5;

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-soak-"));
const edge = await serve({
  port: 0,
  stateFolder,
  isInspected: true,
  ratelimits: { CLIENT_LIMIT: NO_LIMIT, ADDRESS_LIMIT: NO_LIMIT, ADMIN_LIMIT: NO_LIMIT, KEY_LIMIT: NO_LIMIT },
});
const inspector = await inspect(edge.inspectorPort);
const workerd = processCalled("workerd");
const api = `${edge.url}/api/tasks/${TASK}`;
const stop = new AbortController();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
const { model } = new HeadlessClient(() => edge.url, TASK, stop.signal);
const deltas = Array.from({ length: DELTAS }, (_, k) => randomDelta(model, k));
const FACTS = { weight: 5, trainLoss: 1, trainAccuracy: 0.5, evalExamples: 0, evalLoss: 0, evalAccuracy: 0, below: 1 };

/** What was seen, and how often. */
const seen = {};
const count = (what) => (seen[what] = (seen[what] ?? 0) + 1);
/** What clients do not wait for, and what counts of it when it is over. */
let asides = [];
const aside = (done) => void asides.push(done.then(count));
/** Why rounds came to nothing. */
const reasons = new Set();
/** The kind of round that is open. */
let playing;
/** Milliseconds that honest clients' updates took in this turn. */
let latencies = [];

/** One client, for the whole run. */
async function takePart(kind, i) {
  const client = new HeadlessClient(() => edge.url, TASK, stop.signal);
  let last;
  for (let turn = 0; !stop.signal.aborted;) {
    const answer = await client.checkIn(5);
    // Who has left its round is told the same again, until the round is over.
    if (answer.decision !== "train" || answer.assignment.id === last) {
      await pause(ASK_MS);
      continue;
    }
    const { assignment } = answer;
    last = assignment.id;
    turn += 1;
    const delta = deltas[(turn + i) % DELTAS];
    const begun = performance.now();
    try {
      if (assignment.secure) {
        // Its vector stays in the sum, which the others open without it.
        const until = kind === "deserter" ? "confirmation" : undefined;
        await client.sendSecure(assignment, () => Promise.resolve({ delta, facts: FACTS }), until);
        count(until ? "left a secure round" : "was in a secure round");
        continue;
      }
      count(await KINDS[kind]({ client, assignment, delta, turn, playing, aside }));
      if (kind === "honest") latencies.push(performance.now() - begun);
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      count("late");
    }
  }
}

/** Bytes of the state, but for the empty databases of objects that are no more, which a server's next start sweeps away. */
function diskBytes() {
  const files = readdirSync(stateFolder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const sizes = files.map(({ parentPath, name }) => {
    try {
      return statSync(join(parentPath, name)).size;
    } catch {
      return 0; // It was deleted in the meantime.
    }
  });
  return sizes.reduce((sum, size) => sum + (size > EMPTY_BYTES ? size : 0), 0);
}

/** Seconds of CPU that the edge has used, this process not counted. */
function edgeSeconds() {
  const { user, system } = process.cpuUsage();
  return cpuSecondsOf(process.pid) - (user + system) / 1e6;
}

/** What the edge holds now. */
async function look() {
  await inspector.ask("HeapProfiler.collectGarbage");
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await inspector.ask("Runtime.getHeapUsage");
  const held = workerd && holdingsOf(workerd);
  return {
    isolate: usedSize + embedderHeapUsedSize + backingStorageSize,
    ...(held && { memory: held.bytes, sockets: held.sockets }),
    disk: diskBytes(),
  };
}

/** Asks the edge as the one who runs it. @throws UnansweredError, and Error at any other status than one of success */
async function call(path, init = {}) {
  const { status, text } = await ask(`${api}${path}`, { ...init, within: PATIENCE_MS });
  if (status < 200 || status > 299) throw new Error(`${init.method ?? "GET"} ${path} by ${status}: ${text}`);
  return JSON.parse(text);
}

/** Runs one round to its end. @throws Error where it hangs */
async function playRound(kind) {
  const headers = { authorization: `Bearer ${edge.adminToken}` };
  const { number } = await call("/rounds", { method: "POST", headers, body: JSON.stringify(TURN[kind]) });
  playing = kind;
  for (const begun = performance.now(); ;) {
    const last = await call(`/rounds/${number}`);
    if (last.endedAt !== null) {
      count(`${kind} ${last.state}`);
      if (kind === "judged" && last.dreams !== null) count("judged");
      if (last.state !== "published") reasons.add(`${kind}: ${last.reason}`);
      return;
    }
    if (performance.now() - begun > PATIENCE_MS) throw new Error(`Round ${number} (${kind}) hangs: ${last.state}.`);
    await pause(ASK_MS);
  }
}

const samples = [];
async function soak() {
  const until = performance.now() + minutes * 60_000;
  while (performance.now() < until || samples.length < FEWEST_TURNS) {
    const watchers = await Promise.all([true, true, true, true, false].map((isReading) => watch(api, isReading)));
    latencies = [];
    const before = edgeSeconds();
    const stalled = await dawdlers(api, async (request) => sign(request, await createSigningKey(), Date.now()));
    for (const done of stalled) aside(done);
    for (const kind of Object.keys(TURN)) {
      await playRound(kind);
      const strange = await strangers(api);
      if (strange.length > 0) throw new Error(`Strangers were answered otherwise: ${strange.join(", ")}.`);
    }
    const cpu = edgeSeconds() - before;
    for (const close of watchers) close();
    // Bodies that stall hold memory and sockets by right, for a time.
    const areOver = await Promise.race([Promise.all(asides), pause(PATIENCE_MS)]);
    if (!areOver) throw new Error("A body that stalls is never ended.");
    asides = [];
    const sample = { ...(await look()), cpu, latency: median(latencies) };
    samples.push(sample);
    const shown = Object.entries(sample).map(([name, value]) => `${name} ${SHOWN[name](value)}`);
    console.log(`${samples.length * Object.keys(TURN).length} rounds: ${shown.join(", ")}`);
  }
}
const inMB = (value) => `${(value / MB).toFixed(1)} MB`;
const SHOWN = {
  ...{ isolate: inMB, memory: inMB, sockets: String, disk: inMB },
  cpu: (value) => `${value.toFixed(2)} s`,
  latency: (value) => `${value.toFixed(0)} ms`,
};

/** Each measure's beginning, end and slopes a round, and whether it is flat. */
function judge() {
  const rounds = Object.keys(TURN).length;
  const from = Math.floor(samples.length * WARM_UP);
  return Object.keys(samples[0]).map((name) => {
    const series = samples.slice(from).map((sample, i) => ({ at: (from + i) * rounds, value: sample[name] }));
    const allowed = ALLOWED[name] ?? { chance: SLOWER * median(series.map(({ value }) => value)) };
    const { slopes, isFlat } = trendOf(series, allowed);
    const isJudged = name !== "latency" || minutes >= JUDGE_LATENCY_MINUTES;
    return { name, first: series[0].value, last: series.at(-1).value, slopes, isFlat, isJudged };
  });
}

let result;
try {
  const clients = CAST.map((kind, i) => takePart(kind, i));
  // A client that fails otherwise than by a refusal is a fault of the soak, or of the edge.
  await Promise.race([soak(), Promise.all(clients)]);
  const trends = judge();
  const faults = [
    ...trends.filter(({ isFlat, isJudged }) => isJudged && !isFlat).map(({ name }) => `${name} grows`),
    ...EXPECTED.filter((what) => !seen[what]).map((what) => `never seen: ${what}`),
    ...Object.keys(seen).filter((what) => what.startsWith("dawdler answered")),
  ];
  const figure = (value) => Number(value.toPrecision(4));
  result = {
    ...{ minutes, rounds: samples.length * Object.keys(TURN).length, seen },
    reasons: [...reasons],
    measures: Object.fromEntries(
      trends.map(({ name, first, last, slopes, isFlat }) => [
        name,
        { first: figure(first), last: figure(last), slopesPerRound: slopes.map(figure), isFlat },
      ]),
    ),
    faults,
  };
} catch (error) {
  const lines = await lookAtStuck({ edge, task: TASK, other: OTHER_TASK, inspector, workerd });
  console.error([String(error.stack ?? error), ...lines, `seen: ${JSON.stringify(seen)}`].join("\n"));
  const rounds = samples.length * Object.keys(TURN).length;
  result = { minutes, rounds, seen, faults: [error.message] };
} finally {
  stop.abort();
  inspector.close();
  await Promise.race([edge.stop().catch(() => undefined), pause(PATIENCE_MS)]);
  rmSync(stateFolder, { recursive: true, force: true });
}
console.log(JSON.stringify(result));
process.exit(result.faults.length > 0 ? 1 : 0);
