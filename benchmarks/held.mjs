/**
 * `npm run bench:held`: what two training steps of networks of several forms take of memory, in Node on one thread with our kernels, each
 * in a process of its own: `tookMB` is the most resident memory less that before them, weights and gradients in it, `heldMB` what
 * heldInTraining (src/model/trainable.ts) counts for the batch. Its last line is one JSON object.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import v8 from "node:v8";
import { load } from "../tools/load.mjs";

const conv = (name, filters) => ({ kind: "conv2d", name, filters, size: 3, padding: "same" });
const norm = (name) => ({ kind: "batchNorm", name });
const dropout = (name) => ({ kind: "dropout", name, rate: 0.3 });
const pools = (count) => Array.from({ length: count }, (_, i) => ({ kind: "maxPool", name: `pool${i}`, window: 2 }));
const many = (count, layers) => Array.from({ length: count }, (_, i) => layers(i)).flat();
const end = [
  { kind: "flatten", name: "flatten" },
  { kind: "dense", name: "out", units: 2, activation: "softmax" },
];
/** Pictures of 96 x 96 in colour, the largest that there are. */
const large = (...layers) => ({ name: "large", inputShape: [96, 96, 3], layers: [...layers, ...pools(4), ...end] });
const block = (name) => [conv(`${name}1`, 64), norm(`${name}2`), conv(`${name}3`, 64), norm(`${name}4`)];

const lab = await load("tools/lab/modules.ts");
const NETWORKS = {
  seed: lab.MODELS.seed,
  compact: lab.MODELS.compact,
  "mnist-cnn": lab.MODELS["mnist-cnn"],
  wide: large(conv("conv", 256)),
  wider: large(conv("conv", 1024)),
  "wide, normalized": large(conv("conv", 256), norm("norm")),
  "wide, 40 dropouts": large(conv("conv", 256), ...many(40, (i) => dropout(`dropout${i}`))),
  "wide, normalized, dropouts": large(conv("conv", 256), norm("norm"), dropout("one"), dropout("two")),
  deep: large(...many(40, (i) => conv(`conv${i}`, 8))),
  "deep, normalized": large(...many(25, (i) => [conv(`conv${i}`, 8), norm(`norm${i}`)])),
  blocks: large(...block("a"), { kind: "maxPool", name: "between", window: 3 }, dropout("dropout"), ...block("b")),
};

const RUNS = [
  ["seed", 10],
  ["seed", 32],
  ["compact", 32],
  ["mnist-cnn", 100],
  ["wide", 10],
  ["wide", 32],
  ["wider", 5],
  ["wider", 10],
  ["wide, normalized", 32],
  ["wide, 40 dropouts", 10],
  ["wide, normalized, dropouts", 10],
  ["deep", 10],
  ["deep, normalized", 10],
  ["blocks", 10],
];

async function measure(name, batchSize) {
  v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  const { makeWorker } = await load("tools/lab/worker.ts");
  const spec = NETWORKS[name];
  const { inputs } = lab.summarize(spec);
  const examples = {
    pixels: Uint8Array.from({ length: batchSize * inputs }, (_, i) => (i * 31) % 256),
    labels: Uint8Array.from({ length: batchSize }, (_, i) => i % 2),
  };
  const worker = makeWorker();
  await worker.start(spec, { train: examples, test: examples }, "wasm");
  const weights = lab.initializeWeights(spec, 1);
  const before = process.memoryUsage.rss();
  const said = { dataset: "drawn", model: "compact", clients: 1, rounds: 1, epochs: 2, batchSize };
  const plan = lab.planOf(lab.parseLabConfig({ ...lab.PLAIN, ...said }), 1e-3);
  const { loss } = await worker.train({ weights, train: [...examples.labels.keys()], heldOut: [], plan, seed: 1 });
  if (!Number.isFinite(loss)) throw new Error(`${name} has not been trained.`);
  const tookMB = Math.round(process.resourceUsage().maxRSS / 1024 - before / 2 ** 20);
  const heldMB = Math.round((lab.heldInTraining(spec) * batchSize * 4) / 2 ** 20);
  console.log(JSON.stringify({ network: name, batchSize, heldMB, tookMB }));
}

const [name, batchSize] = process.argv.slice(2);
if (name !== undefined) await measure(name, Number(batchSize));
else {
  const rows = RUNS.map((run) => {
    const { stdout, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...run.map(String)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (status !== 0) throw new Error(`${run.join(" ")} ended with ${status}.`);
    process.stdout.write(stdout);
    return JSON.parse(stdout.trimEnd().split("\n").at(-1));
  });
  console.log(JSON.stringify({ rows }));
}
