/**
 * `npm run bench:poisoning [-- --rounds 30] [--shares 0.1,0.2,0.3] [--attacks NAME,...] [--lies NAME,...]`: what dishonest clients do to a
 * federation of 100 clients on MNIST with the 2NN, ten in a round, by attack, their share, and what the server does about them; and what
 * one in ten gains by claiming a hundred times the examples that it has, with and without the round's cap. Test accuracy and success of
 * the attack, each the mean of the last five rounds; `none` leaves a part out. Its last line is one JSON object.
 */
import { dataOf, lab, run, startPool } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  rounds: { type: "count", default: "30" },
  shares: { type: "string", default: "0.1,0.2,0.3" },
  attacks: { type: "string", default: "label-flip,sign-flip,backdoor,replacement" },
  lies: { type: "string", default: "label-flip,sign-flip,backdoor" },
});
// Three wrong ones in ten, which is also the most that Krum bears: it needs 2 f + 3.
const DEFENCES = {
  FedAvg: {},
  "clip 1": { updateClip: 1 },
  median: { aggregation: "median" },
  "trimmed mean": { aggregation: "trimmed-mean", byzantine: 3 },
  "Multi-Krum": { aggregation: "multi-krum", byzantine: 3 },
};
const { config } = lab.PRESETS.get("mcmahan-2nn");
const base = { ...config, rounds: values.rounds, learningRate: 0.1, target: null };
const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
const round = (value) => Number(value.toFixed(4));

const clean = await dataOf(base);
const { pool, start, stop } = await startPool(base, clean);
const listOf = (text) => (text === "none" ? [] : text.split(","));

/** Runs one federation for each of some changes to a configuration. */
async function compare(attacked, changes, about) {
  const data = lab.poison(clean, attacked);
  await start(base, data);
  const rows = [];
  for (const [name, change] of Object.entries(changes)) {
    const { rounds } = await run(lab.parseLabConfig({ ...attacked, ...change }), { data, pool });
    const last = rounds.slice(-5);
    const success = last.flatMap(({ attackSuccess }) => (attackSuccess === null ? [] : [attackSuccess]));
    rows.push({
      ...{ ...about, defence: name, accuracy: round(mean(last.map(({ testAccuracy }) => testAccuracy))) },
      success: success.length > 0 ? round(mean(success)) : null,
    });
    console.log(JSON.stringify(rows.at(-1)));
  }
  return rows;
}

const rows = [];
if (values.attacks !== "none") {
  for (const attack of ["none", ...listOf(values.attacks)]) {
    for (const attackers of attack === "none" ? [0] : values.shares.split(",").map(Number)) {
      const attacked = lab.parseLabConfig({ ...base, attack, attackers });
      rows.push(...(await compare(attacked, DEFENCES, { attack, attackers })));
    }
  }
}
/** What an honest client has here, which is what the cap is set to. */
const HONEST = 600;
const LIES = {
  "says what it has": {},
  "says a hundred times as much": { claim: 100 },
  "the same, with a cap": { claim: 100, maxExamples: HONEST },
};
const lies = [];
for (const attack of listOf(values.lies)) {
  const attacked = lab.parseLabConfig({ ...base, attack, attackers: 0.1 });
  lies.push(...(await compare(attacked, LIES, { attack, attackers: 0.1 })));
}
await stop();
console.log(JSON.stringify({ rounds: base.rounds, rows, lies }));
