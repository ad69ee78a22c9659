/** The app's own inference, in a browser on WASM, for what is measured on many faces. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";

const BATCH = 64;

/** Where the checkpoint of a model lies that ships with the app. */
export const shippedCheckpoint = (model) => join(root, `public/models/${model}/initial.safetensors`);

/**
 * Opens a page with one classifier for each model: `classify(model, faces)` gives the seven probabilities of each face (48 x 48 grey
 * levels) and the milliseconds for all, `page` is where other things of the harness are called.
 * @param {Record<string, string>} checkpoints their files, by model
 */
export async function openClassifiers(checkpoints) {
  const { page, close } = await openPage();
  await page.evaluate(() => {
    window.classifiers = {};
  });
  for (const [model, file] of Object.entries(checkpoints)) {
    await page.evaluate(
      async ([model, text]) => {
        window.classifiers[model] = window.harness.worker();
        await window.classifiers[model].load(model, window.harness.fromBase64(text));
      },
      [model, readFileSync(file).toString("base64")],
    );
  }
  async function classify(model, faces) {
    const probabilities = [];
    let ms = 0;
    for (let at = 0; at < faces.length; at += BATCH) {
      const answer = await page.evaluate(
        ([model, text]) => window.classifiers[model].classify(window.harness.fromBase64(text)),
        [model, Buffer.concat(faces.slice(at, at + BATCH)).toString("base64")],
      );
      probabilities.push(...answer.probabilities);
      ms += answer.ms;
    }
    return { probabilities, ms };
  }
  return { page, classify, close };
}
