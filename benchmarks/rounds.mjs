/**
 * `npm run bench:rounds [-- --rows NAME,...] [--out FOLDER] [--strategies] [--no-search]`: communication rounds to a test accuracy on MNIST
 * beside those of McMahan et al. 2017 (arXiv 1602.05629), tables 1 and 2, with the paper's search for the learning rate. Every
 * run is kept in the folder and not made again. Its last line is one JSON object.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commit } from "../tools/commit.mjs";
import { dataOf, lab, run, startPool } from "../tools/lab/node.mjs";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";

/** E, B and what the paper found; `most` ends a run that comes to nothing. */
const ROWS = {
  "2nn-iid": { model: "mnist-2nn", partition: "iid", E: 1, B: 10, paper: 87, most: 200, center: 0.1 },
  "2nn-non-iid": { model: "mnist-2nn", partition: "shards", E: 1, B: 10, paper: 664, most: 1000, center: 0.046416 },
  "2nn-fedsgd-iid": {
    model: "mnist-2nn",
    partition: "iid",
    E: 1,
    B: Infinity,
    paper: 1474,
    most: 2500,
    center: 0.46416,
  },
  "cnn-e5-iid": { model: "mnist-cnn", partition: "iid", E: 5, B: 10, paper: 20, most: 40, center: 0.1 },
  "cnn-e1-iid": { model: "mnist-cnn", partition: "iid", E: 1, B: 10, paper: 34, most: 70, center: 0.1 },
  "cnn-e5-non-iid": { model: "mnist-cnn", partition: "shards", E: 5, B: 10, paper: 229, most: 400, center: 0.046416 },
};
const TARGETS = { "mnist-2nn": 0.97, "mnist-cnn": 0.99 };
/** "Multiplicative grid of resolution 10^(1/3)": section 3 of the paper. */
const STEP = 10 ** (1 / 3);

const options = optionsOf(import.meta.url, {
  rows: { type: "string", default: "2nn-iid,2nn-non-iid" },
  out: { type: "string", default: join(root, ".state/rounds") },
  strategies: { type: "boolean", default: false },
  "no-search": { type: "boolean", default: false },
});
mkdirSync(options.out, { recursive: true });
const chosen = options.rows === "" ? [] : options.rows.split(",");
for (const name of chosen) {
  if (!(name in ROWS)) {
    console.error(`There is no row ${name}. There are: ${Object.keys(ROWS).join(", ")}.`);
    process.exit(1);
  }
}

const data = await dataOf({ dataset: "mnist", camera: { gain: 1, angle: 0, mirror: false } });
const workers = await startPool({ model: "mnist-2nn" }, data);

/** Runs a configuration, or reads what it gave before: rounds to the target, or null where `most` did not do. */
async function rounds(name, config) {
  const file = join(options.out, `${name}.json`);
  const target = TARGETS[config.model];
  const full = lab.parseLabConfig({ name, dataset: "mnist", clients: 100, fraction: 0.1, seed: 1, target, ...config });
  let exported = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
  const known = exported && (exported.ended === "target" || exported.rounds.length >= config.rounds);
  if (!known) {
    const begun = Date.now();
    await workers.start(config.model, data);
    try {
      exported = lab.exportRun(full, await run(full, { data, pool: workers.pool }), commit());
    } catch (error) {
      // A learning rate that is too high is an answer, too.
      if (error.name !== "DivergedError") throw error;
      exported = { config: full, ended: "diverged", rounds: Array(config.rounds).fill({ testAccuracy: 0 }) };
    }
    exported.seconds = (Date.now() - begun) / 1000;
    writeFileSync(file, JSON.stringify(exported));
  }
  const curve = exported.rounds.map(({ testAccuracy }, i) => ({ round: i + 1, accuracy: testAccuracy ?? 0 }));
  const found = lab.roundsTo(target, curve.slice(0, config.rounds));
  const best = Math.max(...curve.map(({ accuracy }) => accuracy));
  console.log(
    `  ${name.padEnd(44)}${found === null ? `not in ${config.rounds} (best ${(best * 100).toFixed(2)} %)` : found.toFixed(1)}`,
  );
  return found;
}

