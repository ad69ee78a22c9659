/**
 * `node tools/scoring.mjs --data FILE`: writes src/game/quantiles.ts, from which the game's score is made: for each shipped
 * checkpoint and each expression, how much probability the checkpoint gives to the expression in people's faces that show it, through
 * the app's own inference in a browser on WASM. FILE: FER2013's PublicTest, on which the checkpoints were not trained (faces.mjs).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { facesOf, fail, LABELS } from "./faces.mjs";
import { openPage } from "./harness/open.mjs";
import { root } from "./setup.mjs";
import { optionsOf } from "./options.mjs";

const STEPS = 20;
const BATCH = 64;
const values = optionsOf(import.meta.url, { data: { type: "string" } });
if (!values.data) fail("node tools/scoring.mjs --data FILE: name a file of labelled faces.");

const faces = [];
for await (const face of facesOf(values.data)) faces.push(face);
const { page, close } = await openPage();
const tables = {};
for (const model of ["seed", "compact"]) {
  const file = readFileSync(join(root, `public/models/${model}/initial.safetensors`)).toString("base64");
  await page.evaluate(
    async ([model, text]) => {
      window.classifier = window.harness.worker();
      await window.classifier.load(model, window.harness.fromBase64(text));
    },
    [model, file],
  );
  const given = LABELS.map(() => []);
  for (let at = 0; at < faces.length; at += BATCH) {
    const batch = faces.slice(at, at + BATCH);
    const { probabilities } = await page.evaluate(
      (text) => window.classifier.classify(window.harness.fromBase64(text)),
      Buffer.concat(batch.map(([, pixels]) => pixels)).toString("base64"),
    );
    batch.forEach(([label], i) => given[label].push(probabilities[i][label]));
  }
  tables[model] = given.map((shares) => {
    shares.sort((a, b) => a - b);
    const quantile = (q) => {
      const at = q * (shares.length - 1);
      const low = shares[Math.floor(at)];
      return low + (at - Math.floor(at)) * (shares[Math.ceil(at)] - low);
    };
    return Array.from({ length: STEPS + 1 }, (_, i) => Number(quantile(i / STEPS).toPrecision(4)));
  });
}
await close();
writeFileSync(
  join(root, "src/game/quantiles.ts"),
  `import type { ModelName } from "../core/model";

/**
 * Made by tools/scoring.mjs from FER2013's PublicTest. By model and label: the 0th, 5th, ... and 100th percentile of the probability
 * that the shipped checkpoint gives to an expression in faces that show it.
 */
export const QUANTILES: Partial<Record<ModelName, readonly (readonly number[])[]>> = {
${Object.entries(tables)
  .map(([model, rows]) => `  ${model}: [\n${rows.map((row) => `    [${row.join(", ")}],`).join("\n")}\n  ],`)
  .join("\n")}
};
`,
);
