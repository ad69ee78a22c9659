/**
 * `npm run bench:poisoning [-- --rounds 30] [--shares 0.1,0.2,0.3] [--attacks NAME,...]`: what dishonest clients do to a federation
 * of 100 clients on MNIST with the 2NN, ten in a round, by attack, their share, and what the server does about them; test accuracy
 * and success of the attack, each the mean of the last five rounds. Its last line is one JSON object.
 */
import { dataOf, lab, run, startPool } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  rounds: { type: "count", default: "30" },
  shares: { type: "string", default: "0.1,0.2,0.3" },
  attacks: { type: "string", default: "label-flip,sign-flip,backdoor,replacement" },
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
const rows = [];
for (const attack of ["none", ...values.attacks.split(",")]) {
  for (const attackers of attack === "none" ? [0] : values.shares.split(",").map(Number)) {
    const attacked = lab.parseLabConfig({ ...base, attack, attackers });
    const data = lab.poison(clean, attacked);
    await start(base.model, data);
    for (const [defence, changes] of Object.entries(DEFENCES)) {
      const { rounds } = await run(lab.parseLabConfig({ ...attacked, ...changes }), { data, pool });
      const last = rounds.slice(-5);
      const success = last.flatMap(({ attackSuccess }) => (attackSuccess === null ? [] : [attackSuccess]));
      rows.push({
        ...{ attack, attackers, defence, accuracy: round(mean(last.map(({ testAccuracy }) => testAccuracy))) },
        success: success.length > 0 ? round(mean(success)) : null,
      });
      console.log(JSON.stringify(rows.at(-1)));
    }
  }
}
await stop();
console.log(JSON.stringify({ rounds: base.rounds, rows }));
