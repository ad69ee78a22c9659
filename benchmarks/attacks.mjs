/**
 * `npm run bench:attacks -- --data PATH [--attacks inversion,membership] [--faces 1,5,20] [--epochs 1,5] [--iterations 600]
 * [--out FOLDER]`: what updates and checkpoints give away. Gradient inversion: clients train the shipped compact model on faces of
 * FER2013 that it has not seen, as the app does, and two attackers (tools/attacks/invert.py, which needs PyTorch) try to see the
 * faces in what the edge would get: the plain update, the update without batch normalization, int8, the noise of its client at two
 * levels, and the mask of secure aggregation. Membership inference: whether a face was in a training, from the published checkpoint
 * alone. The report with pictures stays in FOLDER, which git ignores. The last line is one JSON object.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fail } from "../tools/faces.mjs";
import { dataOf, lab, run, startOf, startPool } from "../tools/lab/node.mjs";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  attacks: { type: "string", default: "inversion,membership" },
  faces: { type: "string", default: "1,5,20" },
  epochs: { type: "string", default: "1,5" },
  iterations: { type: "count", default: "600" },
  out: { type: "string", default: join(root, ".state/attacks") },
});
if (!values.data) fail("npm run bench:attacks -- --data PATH: name a CSV of FER2013, or a folder with its records.");
const python = ["python3", "/usr/bin/python3"].find((name) => spawnSync(name, ["-c", "import torch"]).status === 0);
if (!python && values.attacks.includes("inversion")) {
  fail("The attacker needs PyTorch: install Debian's python3-torch, or torch for the python3 in the path.");
}

const BATCH = 5;
const LEARNING_RATE = 0.02;
/** Clients that share a round's noise. */
const SHARERS = 10;
/** Faces that are attacked in every case, of as many clients as have them. */
const SAMPLE = 10;
/** Faces of other people that an attacker knows, and others that a recovered face is compared with. */
const PUBLIC = 4000;
const STRANGERS = 1000;
const round = (value) => Number(value.toFixed(3));

const config = { dataset: "fer2013", model: "compact", start: "shipped", camera: { gain: 1, angle: 0, mirror: false } };
// The faces of clients are of the test split: the checkpoint has not been trained on them.
const { train: known, test } = await dataOf(config, values.data);
const slice = ({ pixels, labels }, from, to) => ({
  pixels: pixels.subarray(from * 2304, to * 2304),
  labels: labels.subarray(from, to),
});
const attacks = { inversion: invert, membership: inferMembership };
const { pool, start, stop } = await startPool(config, { train: test, test });
const report = {};
for (const attack of values.attacks.split(",")) {
  if (!Object.hasOwn(attacks, attack))
    fail(`--attacks: there is no ${attack}; choose from ${Object.keys(attacks).join(", ")}.`);
  report[attack] = await attacks[attack]();
}
await stop();
console.log(JSON.stringify(report));

/** Runs one part of the attacks. @returns its results, in the order of its cases */
async function attack(part, parts) {
  const script = join(root, "tools/attacks/invert.py");
  const args = [values.out, "--iterations", values.iterations, "--part", part, "--parts", parts];
  const child = spawn(python, [script, ...args.map(String)], { stdio: ["ignore", "pipe", "inherit"] });
  let last = "";
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("[")) console.log(line);
    last = line;
  }
  if (!last.startsWith("[")) fail("The attack failed.");
  return JSON.parse(last);
}

