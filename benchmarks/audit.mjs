/**
 * `npm run bench:audit [-- --runs 200000]`: what rounds with noise give away of one client, measured by an attacker who sees all that is
 * published, beside the epsilon that the pages show: see canary.ts. Its last line is one JSON object; it fails where a measured bound lies
 * above what is published.
 */
import { runnerImport } from "vite";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, { runs: { type: "count", default: "200000" } });
const { module } = await runnerImport(new URL("./canary.ts", import.meta.url).pathname);
const rows = [];
for (const [name, series] of Object.entries(module.AUDITED)) {
  // Large cohorts take longer: a few less are enough.
  const runs = Math.round(values.runs / Math.max(1, ((series.others + 1) * series.rounds) / 40));
  const { published, atLeast, ratio } = module.audit(series, runs);
  const round = (value) => Number(value.toFixed(3));
  rows.push({ series: name, published: round(published), atLeast: round(atLeast), ratio: round(ratio), runs });
  console.log(
    `${name}: published ${round(published)}, at least ${round(atLeast)}, ratio ${round(ratio)} (${runs} runs)`,
  );
}
console.log(JSON.stringify({ rows }));
if (rows.some(({ ratio }) => ratio > 1)) {
  console.error("A measured bound lies above the epsilon that is published.");
  process.exitCode = 1;
}