/** The best learning rate around a centre: the grid grows until its best point lies inside, as the paper has it. */
async function search(name, config, { center, most }) {
  const found = new Map();
  const ask = async (i) => {
    if (found.has(i)) return;
    const least = Math.min(most, ...[...found.values()].filter((value) => value !== null).map(Math.ceil));
    const learningRate = Number((center * STEP ** i).toPrecision(5));
    found.set(i, await rounds(`${name}-lr${learningRate}`, { ...config, learningRate, rounds: least }));
  };
  for (let at = 0; ;) {
    for (const i of options["no-search"] ? [at] : [at, at - 1, at + 1]) await ask(i);
    const known = [...found].filter(([, value]) => value !== null);
    if (known.length === 0) return null;
    const [best, value] = known.reduce((a, b) => (b[1] < a[1] ? b : a));
    if (best === at) return { rounds: value, learningRate: Number((center * STEP ** best).toPrecision(5)) };
    at = best;
  }
}

const rows = [];
for (const name of chosen) {
  const { model, partition, E, B, paper, ...grid } = ROWS[name];
  console.log(`${name}: ${model}, ${partition}, C = 0.1, E = ${E}, B = ${B}`);
  const batchSize = Number.isFinite(B) ? B : 600; // All that a client has.
  const config = { model, partition, epochs: E, batchSize, shardsPerClient: 2 };
  const best = await search(name, config, grid);
  const ours = best === null ? null : Math.round(best.rounds);
  const row = {
    model,
    partition: partition === "shards" ? "non-IID" : "IID",
    E,
    B: Number.isFinite(B) ? B : "inf",
    C: 0.1,
  };
  rows.push({ ...row, paper, ours, learningRate: best?.learningRate ?? null });
}

/** Which strategy needs the fewest rounds where every client has two digits, each with a few values of its own parameter. */
const strategies = [];
if (options.strategies) {
  const base = {
    ...{ model: "mnist-2nn", partition: "shards", shardsPerClient: 2, epochs: 1, batchSize: 10 },
    learningRate: rows.find(({ partition }) => partition === "non-IID")?.learningRate ?? 0.046416,
  };
  const plain = rows.find(({ model, partition }) => model === "mnist-2nn" && partition === "non-IID")?.ours ?? 1000;
  const tried = {
    FedProx: [0.001, 0.01].map((proximal) => ({ proximal })),
    FedAvgM: [0.3, 1].map((rate) => ({ serverOptimizer: "momentum", serverLearningRate: rate })),
    FedAdam: [0.003, 0.01, 0.03].map((rate) => ({ serverOptimizer: "adam", serverLearningRate: rate })),
  };
  console.log("strategies: 2NN, non-IID, E = 1, B = 10");
  strategies.push({ strategy: "FedAvg", rounds: plain, with: {} });
  for (const [strategy, variants] of Object.entries(tried)) {
    let best = null;
    for (const variant of variants) {
      const label = Object.values(variant).join("-");
      // More than FedAvg needs is no answer to which needs the fewest.
      const most = Math.ceil(best?.rounds ?? plain);
      const found = await rounds(`strategy-${strategy}-${label}`, { ...base, ...variant, rounds: most });
      if (found !== null && (best === null || found < best.rounds)) best = { rounds: found, with: variant };
    }
    strategies.push({ strategy, rounds: best === null ? null : Math.round(best.rounds), with: best?.with ?? null });
  }
}
await workers.stop();
for (const { model, partition, E, B, paper, ours } of rows) {
  console.log(`${model} ${partition} E=${E} B=${B}: ours ${ours ?? "not reached"}, the paper's ${paper}`);
}
console.log(JSON.stringify({ rows, ...(strategies.length > 0 ? { strategies } : {}) }));
