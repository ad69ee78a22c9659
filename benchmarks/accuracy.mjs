/**
 * `npm run bench:accuracy -- --data FILE [--votes FILE] [--model seed|compact] [--checkpoint FILE] [--no-peers]`: the shipped
 * checkpoint on labelled faces, through the app's own inference in a browser on WASM; beside it other people's models: see peers.mjs.
 * With --votes, FER+'s votes for the same faces in their order (ferplus-publictest.csv), also how often it says what most people say,
 * by expression and by how far they agree, and the cross-entropy against how they divide. faces.mjs says what --data's FILE may be.
 * Its last line is one JSON object.
 */
import { readFileSync } from "node:fs";
import { runnerImport } from "vite";
import { facesOf, fail, LABELS } from "../tools/faces.mjs";
import { optionsOf } from "../tools/options.mjs";
import { openClassifiers, shippedCheckpoint } from "./classifier.mjs";
import { startPeers } from "./peers.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  votes: { type: "string" },
  model: { type: "string", default: "seed" },
  checkpoint: { type: "string" },
  "no-peers": { type: "boolean", default: false },
});
if (!values.data) fail("npm run bench:accuracy -- --data FILE: name a file of labelled faces.");

const exam = (await runnerImport(new URL("exam.ts", import.meta.url).pathname)).module;
const labels = [];
const faces = [];
for await (const [label, pixels] of facesOf(values.data)) {
  labels.push(label);
  faces.push(pixels);
}
let votes = null;
if (values.votes) {
  votes = exam.parseVotes(readFileSync(values.votes, "utf8"));
  if (votes.length !== faces.length) fail(`${values.votes} has ${votes.length} rows for ${faces.length} faces.`);
}

const { model } = values;
const { classify, close } = await openClassifiers({ [model]: values.checkpoint ?? shippedCheckpoint(model) });
const judges = { [model]: (some) => classify(model, some), ...(values["no-peers"] ? {} : await startPeers()) };

/** Numbers to four places, however deep they lie. */
const rounded = (value) =>
  JSON.parse(JSON.stringify(value), (_, part) => (typeof part === "number" ? Number(part.toFixed(4)) : part));
const oneHot = labels.map((label) => LABELS.map((_, i) => Number(i === label)));

/** What one model makes of the faces: against the contest's labels and, where there are votes, against people's. */
async function judged(judge) {
  const { probabilities, ms } = await judge(faces);
  const contest = exam.mark(probabilities, labels);
  const result = {
    ...{ faces: contest.faces, accuracy: contest.accuracy, loss: exam.crossEntropy(probabilities, oneHot) },
    ...{ recall: contest.recall, confusion: contest.confusion, calibrationError: contest.calibrationError },
    msPerFace: ms / faces.length,
  };
  if (votes) {
    result.votes = {
      ...exam.mark(probabilities, votes.map(exam.majorityOf)),
      crossEntropy: exam.crossEntropy(probabilities, votes.map(exam.sharesOf)),
      byAgreement: exam.byAgreement(probabilities, votes),
    };
  }
  return rounded(result);
}

const results = {};
for (const [name, judge] of Object.entries(judges)) results[name] = await judged(judge);
await close();

const percent = (share) => (share === null ? "" : Number((100 * share).toFixed(1)));
const table = ({ confusion }) =>
  Object.fromEntries(confusion.map((row, i) => [LABELS[i], Object.fromEntries(row.map((n, j) => [LABELS[j], n]))]));
/** One line a model: accuracy, then recall by expression, in per cent. */
const overview = (marksOf) =>
  Object.fromEntries(
    Object.entries(results).map(([name, result]) => {
      const { accuracy, recall, calibrationError } = marksOf(result);
      const byLabel = Object.fromEntries(recall.map((share, i) => [LABELS[i], percent(share)]));
      return [name, { accuracy: percent(accuracy), ...byLabel, "calibration error": percent(calibrationError) }];
    }),
  );
console.log("Against the data set's labels: confusion (rows are the labels), then accuracy and recall in per cent");
console.table(table(results[model]));
console.table(overview((result) => result));
if (votes) {
  console.log(
    "Against what most people say: confusion, then accuracy and recall, and accuracy by how many of ten agree",
  );
  console.table(table(results[model].votes));
  console.table(overview((result) => result.votes));
  console.table(
    Object.fromEntries(
      Object.entries(results).map(
        ([
          name,
          {
            votes: { byAgreement, crossEntropy },
          },
        ]) => {
          const groups = Object.entries(byAgreement).map(([group, { accuracy }]) => [group, percent(accuracy)]);
          return [name, { ...Object.fromEntries(groups), "cross-entropy": crossEntropy }];
        },
      ),
    ),
  );
}
const { [model]: own, ...peers } = results;
console.log(JSON.stringify({ model, ...own, peers }));
