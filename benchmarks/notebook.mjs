/**
 * `npm run bench:notebook -- --data FOLDER [--seeds 10] [--recalibrated 3]`: the 2020 notebook as it ran and as it was meant, over
 * several seeds, beside the notebook's own numbers; and why its test loss is so bad: the final weights tested with the moving
 * statistics that were never federated, with averaged ones, and with ones that fit. Its last line is one JSON object.
 */
import { dataOf, lab, run, startPool } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  seeds: { type: "count", default: "10" },
  recalibrated: { type: "string", default: "3" },
});
/** What stands under the notebook's cells: accuracy and loss in training after 6, 12 and 18 rounds, and on 5 test faces. */
const NOTEBOOK = { 6: [0.8, 0.577], 12: [0.867, 0.399], 18: [1, 0.244], test: [0.2, 6.03] };
/** Passes over the faces in which the statistics come to fit: momentum 0.99 leaves 5 % of the first ones. */
const PASSES = 300;

const presets = ["seed-notebook", "seed-intended"].map((name) => lab.PRESETS.get(name).config);
const data = await dataOf(presets[0], values.data);
const { pool, stop } = await startPool(presets[0], data);

const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const spread = (list) =>
  Math.sqrt(list.reduce((sum, x) => sum + (x - mean(list)) ** 2, 0) / Math.max(1, list.length - 1));
const both = (list) => ({ mean: Number(mean(list).toFixed(3)), sd: Number(spread(list).toFixed(3)) });
const say = ({ mean, sd }) => `${mean.toFixed(3)} ± ${sd.toFixed(3)}`;

/** Accuracies and losses over the seeds, in training and on the test faces. */
async function runs(config, onEnd) {
  const rounds = [];
  for (let i = 0; i < values.seeds; i++) {
    const own = lab.parseLabConfig({ ...config, seed: config.seed + i });
    const state = await run(own, { data, pool });
    rounds.push(state.rounds);
    await onEnd?.(own, state, i);
  }
  const at = (round, key) => both(rounds.map((one) => one[round - 1][key]));
  return Object.fromEntries(
    [6, 12, 18].map((round) => [
      round,
      Object.fromEntries(
        ["trainAccuracy", "trainLoss", "testAccuracy", "testLoss"].map((key) => [key, at(round, key)]),
      ),
    ]),
  );
}

const results = {};
for (const config of presets) {
  results[config.name] = await runs(config);
  console.log(config.name);
  for (const [round, one] of Object.entries(results[config.name])) {
    const [accuracy, loss] = NOTEBOOK[round];
    console.log(
      `  after ${round.padStart(2)} rounds: training ${say(one.trainAccuracy)} / ${say(one.trainLoss)} (the notebook ${accuracy} / ${loss});` +
        ` test ${say(one.testAccuracy)} / ${say(one.testLoss)}`,
    );
  }
}
console.log(`the notebook's test: ${NOTEBOOK.test.join(" / ")}`);

// The same training gives the same weights, whatever happens to the statistics, which training does not use.
const [notebook] = presets;
const fitting = [];
const averaged = await runs({ ...notebook, statistics: "average" }, async (config, state, i) => {
  if (i >= Number(values.recalibrated)) return;
  const { train } = lab.shareOut(config, data.train);
  const all = Uint32Array.from(train.flatMap((own) => [...own]));
  const plan = { ...lab.planOf(config, 1e-12), epochs: PASSES, batchSize: all.length };
  const { delta } = await pool.train({
    weights: state.weights,
    train: all,
    heldOut: new Uint32Array(),
    plan,
    seed: 1,
    norms: null,
  });
  const weights = state.weights.map((value, j) => value + delta[j]);
  const examples = Uint32Array.from({ length: 100 }, (_, j) => j * 35);
  fitting.push(await pool.evaluate({ weights, of: "test", examples }));
});
await stop();
const last = {
  never: results["seed-notebook"][18],
  averaged: averaged[18],
  fitting: {
    testAccuracy: both(fitting.map(({ accuracy }) => accuracy)),
    testLoss: both(fitting.map(({ loss }) => loss)),
  },
};
console.log("the notebook's final weights, tested with moving statistics that");
for (const [name, words] of [
  ["never", "were never federated"],
  ["averaged", "were averaged in every round"],
  ["fitting", `were taken anew from the 15 training faces (${fitting.length} seeds)`],
]) {
  console.log(`  ${words}: ${say(last[name].testAccuracy)} / ${say(last[name].testLoss)}`);
}
console.log(JSON.stringify({ seeds: values.seeds, notebook: NOTEBOOK, ...results, statistics: last }));
