/**
 * The same federation in the lab, for `bench:flower`, in a process of its own.
 *
 * Usage: node lab.mjs PLAN; the file holds {config, workers, out}. What it writes to `out` is what simulation.py writes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dataOf, run, startPool } from "../../tools/lab/node.mjs";

const begun = Date.now() / 1000;
const { config, workers, out } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const data = await dataOf(config);
const { pool, stop } = await startPool(config, data, workers);
const evaluations = [];
let start = 0;
await run(config, {
  data,
  pool,
  onProgress: ({ doing }) => {
    if (doing === "evaluating") start = Date.now() / 1000;
  },
  onRound: ({ evaluation }) => {
    evaluations.push({ begun: start, ended: Date.now() / 1000, accuracy: evaluation.accuracy });
  },
});
await stop();
writeFileSync(out, JSON.stringify({ begun, evaluations }));
