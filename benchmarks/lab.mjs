/**
 * `npm run bench:lab [-- --seconds N --python FILE]`: client updates a second of the lab, with one worker and with two, beside one thread of
 * NumPy: McMahan's 2NN, 600 digits of MNIST a client, E = 1, B = 10. They take turns, each for N seconds, three times, for a machine is
 * seldom quiet; the best of each counts. NumPy is looked for in `--python`. Its last line is one JSON object.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { dataOf, lab, startOf, startPool } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";
import { root } from "../tools/setup.mjs";

const TURNS = 3;
const { seconds, python } = optionsOf(import.meta.url, {
  seconds: { type: "count", default: "8" },
  python: { type: "string", default: "python3" },
});

const { config } = lab.PRESETS.get("mcmahan-2nn");
const data = await dataOf(config);
const shares = lab.shareOut(config, data.train);
const weights = startOf(config);
const plan = lab.planOf(config, config.learningRate);

/** Trains clients for some time on all of a pool's workers. */
async function updatesOf(pool, workers) {
  let next = 0;
  const one = async () => {
    const client = next++ % config.clients;
    await pool.train({
      ...{ weights, train: shares.train[client], heldOut: new Uint32Array(), plan, norms: null },
      seed: lab.clientSeed(config.seed, 1, client),
    });
  };
  for (let i = 0; i < 2 * workers; i++) await one();
  const begun = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (performance.now() - begun < seconds * 1000) {
        await one();
        done += 1;
      }
    }),
  );
  return done / ((performance.now() - begun) / 1000);
}

function numpy() {
  const environment = Object.fromEntries(
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map((name) => [name, "1"]),
  );
  try {
    const file = join(root, "benchmarks/lab-numpy.py");
    const said = execFileSync(python, [file, String(seconds)], {
      encoding: "utf8",
      env: { ...process.env, ...environment },
    });
    return JSON.parse(said).updatesPerSecond;
  } catch (error) {
    console.error(`No NumPy beside it: ${error.message.split("\n")[0]}`);
    return null;
  }
}

const best = { 1: 0, 2: 0, numpy: null };
for (let turn = 0; turn < TURNS; turn++) {
  for (const workers of [1, 2]) {
    const { pool, stop } = await startPool(config, data, workers);
    best[workers] = Math.max(best[workers], await updatesOf(pool, workers));
    await stop();
  }
  const theirs = numpy();
  if (theirs !== null) best.numpy = Math.max(best.numpy ?? 0, theirs);
  const line = [best[1], best[2], best.numpy].map((value) => value?.toFixed(1) ?? "-").join(" / ");
  console.log(`after turn ${turn + 1}: one worker / two / NumPy: ${line} updates a second`);
}
const round = (value) => (value === null ? null : Number(value.toFixed(2)));
console.log(
  JSON.stringify({
    updatesPerSecond: { 1: round(best[1]), 2: round(best[2]) },
    numpy: round(best.numpy),
    ratio: best.numpy === null ? null : round(best[1] / best.numpy),
  }),
);
process.exit(0);
