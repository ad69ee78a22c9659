/**
 * `npm run bench:robustness -- --data FILE [--votes FILE] [--faces 500] [--seed-checkpoint FILE] [--compact-checkpoint FILE]
 * [--no-peers]`: how often the shipped checkpoints and other people's models are right when a face is cropped, moved, turned, lit or
 * taken otherwise (conditions.ts), through the app's own inference on WASM. Right is what most people say, with FER+'s --votes for the
 * faces in their order, or else the label. faces.mjs says what --data's FILE may be. Its last line is one JSON object.
 */
import { runnerImport } from "vite";
import { fail } from "../tools/faces.mjs";
import { optionsOf } from "../tools/options.mjs";
import { openClassifiers, shippedCheckpoint } from "./classifier.mjs";
import { startPeers } from "./peers.mjs";
import { facesAsSeen } from "./people.mjs";

/** The share of the clean accuracy below which no held condition may bring a model. */
const FLOOR = 0.9;
const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  votes: { type: "string" },
  faces: { type: "count", default: "500" },
  "seed-checkpoint": { type: "string", default: shippedCheckpoint("seed") },
  "compact-checkpoint": { type: "string", default: shippedCheckpoint("compact") },
  "no-peers": { type: "boolean", default: false },
});
if (!values.data) fail("npm run bench:robustness -- --data FILE: name a file of labelled faces.");

const load = async (file) => (await runnerImport(new URL(file, import.meta.url).pathname)).module;
const { CONDITIONS, seenUnder } = await load("conditions.ts");
const exam = await load("exam.ts");

const faces = [];
const right = [];
for await (const [label, pixels] of facesAsSeen(values.data, values.votes)) {
  faces.push(Buffer.from(pixels));
  right.push(label);
  if (faces.length === values.faces) break;
}

const { page, classify, close } = await openClassifiers({
  seed: values["seed-checkpoint"],
  compact: values["compact-checkpoint"],
});
const judges = {
  seed: (some) => classify("seed", some),
  compact: (some) => classify("compact", some),
  ...(values["no-peers"] ? {} : await startPeers()),
};

async function throughJpeg(some, quality) {
  const text = await page.evaluate(
    async ([text, quality]) => window.harness.throughJpeg(window.harness.fromBase64(text), quality),
    [Buffer.concat(some).toString("base64"), quality],
  );
  const all = Buffer.from(text, "base64");
  return some.map(({ length }, i) => all.subarray(i * length, (i + 1) * length));
}

const accuracies = {};
for (const condition of CONDITIONS) {
  let seen = faces.map((face, i) => Buffer.from(seenUnder(condition, face, i)));
  if (condition.jpeg) seen = await throughJpeg(seen, condition.jpeg);
  accuracies[condition.name] = {};
  for (const [name, judge] of Object.entries(judges)) {
    const { accuracy } = exam.mark((await judge(seen)).probabilities, right);
    accuracies[condition.name][name] = Number(accuracy.toFixed(4));
  }
}
await close();

const clean = accuracies[CONDITIONS[0].name];
const named = ({ name, held }) => (held ? `${name} *` : name);
console.table(
  Object.fromEntries(
    CONDITIONS.map((condition) => [
      named(condition),
      Object.fromEntries(
        Object.entries(accuracies[condition.name]).map(([name, accuracy]) => [
          name,
          Number((100 * accuracy).toFixed(1)),
        ]),
      ),
    ]),
  ),
);
const broken = {};
for (const name of ["seed", "compact"]) {
  broken[name] = CONDITIONS.filter(({ name: at, held }) => held && accuracies[at][name] < FLOOR * clean[name]).map(
    ({ name: at }) => at,
  );
  const says = broken[name].length > 0 ? `is below it: ${broken[name].join(", ")}` : "is above it at every point";
  console.log(`* held to ${100 * FLOOR} % of the clean accuracy; ${name} ${says}`);
}
console.log(JSON.stringify({ faces: faces.length, accuracies, broken }));
