/**
 * `npm run bench:wire [-- --data PATH] [--rounds 100] [--codecs NAME,...]`: what each codec makes of an update, how fast, and
 * what accuracy is left after the same rounds: MNIST with the 2NN where every client has two digits, and with --data faces of
 * FER2013 (the shipped compact model in the dark). Bytes are of the seed CNN's update, trained here, behind gzip; `kept` is the share
 * of its squared norm that one sending brings over. Beside the codecs what low rank would keep, which is none of them. The last line is
 * one JSON object.
 */
import { dataOf, lab, run, startOf, startPool } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  rounds: { type: "count", default: "100" },
  codecs: { type: "string", default: "float32,float16,int8,int4,topk-0.1,topk-0.01,ternary-0.05,ternary-0.03" },
});
const PLAIN = { gain: 1, angle: 0, mirror: false };
const round = (value, digits) => Number(value.toFixed(digits));

/** A real update of the seed CNN: the shipped checkpoint after an epoch on drawn faces. */
async function seedUpdate() {
  const config = { dataset: "drawn", model: "seed", start: "shipped", camera: PLAIN };
  const { pool, stop } = await startPool(config, await dataOf(config), 1);
  const plan = lab.planOf(lab.PRESETS.get("against-the-edge").config, 0.02);
  const train = Uint32Array.from({ length: 20 }, (_, i) => i);
  const task = { weights: startOf(config), train, heldOut: new Uint32Array(), plan, seed: 1, norms: null };
  const { delta } = await pool.train(task);
  await stop();
  return delta;
}

async function gzipped(payload) {
  const stream = new Blob([payload]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

/** The share of the update's squared norm that is brought over by what it decodes to. */
function keptBy(decoded) {
  let [lost, all] = [0, 0];
  delta.forEach((value, i) => {
    lost += (value - decoded[i]) ** 2;
    all += value ** 2;
  });
  return round(1 - lost / all, 4);
}

/**
 * PowerSGD (Vogels et al. 2019, arXiv 1905.13727, algorithm 1): every kernel as the product of two matrices of some rank, in float16;
 * with three steps of its power iteration instead of one, so that its warm start is granted. @returns bytes behind gzip, and the share kept
 */
async function lowRank(rank) {
  const decoded = new Float32Array(delta.length);
  const sent = [];
  for (const { offset, size, shape } of model.tensors) {
    const values = delta.subarray(offset, offset + size);
    if (shape.length < 2) {
      decoded.set(values, offset);
      sent.push(values.slice());
      continue;
    }
    const columns = shape.at(-1);
    const rows = size / columns;
    const r = Math.min(rank, rows, columns);
    let right = Float32Array.from({ length: columns * r }, (_, i) => Math.sin(i + 1));
    let left = new Float32Array(rows * r);
    for (let step = 0; step < 3; step++) {
      left.fill(0);
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++)
          for (let k = 0; k < r; k++) left[i * r + k] += values[i * columns + j] * right[j * r + k];
      orthogonalize(left, rows, r);
      right = new Float32Array(columns * r);
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++)
          for (let k = 0; k < r; k++) right[j * r + k] += values[i * columns + j] * left[i * r + k];
    }
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k < r; k++) sum += left[i * r + k] * right[j * r + k];
        decoded[offset + i * columns + j] = sum;
      }
    sent.push(Uint16Array.from(left, lab.toFloat16), Uint16Array.from(right, lab.toFloat16));
  }
  return { name: `low rank ${rank}`, bytesUp: await gzipped(new Blob(sent)), kept: keptBy(decoded) };
}

/** Gram and Schmidt: the columns of a rows x r matrix, in place. */
function orthogonalize(matrix, rows, r) {
  for (let k = 0; k < r; k++) {
    for (let before = 0; before <= k; before++) {
      let dot = 0;
      for (let i = 0; i < rows; i++) dot += matrix[i * r + k] * matrix[i * r + before];
      if (before === k) for (let i = 0; i < rows; i++) matrix[i * r + k] /= Math.sqrt(dot) || 1;
      else for (let i = 0; i < rows; i++) matrix[i * r + k] -= dot * matrix[i * r + before];
    }
  }
}

/** Best of three, in MB of float32 a second. */
function speed(bytes, work) {
  let best = Infinity;
  for (let i = 0; i < 3; i++) {
    const begun = performance.now();
    work();
    best = Math.min(best, performance.now() - begun);
  }
  return round(bytes / 1e3 / best, 1);
}

const model = lab.summarize(lab.MODELS.seed);
const delta = await seedUpdate();
const codecs = values.codecs.split(",").map((name) => {
  const [codec, share = "1"] = name.split("-");
  return { name, codec, share: Number(share) };
});
const results = [];
for (const { name, codec, share } of codecs) {
  const options = { codec, share, seed: 1 };
  const payload = lab.encodeDelta(model, delta, options);
  results.push({
    name,
    bytesUp: await gzipped(payload),
    // The checkpoint as a whole, or as the difference that goes with the codec: nothing sparse goes down.
    bytesDown:
      codec === "float32"
        ? model.parameters * 4
        : await gzipped(
            lab.encodeDelta(model, delta, { ...options, codec: lab.CODECS[codec].isSparse ? "int4" : codec }),
          ),
    encodeMBps: speed(delta.byteLength, () => lab.encodeDelta(model, delta, options)),
    decodeMBps: speed(delta.byteLength, () => lab.decodeDelta(model, payload, codec)),
    kept: keptBy(lab.decodeDelta(model, payload, codec)),
  });
  console.log(`${name}: ${results.at(-1).bytesUp} bytes, ${results.at(-1).kept} of its squared norm`);
}
const ranks = [];
for (const rank of [1, 4, 16]) {
  ranks.push(await lowRank(rank));
  console.log(`${ranks.at(-1).name}: ${ranks.at(-1).bytesUp} bytes, ${ranks.at(-1).kept} of its squared norm`);
}

/** The last accuracy, and the mean of the last ten evaluations, of each codec in the same rounds. */
async function accuracies(config, path) {
  const data = await dataOf(config, path);
  const { pool, stop } = await startPool(config, data);
  const found = [];
  for (const { name, codec, share } of codecs) {
    const state = await run(lab.parseLabConfig({ ...config, codec, topShare: share }), { data, pool });
    const tested = state.rounds.flatMap(({ testAccuracy }) => (testAccuracy === null ? [] : [testAccuracy]));
    const last = tested.slice(-10);
    const accuracy = round(last.reduce((a, b) => a + b, 0) / last.length, 4);
    const bytes = state.rounds.reduce((sum, one) => sum + one.bytesUp, 0);
    console.log(`${config.model}, ${name}: ${(accuracy * 100).toFixed(2)} %, ${(bytes / 1e6).toFixed(2)} MB up in all`);
    found.push(accuracy);
  }
  await stop();
  return found;
}

const preset = (name, changes) => lab.parseLabConfig({ ...lab.PRESETS.get(name).config, ...changes });
const rounds = values.rounds;
const digits = await accuracies(preset("mcmahan-2nn-non-iid", { rounds, learningRate: 0.1, target: null }));
const warm = { central: false, personalEpochs: 0, evaluateEvery: 3 };
const faces = values.data ? await accuracies(preset("warm-start", warm), values.data) : null;
console.log(
  JSON.stringify({
    codecs: results.map((one, i) => ({
      ...one,
      ...{ accuracy: digits[i], accuracyFloat32: digits[0] },
      ...(faces ? { facesAccuracy: faces[i], facesAccuracyFloat32: faces[0] } : {}),
    })),
    ranks,
  }),
);
