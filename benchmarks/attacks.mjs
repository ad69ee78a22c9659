/**
 * `npm run bench:attacks -- --data PATH [--faces 1,5,20] [--epochs 1,5] [--iterations 400] [--out FOLDER]`: what an update gives
 * away. It has one client train the shipped compact model on faces of FER2013, as the app does, and tries to see the faces in
 * what the edge would get (tools/attacks/invert.py, which needs PyTorch): the plain update, int8, with the noise of its client at
 * two levels, and under the mask of secure aggregation. The report with pictures stays in FOLDER, which git ignores. Its last
 * line is one JSON object.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fail } from "../tools/faces.mjs";
import { dataOf, lab, startOf, startPool } from "../tools/lab/node.mjs";
import { root } from "../tools/setup.mjs";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    faces: { type: "string", default: "1,5,20" },
    epochs: { type: "string", default: "1,5" },
    iterations: { type: "string", default: "400" },
    out: { type: "string", default: join(root, ".state/attacks") },
  },
});
if (!values.data) fail("npm run bench:attacks -- --data PATH: name a CSV of FER2013, or a folder with its records.");
const python = ["python3", "/usr/bin/python3"].find((name) => spawnSync(name, ["-c", "import torch"]).status === 0);
if (!python) fail("The attacker needs PyTorch: install Debian's python3-torch, or torch for the python3 in the path.");

const BATCH = 5;
const LEARNING_RATE = 0.02;
/** Clients that share a round's noise. */
const SHARERS = 10;
const config = { dataset: "fer2013", model: "compact", start: "shipped", camera: { gain: 1, angle: 0, mirror: false } };
// Faces of the test split: the checkpoint has not been trained on them.
const { test } = await dataOf(config, values.data);
const data = { train: test, test };
const { pool, stop } = await startPool(config, data, 1);
const model = lab.summarize(lab.MODELS.compact);
const weights = startOf(config);
mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, "weights.f32"), weights);

/** What the edge gets of a delta, by the protection. */
const protections = {
  // How good the attacker is: it is given the exact gradient, without the client's dropout.
  control: (delta) => delta,
  plain: (delta) => delta,
  int8: (delta) => lab.compress(model, delta, undefined, { codec: "int8", share: 1, seed: 1 }).decoded,
  "noise 0.1": (delta) => noised(delta, 0.1),
  "noise 1": (delta) => noised(delta, 1),
  // Uniform on the ring, whatever is under it.
  secure: (delta) => delta.map(() => crypto.getRandomValues(new Int32Array(1))[0] / 2 ** 31),
};

/** With the clip at the update's own norm: the noise that one client of a round adds. */
function noised(delta, z) {
  const clip = lab.normOf(delta);
  return lab.clipAndNoise(delta, { clip, deviation: (z * clip) / Math.sqrt(SHARERS) }).delta;
}

const cases = [];
for (const faces of values.faces.split(",").map(Number)) {
  const train = Uint32Array.from({ length: faces }, (_, i) => i);
  for (const epochs of values.epochs.split(",").map(Number)) {
    const plan = lab.planOf({ ...lab.PRESETS.get("against-the-edge").config, epochs, batchSize: BATCH }, LEARNING_RATE);
    const task = { weights, train, heldOut: new Uint32Array(), plan, seed: 1, norms: null };
    const { delta } = await pool.train(task);
    for (const [protection, protect] of Object.entries(protections)) {
      const name = `${faces}-faces-${epochs}-epochs-${protection.replace(" ", "-")}`;
      writeFileSync(join(values.out, `${name}.f32`), Float32Array.from(protect(delta)));
      const pixels = [...train].map((i) => data.train.pixels.subarray(i * 2304, (i + 1) * 2304));
      writeFileSync(join(values.out, `${name}.u8`), Buffer.concat(pixels));
      cases.push({
        ...{ name, model: "compact", protection, faces, epochs, learningRate: LEARNING_RATE },
        steps: epochs * Math.ceil(faces / BATCH),
        labels: [...train].map((i) => data.train.labels[i]),
      });
    }
  }
}
await stop();
writeFileSync(join(values.out, "cases.json"), JSON.stringify(cases));
const attack = spawnSync(
  python,
  [join(root, "tools/attacks/invert.py"), values.out, "--iterations", values.iterations],
  { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", maxBuffer: 1 << 26 },
);
process.stdout.write(attack.stdout);
if (attack.status !== 0) fail("The attack failed.");
const inversion = JSON.parse(attack.stdout.trim().split("\n").at(-1));
const rows = inversion.map(
  ({ name, ssim, labelsFound, faces }) =>
    `<h2>${name}: SSIM ${ssim}, ${labelsFound} of ${faces} labels</h2><img src="${name}.png" alt="above the faces, below what was recovered">`,
);
writeFileSync(join(values.out, "report.html"), `<!doctype html><title>Gradient inversion</title>${rows.join("\n")}`);
console.log(`The pictures are in ${join(values.out, "report.html")}.`);
console.log(JSON.stringify({ inversion: inversion.map(({ name: _, model: __, learningRate: ___, ...one }) => one) }));