/** What is seen of the faces behind an update: SSIM, and how it compares with strangers' faces; labels found. */
async function invert() {
  const model = lab.summarize(lab.MODELS.compact);
  const weights = startOf(config);
  const write = (name, bytes) => writeFileSync(join(values.out, name), bytes);
  mkdirSync(values.out, { recursive: true });
  write("weights.f32", weights);
  write("public.u8", slice(known, 0, PUBLIC).pixels);
  write("strangers.u8", slice(test, test.labels.length - STRANGERS, test.labels.length).pixels);

  /** As rounds with noise and secure aggregation ask for: batch normalization stays on the device. */
  const withoutNorms = (delta) => {
    const rest = delta.slice();
    lab.putNorms(model, rest, new Float32Array(lab.takeNorms(model, delta).length));
    return rest;
  };
  /** With the clip at the update's own norm: the noise that one client of a round adds. */
  const noised = (delta, z) => {
    const rest = withoutNorms(delta);
    const clip = lab.normOf(rest);
    const noisy = Float64Array.from(rest);
    lab.addGaussian(noisy, (z * clip) / Math.sqrt(SHARERS));
    return Float32Array.from(noisy);
  };
  /** What the edge gets of a delta, by the protection. */
  const protections = {
    plain: (delta) => delta,
    "local batch norm": withoutNorms,
    int8: (delta) => lab.compress(model, delta, undefined, { codec: "int8", share: 1, seed: 1 }).decoded,
    "noise 0.1": (delta) => noised(delta, 0.1),
    "noise 1": (delta) => noised(delta, 1),
    // Uniform on the ring, whatever is under it.
    secure: (delta) => withoutNorms(delta.map(() => crypto.getRandomValues(new Int32Array(1))[0] / 2 ** 31)),
  };

  const cases = [];
  for (const faces of values.faces.split(",").map(Number)) {
    // Few faces say little: about ten are attacked in every case.
    const clients = Math.max(1, Math.round(SAMPLE / faces));
    const setups = values.epochs
      .split(",")
      .flatMap((epochs) => Array.from({ length: clients }, (_, client) => [Number(epochs), client]));
    for (const [epochs, client] of setups) {
      const own = [client * faces, (client + 1) * faces];
      const train = Uint32Array.from({ length: faces }, (_, i) => client * faces + i);
      const { config: preset } = lab.PRESETS.get("against-the-edge");
      const plan = lab.planOf({ ...preset, epochs, batchSize: BATCH }, LEARNING_RATE);
      const task = { weights, train, heldOut: new Uint32Array(), plan, seed: 1, norms: null };
      const { delta } = await pool.train(task);
      for (const [protection, protect] of Object.entries(protections)) {
        const file = `${faces}-faces-${epochs}-epochs-client-${client}-${protection.replaceAll(" ", "-")}`;
        write(`${file}.f32`, Float32Array.from(protect(delta)));
        write(`${file}.u8`, slice(test, ...own).pixels);
        for (const attacker of protection === "plain" ? ["matching", "informed"] : ["informed"]) {
          cases.push({
            ...{ name: `${file}-${attacker}`, file, attacker, protection, faces, epochs },
            ...{ learningRate: LEARNING_RATE, steps: epochs * Math.ceil(faces / BATCH) },
            labels: [...slice(test, ...own).labels],
          });
        }
      }
    }
  }
  write("cases.json", JSON.stringify(cases));
  // One attacker for each core; each takes every other case.
  const parts = availableParallelism();
  const found = await Promise.all(Array.from({ length: parts }, (_, part) => attack(part, parts)));
  const results = cases.map((_, i) => found[i % parts][Math.floor(i / parts)]);
  const rows = results.map(
    ({ name, ssim, labelsFound, faces }) =>
      `<h2>${name}: SSIM ${ssim}, ${labelsFound} of ${faces} labels</h2><img src="${name}.png" alt="above the faces, below what was recovered">`,
  );
  write("report.html", `<!doctype html><title>Gradient inversion</title>${rows.join("\n")}`);
  console.log(`The pictures are in ${join(values.out, "report.html")}.`);
  const groups = new Map();
  for (const result of results) {
    const { attacker, protection, faces, epochs } = result;
    const key = JSON.stringify({ attacker, protection, faces, epochs });
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return [...groups].map(([key, group]) => {
    const mean = (name) => round(group.reduce((sum, result) => sum + result[name], 0) / group.length);
    const { faces, ...one } = JSON.parse(key);
    return {
      ...{ ...one, faces, clients: group.length, ssim: mean("ssim"), closer: mean("closer") },
      labelsFound: round(mean("labelsFound") / faces),
    };
  });
}

/**
 * How well the loss of a face tells whether it was in the training (Yeom et al. 2018, arXiv 1709.01604): the area under the curve of
 * that attack, half where it tells nothing; for the shipped checkpoints, and for what 50 clients with ten faces each make of
 * `compact` in ten rounds of all of them, with and without noise.
 */
async function inferMembership() {
  const MEMBERS = 500;
  const rows = [];
  const tell = (row) => {
    rows.push(row);
    console.log(JSON.stringify(row));
  };
  const outsiders = slice(test, MEMBERS, 2 * MEMBERS);
  for (const model of ["seed", "compact"]) {
    await start({ model }, { train: slice(known, 0, MEMBERS), test: outsiders });
    tell({ checkpoint: `shipped ${model}`, auc: await aucOf(startOf({ ...config, model })) });
  }
  const data = { train: slice(test, 0, MEMBERS), test: outsiders };
  await start({ model: "compact" }, data);
  tell({ checkpoint: "before the rounds", auc: await aucOf(startOf(config)) });
  const federation = {
    ...config,
    ...{ clients: 50, examplesPerClient: 10, fraction: 1, rounds: 10, epochs: 5, batchSize: 10 },
    ...{ optimizer: "adam", learningRate: 0.0004, batchNorm: "local", evaluateEvery: 10 },
  };
  for (const [checkpoint, privacy] of Object.entries({
    "after the rounds": {},
    "with a clip": { updateClip: 0.5 },
    "noise 0.1": { updateClip: 0.5, noise: 0.1 },
    "noise 1": { updateClip: 0.5, noise: 1 },
  })) {
    const { weights, rounds } = await run(lab.parseLabConfig({ ...federation, ...privacy }), { data, pool });
    const { fraction: sampling, rounds: count } = federation;
    const epsilon = lab.epsilon([{ sampling, noise: privacy.noise ?? 0, rounds: count }]);
    const accuracy = round(rounds.at(-1).testAccuracy);
    tell({
      checkpoint,
      auc: await aucOf(weights),
      accuracy,
      epsilon: Number.isFinite(epsilon) ? round(epsilon) : null,
    });
  }
  return rows;

  async function aucOf(weights) {
    const losses = (of) =>
      Promise.all(
        Array.from({ length: MEMBERS }, async (_, i) => {
          const { loss } = await pool.evaluate({ weights, of, examples: Uint32Array.of(i) });
          return loss;
        }),
      );
    const [inside, outside] = [await losses("train"), await losses("test")];
    const wins = inside.flatMap((a) => outside.map((b) => (a < b ? 1 : a === b ? 0.5 : 0)));
    return round(wins.reduce((sum, win) => sum + win, 0) / wins.length);
  }
}
