/**
 * `npm run bench:accuracy -- --data FILE [--checkpoint FILE]`: the shipped checkpoint on labelled faces, through the app's own
 * inference in a browser on WASM. FILE is FER2013's CSV (`emotion,pixels` or `emotion,Usage,pixels`, any order of columns) or
 * gzipped records of one label byte and 2,304 pixel bytes. Its last line is one JSON object.
 */
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";

const PIXELS = 2304;
const BATCH = 64;
const LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** The faces of a file as [label, pixels]. */
async function* facesOf(file) {
  if (!file.endsWith(".csv")) {
    const records = gunzipSync(readFileSync(file));
    if (records.length % (PIXELS + 1) !== 0) fail(`${file} does not hold records of ${PIXELS + 1} bytes.`);
    for (let at = 0; at < records.length; at += PIXELS + 1) {
      yield [records[at], records.subarray(at + 1, at + 1 + PIXELS)];
    }
    return;
  }
  let columns;
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    number += 1;
    const cells = line.split(",").map((cell) => cell.trim().replace(/^"|"$/g, ""));
    if (!columns) {
      columns = { label: cells.indexOf("emotion"), pixels: cells.indexOf("pixels") };
      if (columns.label < 0 || columns.pixels < 0)
        fail(`${file}: the first line must name the columns emotion and pixels.`);
      continue;
    }
    if (line === "") continue;
    const label = Number(cells[columns.label]);
    const pixels = Buffer.from(cells[columns.pixels]?.split(" ").map(Number) ?? []);
    if (!(label in LABELS) || pixels.length !== PIXELS) {
      fail(`${file}, line ${number}: a label of 0 to 6 and ${PIXELS} pixels were expected.`);
    }
    yield [label, pixels];
  }
}

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    checkpoint: { type: "string", default: join(root, "public/models/seed/initial.safetensors") },
  },
});
if (!values.data) fail("npm run bench:accuracy -- --data FILE: name a file of labelled faces.");

const { page, close } = await openPage();
const checkpoint = readFileSync(values.checkpoint).toString("base64");
await page.evaluate(async (text) => {
  window.classifier = window.harness.worker();
  await window.classifier.load(window.harness.fromBase64(text));
}, checkpoint);

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
for await (const [label, face] of facesOf(values.data)) {
  labels.push(label);
  pixels.push(face);
  if (labels.length === BATCH) {
    await judge(labels, pixels);
    [labels, pixels] = [[], []];
  }
}
if (labels.length > 0) await judge(labels, pixels);
await close();

const round = (value) => Number(value.toFixed(4));
const right = confusion.reduce((sum, row, i) => sum + row[i], 0);
console.table(
  Object.fromEntries(confusion.map((row, i) => [LABELS[i], Object.fromEntries(row.map((n, j) => [LABELS[j], n]))])),
);
console.log(
  JSON.stringify({
    model: "seed",
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
  }),
);
