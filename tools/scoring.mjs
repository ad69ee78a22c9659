/**
 * `node tools/scoring.mjs --data FILE --votes FILE`: writes src/play/quantiles.ts, from which the game's score is made: for each shipped
 * checkpoint and each expression, how much probability the checkpoint gives to the expression in faces that at least half of ten people
 * give it, and in their mirror images, through the app's own inference in a browser on WASM. FILEs: FER2013's PublicTest, on which
 * the checkpoints were not trained (faces.mjs), and FER+'s votes for it.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openClassifiers, shippedCheckpoint } from "../benchmarks/classifier.mjs";
import { facesAsSeen } from "../benchmarks/people.mjs";
import { fail, LABELS } from "./faces.mjs";
import { root } from "./setup.mjs";
import { optionsOf } from "./options.mjs";

const STEPS = 20;
/** Votes of ten from which on people agree. */
const AGREED = 5;
const SIDE = 48;
const values = optionsOf(import.meta.url, { data: { type: "string" }, votes: { type: "string" } });
if (!values.data || !values.votes) {
  fail(
    "node tools/scoring.mjs --data FILE --votes FILE: name a file of labelled faces and one of FER+'s votes for them.",
  );
}

const mirrored = (pixels) => Buffer.from(pixels.map((_, i) => pixels[i - (i % SIDE) + SIDE - 1 - (i % SIDE)]));

const labels = [];
const faces = [];
for await (const [label, pixels, agreed] of facesAsSeen(values.data, values.votes)) {
  if (agreed < AGREED) continue;
  labels.push(label, label);
  faces.push(Buffer.from(pixels), mirrored(pixels));
}

const models = ["seed", "compact"];
const { classify, close } = await openClassifiers(
  Object.fromEntries(models.map((name) => [name, shippedCheckpoint(name)])),
);
const tables = {};
for (const model of models) {
  const given = LABELS.map(() => []);
  const { probabilities } = await classify(model, faces);
  labels.forEach((label, i) => given[label].push(probabilities[i][label]));
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
  join(root, "src/play/quantiles.ts"),
  `/**
 * Made by tools/scoring.mjs from FER2013's PublicTest. By model and label: the 0th, 5th, ... and 100th percentile of the probability
 * that the shipped checkpoint gives to an expression in faces that at least half of ten people give it.
 */
export const QUANTILES: Readonly<Record<string, readonly (readonly number[])[] | undefined>> = {
${Object.entries(tables)
  .map(([model, rows]) => `  ${model}: [\n${rows.map((row) => `    [${row.join(", ")}],`).join("\n")}\n  ],`)
  .join("\n")}
};
`,
);
