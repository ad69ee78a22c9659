/**
 * `npm run bench:rounds [-- --rows NAME,... --state FILE --strategies --no-search --probe N --seeds N --every N --minutes N --workers N]`:
 * communication rounds to a test accuracy on MNIST beside those of McMahan et al. 2017 (arXiv 1602.05629), tables 1 and 2, with the
 * paper's search for the learning rate and the first seed. With --probe the rate is the one that is best after N rounds, with --no-search
 * the row's own. --every N tests after every Nth round only. Every round stands in FILE and the folder beside it: a run that was broken
 * off goes on, and after N minutes no other begins. Its last line is one JSON object.
 */
import { join } from "node:path";
import { lab } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";
import { root } from "../tools/setup.mjs";
import { chosen, deviation, keptRuns, mean } from "./kept-runs.mjs";

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
  "cnn-e1-non-iid": { model: "mnist-cnn", partition: "shards", E: 1, B: 10, paper: 350, most: 600, center: 0.1 },
  "cnn-fedsgd-iid": {
    model: "mnist-cnn",
    partition: "iid",
    E: 1,
    B: Infinity,
    paper: 626,
    most: 1000,
    center: 0.21544,
  },
  "cnn-e5-non-iid": { model: "mnist-cnn", partition: "shards", E: 5, B: 10, paper: 229, most: 400, center: 0.046416 },
};
const TARGETS = { "mnist-2nn": 0.97, "mnist-cnn": 0.99 };
/** "Multiplicative grid of resolution 10^(1/3)": section 3 of the paper. */
const STEP = 10 ** (1 / 3);

const options = optionsOf(import.meta.url, {
  rows: { type: "string", default: "2nn-iid,2nn-non-iid" },
  state: { type: "string", default: join(root, ".state/rounds.json") },
  strategies: { type: "boolean", default: false },
  "no-search": { type: "boolean", default: false },
  probe: { type: "count" },
  seeds: { type: "count", default: "1" },
  every: { type: "count", default: "1" },
  minutes: { type: "count" },
  workers: { type: "count" },
});
const names = options.rows === "" ? [] : chosen(options.rows, ROWS, "rows");
/** Of the curve's tested rounds. */
const tested = (curve, rounds = Infinity) =>
  curve.flatMap((accuracy, i) => (accuracy === null || i >= rounds ? [] : [{ round: i + 1, accuracy }]));
const bestOf = (curve) => Math.max(0, ...tested(curve).map(({ accuracy }) => accuracy));
const runs = keptRuns(options.state, {
  ...options,
  goesOn: true,
  say: ({ curve }) => `at best ${(100 * bestOf(curve)).toFixed(2)} % in ${curve.length} rounds`,
});

/** A configuration's curve; null where time was up before it began. */
async function curveOf(name, config, rounds, seed = 1) {
  const base = {
    dataset: "mnist",
    clients: 100,
    fraction: 0.1,
    evaluateEvery: options.every,
    target: TARGETS[config.model],
  };
  const found = await runs.outcome(name, { ...base, ...config, seed }, rounds);
  return found?.curve ?? null;
}

/** Rounds to the target, or null where they do not do or have not been run. */
async function rounds(name, config, most, seed) {
  const curve = await curveOf(name, config, most, seed);
  return curve && lab.roundsTo(TARGETS[config.model], tested(curve, most));
}

const rateAt = (center, i) => Number((center * STEP ** i).toPrecision(5));

/** The best learning rate around a centre: the grid grows until its best point lies inside, as the paper has it. */
async function search(name, config, { center, most }) {
  const found = new Map();
  const ask = async (i) => {
    if (found.has(i)) return;
    const least = Math.min(most, ...[...found.values()].filter((value) => value !== null).map(Math.ceil));
    found.set(i, await rounds(name, { ...config, learningRate: rateAt(center, i) }, least));
  };
  for (let at = 0; ;) {
    for (const i of [at, at - 1, at + 1]) await ask(i);
    const known = [...found].filter(([, value]) => value !== null);
    if (known.length === 0) return null;
    const [best] = known.reduce((a, b) => (b[1] < a[1] ? b : a));
    if (best === at) return rateAt(center, best);
    at = best;
  }
}

/** The learning rate around a centre that is best after a few rounds. */
async function probe(name, config, { center }) {
  const found = [];
  for (const i of [0, -1, 1]) {
    const learningRate = rateAt(center, i);
    const curve = await curveOf(name, { ...config, learningRate }, options.probe);
    if (curve) found.push({ learningRate, best: bestOf(curve.slice(0, options.probe)) });
  }
  return found.toSorted((a, b) => b.best - a.best)[0]?.learningRate ?? null;
}

const rows = [];
for (const name of names) {
  const { model, partition, E, B, paper, ...grid } = ROWS[name];
  console.log(`${name}: ${model}, ${partition}, C = 0.1, E = ${E}, B = ${B}`);
  const batchSize = Number.isFinite(B) ? B : 600; // All that a client has.
  const config = { model, partition, epochs: E, batchSize, shardsPerClient: 2 };
  const find = options.probe ? probe : search;
  const learningRate = options["no-search"] ? grid.center : await find(name, config, grid);
  const ours = [];
  for (let seed = 1; learningRate !== null && seed <= options.seeds; seed++) {
    ours.push(await rounds(name, { ...config, learningRate }, grid.most, seed));
  }
  rows.push({
    model,
    partition: partition === "shards" ? "non-IID" : "IID",
    E,
    B: Number.isFinite(B) ? B : "inf",
    C: 0.1,
    paper,
    ours: ours.map((value) => value && Math.round(value)),
    learningRate,
  });
}

/** Which strategy needs the fewest rounds where every client has two digits, each with a few values of its own parameter. */
const strategies = [];
if (options.strategies) {
  const base = {
    ...{ model: "mnist-2nn", partition: "shards", shardsPerClient: 2, epochs: 1, batchSize: 10 },
    learningRate: rows.find(({ partition }) => partition === "non-IID")?.learningRate ?? 0.046416,
  };
  const plain = rows.find(({ model, partition }) => model === "mnist-2nn" && partition === "non-IID")?.ours[0] ?? 1000;
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
      // More than FedAvg needs is no answer to which needs the fewest.
      const most = Math.ceil(best?.rounds ?? plain);
      const found = await rounds(strategy, { ...base, ...variant }, most);
      if (found !== null && (best === null || found < best.rounds)) best = { rounds: found, with: variant };
    }
    strategies.push({ strategy, rounds: best === null ? null : Math.round(best.rounds), with: best?.with ?? null });
  }
}
await runs.stop();
for (const { model, partition, E, B, paper, ours } of rows) {
  const all = ours.map((value) => value ?? "not reached").join(", ");
  const known = ours.filter((value) => value !== null);
  const most = known.length > 1 ? ` (${mean(known).toFixed(0)} ± ${deviation(known).toFixed(0)})` : "";
  console.log(`${model} ${partition} E=${E} B=${B}: ours ${all}${most}, the paper's ${paper}`);
}
console.log(JSON.stringify({ rows, ...(strategies.length > 0 ? { strategies } : {}) }));
process.exit(0);
