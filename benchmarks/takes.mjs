/**
 * `npm run bench:takes -- --data FILE`: what a take's score says about its label, and so from which score on a take may train without
 * the player's word: for each shipped model and each score, the share of people's faces that reach it in the role that they show, and
 * in one of the six that they do not show. FILE: labelled faces on which the checkpoints were not trained (tools/faces.mjs). The last
 * line is one JSON object.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runnerImport } from "vite";
import { facesOf, fail, LABELS } from "../tools/faces.mjs";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";

const SCORES = [30, 40, 50, 60, 70, 80, 90];
const BATCH = 64;
const values = optionsOf(import.meta.url, { data: { type: "string" } });
if (!values.data) fail("npm run bench:takes -- --data FILE: name a file of labelled faces.");

const { scoreOf } = (await runnerImport(join(root, "src/game/scoring.ts"))).module;
const { FOR_TRAINING } = (await runnerImport(join(root, "src/game/for-training.ts"))).module;
const faces = [];
for await (const face of facesOf(values.data)) faces.push(face);
const { page, close } = await openPage();
const result = { faces: faces.length, forTraining: FOR_TRAINING };
for (const model of ["seed", "compact"]) {
  const file = readFileSync(join(root, `public/models/${model}/initial.safetensors`)).toString("base64");
  await page.evaluate(
    async ([model, text]) => {
      window.classifier = window.harness.worker();
      await window.classifier.load(model, window.harness.fromBase64(text));
    },
    [model, file],
  );
  /** Of every face its label and the score that it would get in each role. */
  const scored = [];
  for (let at = 0; at < faces.length; at += BATCH) {
    const batch = faces.slice(at, at + BATCH);
    const { probabilities } = await page.evaluate(
      (text) => window.classifier.classify(window.harness.fromBase64(text)),
      Buffer.concat(batch.map(([, pixels]) => pixels)).toString("base64"),
    );
    batch.forEach(([label], i) =>
      scored.push({ label, scores: LABELS.map((_, role) => scoreOf(probabilities[i], role, model)) }),
    );
  }
  const share = (count, of) => Number((count / of).toFixed(4));
  result[model] = SCORES.map((score) => {
    const right = scored.filter(({ label, scores }) => scores[label] >= score).length;
    const wrong = scored.reduce(
      (sum, { label, scores }) => sum + scores.filter((one, role) => role !== label && one >= score).length,
      0,
    );
    return { score, right: share(right, scored.length), wrong: share(wrong, scored.length * (LABELS.length - 1)) };
  });
  console.table(result[model]);
}
await close();
console.log(JSON.stringify(result));
