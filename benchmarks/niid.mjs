/**
 * `npm run bench:niid [-- --state FILE --rounds N --epochs N --mus N,... --partitions NAME,... --strategies NAME,... --seeds N
 * --minutes N --workers N]`: the label skew of NIID-Bench (Li et al. 2022, arXiv 2102.02079, table 3, the rows of MNIST) in our lab: ten
 * clients, all in every round, that share 60,000 digits, B = 64, E and the number of rounds as asked (the paper's 10 and 50), tested on
 * all 10,000 after every round. The paper trains by SGD 0.01 with momentum 0.9 and a weight decay of 0.00001; here by plain SGD 0.1,
 * whose steps come to the same size, for FedNova and SCAFFOLD are of plain SGD in the lab, and its first convolution has six filters,
 * ours (`mnist-lenet`) eight. SCAFFOLD averages as its own paper does, all alike. FedProx counts by its best of `mus`, SCAFFOLD, which
 * does not hold at 0.1 where clients have two labels, by the better of 0.1 and 0.03. Every round stands in FILE and the folder beside it:
 * a run that was broken off, or that had fewer rounds, goes on. `accuracy` is of the shared model after the last round, in per cent, with
 * its seeds' deviation, 0 of a run that diverged, `best` that of its best round. Its last line is one JSON object.
 */
import { join } from "node:path";
import { optionsOf } from "../tools/options.mjs";
import { root } from "../tools/setup.mjs";
import { chosen, deviation, keptRuns, mean, percent } from "./kept-runs.mjs";

const BASE = {
  dataset: "mnist",
  model: "mnist-lenet",
  clients: 10,
  fraction: 1,
  batchSize: 64,
  learningRate: 0.1,
};
const PARTITIONS = {
  "labels-2": { partition: "labels", labelsPerClient: 2 },
  "labels-1": { partition: "labels", labelsPerClient: 1 },
  "labels-3": { partition: "labels", labelsPerClient: 3 },
  "dirichlet-0.5": { partition: "dirichlet-symmetric", alpha: 0.5 },
};

const options = optionsOf(import.meta.url, {
  state: { type: "string", default: join(root, ".state/niid.json") },
  rounds: { type: "count", default: "50" },
  epochs: { type: "count", default: "10" },
  mus: { type: "string", default: "0.01" },
  partitions: { type: "string", default: Object.keys(PARTITIONS).join(",") },
  strategies: { type: "string", default: "FedAvg,FedProx,SCAFFOLD,FedNova" },
  seeds: { type: "count", default: "1" },
  minutes: { type: "count" },
  workers: { type: "count" },
});
/** What each is tried with. */
const STRATEGIES = {
  FedAvg: [{}],
  FedProx: options.mus.split(",").map((mu) => ({ proximal: Number(mu) })),
  SCAFFOLD: [0.1, 0.03].map((learningRate) => ({
    learningRate,
    strategy: "scaffold",
    strategyOptions: { serverLearningRate: 1 },
  })),
  FedNova: [{ aggregation: "fednova" }],
};
const partitions = chosen(options.partitions, PARTITIONS, "partitions");
const strategies = chosen(options.strategies, STRATEGIES, "strategies");

const lastOf = ({ curve, diverged }) => (diverged ? 0 : (curve.at(-1) ?? 0));
const bestOf = ({ curve }) => Math.max(0, ...curve);
const runs = keptRuns(options.state, {
  ...options,
  goesOn: true,
  say: (found) => `${percent(lastOf(found))} %, at best ${percent(bestOf(found))} %`,
});

/** All seeds of one way to train, or those that time was left for. */
async function trained(partition, name, variant) {
  const found = [];
  for (let seed = 1; seed <= options.seeds; seed++) {
    const { epochs } = options;
    const changes = { ...BASE, epochs, ...PARTITIONS[partition], ...variant, seed };
    const one = await runs.outcome(`${partition} ${name}`, changes, options.rounds);
    // What was run on for longer counts as far as is asked for.
    if (one) found.push({ ...one, curve: one.curve.slice(0, options.rounds) });
  }
  return { variant, found };
}

const cells = [];
for (const partition of partitions) {
  console.log(`${partition}:`);
  for (const name of strategies) {
    const tried = [];
    for (const variant of STRATEGIES[name]) tried.push(await trained(partition, name, variant));
    const known = tried.filter(({ found }) => found.length > 0);
    if (known.length === 0) continue;
    const scoreOf = ({ found }) => mean(found.map(lastOf));
    const [{ variant, found }] = known.toSorted((a, b) => scoreOf(b) - scoreOf(a));
    const all = (values) => `${percent(mean(values))} ± ${percent(deviation(values))}`;
    cells.push({
      partition,
      strategy: name,
      with: variant.proximal ?? variant.learningRate ?? "",
      rounds: Math.min(...found.map(({ curve }) => curve.length)),
      seeds: found.length,
      ...(found.some(({ diverged }) => diverged) && { diverged: found.filter(({ diverged }) => diverged).length }),
      accuracy: all(found.map(lastOf)),
      best: all(found.map(bestOf)),
    });
  }
}
await runs.stop();
console.table(cells);
console.log(JSON.stringify({ clients: BASE.clients, epochs: options.epochs, cells }));
process.exit(0);
