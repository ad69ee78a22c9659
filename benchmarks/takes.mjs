/**
 * `npm run bench:takes -- --data FILE [--votes FILE]`: what a take's score says about its label, and so from which score on a take may train without
 * the player's word: for each shipped model and each score, the share of people's faces that reach it in the role that they show, and
 * in one of the six that they do not show. What they show is what most people say, with FER+'s --votes for the faces in their order, or
 * else the label. --data's FILE: labelled faces on which the checkpoints were not trained (tools/faces.mjs). The last line is one JSON
 * object.
 */
import { join } from "node:path";
import { runnerImport } from "vite";
import { fail, LABELS } from "../tools/faces.mjs";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";
import { openClassifiers, shippedCheckpoint } from "./classifier.mjs";
import { facesAsSeen } from "./people.mjs";

const SCORES = [30, 40, 50, 60, 70, 80, 90];
const values = optionsOf(import.meta.url, { data: { type: "string" }, votes: { type: "string" } });
if (!values.data) fail("npm run bench:takes -- --data FILE: name a file of labelled faces.");

const { GOOD, scoreOf } = (await runnerImport(join(root, "src/play/scoring.ts"))).module;
const { FOR_TRAINING } = (await runnerImport(join(root, "src/faces/for-training.ts"))).module;
const faces = [];
for await (const face of facesAsSeen(values.data, values.votes)) faces.push(face);
const models = ["seed", "compact"];
const { classify, close } = await openClassifiers(
  Object.fromEntries(models.map((name) => [name, shippedCheckpoint(name)])),
);
/** Of ten people, how many call a face neutral. */
const AGREED = [10, 8, 5];
const NEUTRAL = LABELS.indexOf("neutral");
const result = { faces: faces.length, forTraining: FOR_TRAINING, neutralWins: {} };
for (const model of models) {
  const { probabilities } = await classify(
    model,
    faces.map(([, pixels]) => pixels),
  );
  /** Of every face its label and the score that it would get in each role. */
  const scored = faces.map(([label, , agreed], i) => ({
    label,
    agreed,
    scores: LABELS.map((_, role) => scoreOf(probabilities[i], role, model)),
  }));
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
  if (values.votes) {
    result.neutralWins[model] = AGREED.map((least) => {
      const neutral = scored.filter(({ label, agreed }) => label === NEUTRAL && agreed >= least);
      const wins = neutral.filter(({ scores }) => scores.some((one, role) => role !== NEUTRAL && one >= GOOD));
      const asSad = neutral.filter(({ scores }) => scores[LABELS.indexOf("sad")] >= GOOD);
      return {
        agreed: least,
        faces: neutral.length,
        winsAnother: share(wins.length, neutral.length),
        winsSad: share(asSad.length, neutral.length),
      };
    });
    console.table(result.neutralWins[model]);
  }
}
await close();
console.log(JSON.stringify(result));
