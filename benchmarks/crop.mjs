/**
 * `npm run bench:crop -- --data FILE [--votes FILE] [--faces N] [--model seed|compact]`: FER2013's faces through the camera's whole
 * path: where their square lies against the face detector's box, so that the app can crop as FER2013 was cropped, and whether the
 * model says the same of a face in the camera's picture as of the face itself. Right is what most people say, with FER+'s --votes for
 * the faces in their order, or else the label. ../tools/faces.mjs says what --data's FILE may be. Its last line is one JSON object.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fail } from "../tools/faces.mjs";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";
import { facesAsSeen } from "./people.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  votes: { type: "string" },
  faces: { type: "count", default: "500" },
  model: { type: "string", default: "seed" },
});
if (!values.data) fail("npm run bench:crop -- --data FILE: name a file of labelled faces.");
const wanted = values.faces;

const { page, close } = await openPage();
const checkpoint = readFileSync(join(root, `public/models/${values.model}/initial.safetensors`)).toString("base64");
await page.evaluate(
  async ([model, text]) => {
    window.classifier = window.harness.worker();
    await window.classifier.load(model, window.harness.fromBase64(text));
    await window.harness.startVision(model, window.harness.fromBase64(text));
  },
  [values.model, checkpoint],
);

/** Of each face: its label, what the model says of it, and how the camera's path saw it, or null. */
const faces = [];
let labels = [];
let pixels = [];
async function show() {
  const text = Buffer.concat(pixels).toString("base64");
  const [direct, seen] = await page.evaluate(
    async (text) => [
      (await window.classifier.classify(window.harness.fromBase64(text))).probabilities,
      await window.harness.crops(window.harness.fromBase64(text)),
    ],
    text,
  );
  labels.forEach((label, i) => faces.push({ label, direct: direct[i], camera: seen[i] }));
  [labels, pixels] = [[], []];
}
for await (const [label, face] of facesAsSeen(values.data, values.votes)) {
  labels.push(label);
  pixels.push(face);
  if (pixels.length === 50) await show();
  if (faces.length + pixels.length === wanted) break;
}
if (pixels.length > 0) await show();
await close();

const found = faces.filter(({ camera }) => camera !== null);
const quartiles = (values) => {
  const sorted = values.sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((share) => Number(sorted[Math.floor(share * (sorted.length - 1))].toFixed(3)));
};
const said = (row) => row.indexOf(Math.max(...row));
const share = (some) => Number((found.filter(some).length / found.length).toFixed(4));
console.log(
  JSON.stringify({
    ...{ model: values.model, faces: faces.length, found: found.length },
    side: quartiles(found.map(({ camera }) => camera.side)),
    down: quartiles(found.map(({ camera }) => camera.down)),
    // Of the faces that are found:
    agreement: share(({ direct, camera }) => said(direct) === said(camera.probabilities)),
    accuracy: share(({ label, direct }) => said(direct) === label),
    accuracyThroughCamera: share(({ label, camera }) => said(camera.probabilities) === label),
    // How far the score of the right expression is from the score of the face itself, of 100.
    scoreDifference: quartiles(
      found.map(({ label, direct, camera }) => 100 * Math.abs(direct[label] - camera.probabilities[label])),
    ),
  }),
);
