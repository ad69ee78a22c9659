/**
 * `npm run bench:accuracy -- --data FILE [--model seed|compact] [--checkpoint FILE]
 * [--no-peers]`: the shipped checkpoint on labelled faces, through the app's own inference in a browser on WASM; beside it other
 * people's models: see peers.mjs. faces.mjs says what FILE may be. Its last line is one JSON object.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";
import { facesOf, fail, LABELS } from "../tools/faces.mjs";
import { comparePeers } from "./peers.mjs";
import { optionsOf } from "../tools/options.mjs";

const BATCH = 64;
const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  model: { type: "string", default: "seed" },
  checkpoint: { type: "string" },
  "no-peers": { type: "boolean", default: false },
});
if (!values.data) fail("npm run bench:accuracy -- --data FILE: name a file of labelled faces.");

const { page, close } = await openPage();
const { model } = values;
const file = values.checkpoint ?? join(root, `public/models/${model}/initial.safetensors`);
await page.evaluate(
  async ([model, text]) => {
    window.classifier = window.harness.worker();
    await window.classifier.load(model, window.harness.fromBase64(text));
  },
  [model, readFileSync(file).toString("base64")],
);

const confusion = LABELS.map(() => LABELS.map(() => 0));
/** For calibration: of the guesses in each tenth of confidence how many there are, their confidence, and how many are right. */
const bins = Array.from({ length: 10 }, () => ({ count: 0, confidence: 0, right: 0 }));
let faces = 0;
let ms = 0;
let loss = 0;
async function judge(labels, pixels) {
  const answer = await page.evaluate(
    (text) => window.classifier.classify(window.harness.fromBase64(text)),
    Buffer.concat(pixels).toString("base64"),
  );
  ms += answer.ms;
  answer.probabilities.forEach((row, i) => {
    const confidence = Math.max(...row);
    const guess = row.indexOf(confidence);
    const bin = bins[Math.min(9, Math.floor(confidence * 10))];
    bin.count += 1;
    bin.confidence += confidence;
    bin.right += Number(guess === labels[i]);
    confusion[labels[i]][guess] += 1;
    loss -= Math.log(Math.max(1e-7, row[labels[i]]));
    faces += 1;
  });
}
let labels = [];
let pixels = [];
const all = [];
for await (const [label, face] of facesOf(values.data)) {
  if (!values["no-peers"]) all.push([label, face]);
  labels.push(label);
  pixels.push(face);
  if (labels.length === BATCH) {
    await judge(labels, pixels);
    [labels, pixels] = [[], []];
  }
}
if (labels.length > 0) await judge(labels, pixels);
await close();
const peers = values["no-peers"] ? {} : await comparePeers(all);

const round = (value) => Number(value.toFixed(4));
const right = confusion.reduce((sum, row, i) => sum + row[i], 0);
console.table(
  Object.fromEntries(confusion.map((row, i) => [LABELS[i], Object.fromEntries(row.map((n, j) => [LABELS[j], n]))])),
);
console.log(
  JSON.stringify({
    model,
    faces,
    accuracy: round(right / faces),
    loss: round(loss / faces),
    recall: confusion.map((row, i) =>
      round(
        row[i] /
          Math.max(
            1,
            row.reduce((a, b) => a + b, 0),
          ),
      ),
    ),
    confusion,
    calibrationError: round(bins.reduce((sum, { confidence, right }) => sum + Math.abs(confidence - right), 0) / faces),
    msPerFace: round(ms / faces),
    peers,
  }),
);
