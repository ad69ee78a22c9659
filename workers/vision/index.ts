import { loadGraphModel, type GraphModel } from "@tensorflow/tfjs-converter";
import * as tf from "@tensorflow/tfjs-core";
import * as Comlink from "comlink";
import type { PictureShape } from "../../src/data/own-labels";
import { putNorms } from "../../src/model/batch-norm";
import { ownWeights } from "../../src/federation/strategies/live";
import { FACE_SIZE } from "../../src/model/expressions";
import { summarize, type ModelSpec } from "../../src/model/model";
import { request } from "../../src/client/http";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { decodeHeader } from "../../src/model/safetensors";
import { prepareWasm, startBackend } from "../tf/backend";
import { picturesToTensor, Network } from "../tf/network";
import { greyPicture, pictureLevels } from "../picture-levels";
import { showLife } from "../life";
import { bestDetection, DETECTOR_SIZE } from "./anchors";
import type { OwnWeights } from "../trainer/api";
import type { FaceBox, Seen, Sighting, VisionApi } from "./api";

/** Below this the detector has seen something else than a face. */
const THRESHOLD = 0.6;

/**
 * FER2013's crop against BlazeFace's box, measured with `npm run bench:crop`: side in widths of the box, and how far the
 * centre lies below the box's, in heights of the box.
 */
const CROP = { side: 1.18, down: -0.12 };

const DETECTOR = "/models/blazeface/blazeface-front";

/** A detector's files in one, as tfjs reads them. @throws EdgeAwayError, EdgeRefusalError */
async function fetchDetector(): Promise<tf.io.ModelArtifacts> {
  const [description, weights] = await Promise.all([request(`${DETECTOR}.json`), request(`${DETECTOR}.bin`)]);
  const { weightsManifest, ...model } = (await description.json()) as tf.io.ModelJSON;
  const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
  return { ...model, weightSpecs, weightData: await weights.arrayBuffer() };
}

/** The page calls a worker that reads drawings or pictures otherwise: it needs no detector. */
const findsFaces = self.name.startsWith("vision");

/** On their way from this worker's first moment: far from the server, one file after the other would take long. */
let files: Promise<tf.io.ModelArtifacts> | undefined = findsFaces ? fetchDetector() : undefined;
// Whoever waits for them is told.
files?.catch(() => undefined);

let detector: GraphModel | undefined;
let classifier: Network | undefined;

async function start(): Promise<void> {
  // One face at a time is too little work for a GPU to be worth the way there and back.
  await startBackend("wasm");
  if (!findsFaces) return;
  const load = (): Promise<tf.io.ModelArtifacts> => (files ??= fetchDetector());
  try {
    detector ??= await loadGraphModel({ load });
  } finally {
    // They are the detector's now, or asked for anew.
    files = undefined;
  }
  const outputs = detector.execute(tf.zeros([1, DETECTOR_SIZE, DETECTOR_SIZE, 3])) as tf.Tensor[];
  tf.dispose(outputs);
}

async function setCheckpoint(
  spec: ModelSpec,
  checkpoint: Uint8Array<ArrayBuffer>,
  own: OwnWeights = {},
): Promise<boolean> {
  await startBackend("wasm");
  const model = summarize(spec);
  const weights = decodeCheckpoint(checkpoint, model);
  if (own.localNorms) putNorms(model, weights, own.localNorms);
  if (classifier?.spec !== spec) {
    classifier?.dispose();
    classifier = new Network(spec);
  }
  const { metadata } = decodeHeader(checkpoint);
  const played = ownWeights(own.kept, model, { weights, metadata });
  classifier.setWeights(played ?? weights);
  return played !== null;
}

const detectorContext = new OffscreenCanvas(DETECTOR_SIZE, DETECTOR_SIZE).getContext("2d", {
  willReadFrequently: true,
});

function look(picture: ImageBitmap): Sighting {
  try {
    const face = detect(picture);
    if (!face) return { face: null };
    const pixels = crop(picture, face);
    const sighting: Sighting = { face, pixels, probabilities: classify(pixels) };
    return sighting;
  } finally {
    picture.close();
  }
}

function see(picture: ImageBitmap, shape: PictureShape): Seen {
  try {
    const pixels = pictureLevels(picture, shape);
    return { pixels, shape, probabilities: classify(pixels) };
  } finally {
    picture.close();
  }
}

/** Runs BlazeFace on the picture, fitted into its square input with black borders. */
function detect(picture: ImageBitmap): FaceBox | null {
  if (!detector) throw new Error("The face detector has not been started.");
  const scale = DETECTOR_SIZE / Math.max(picture.width, picture.height);
  const left = (DETECTOR_SIZE - picture.width * scale) / 2;
  const top = (DETECTOR_SIZE - picture.height * scale) / 2;
  const canvas = detectorContext;
  if (!canvas) throw new Error("This browser gives workers no 2D canvas.");
  canvas.imageSmoothingQuality = "high";
  canvas.fillStyle = "black";
  canvas.fillRect(0, 0, DETECTOR_SIZE, DETECTOR_SIZE);
  canvas.drawImage(picture, left, top, picture.width * scale, picture.height * scale);
  const { data } = canvas.getImageData(0, 0, DETECTOR_SIZE, DETECTOR_SIZE);
  const values = new Float32Array(DETECTOR_SIZE * DETECTOR_SIZE * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    values[j++] = (data[i] ?? 0) / 127.5 - 1;
    values[j++] = (data[i + 1] ?? 0) / 127.5 - 1;
    values[j++] = (data[i + 2] ?? 0) / 127.5 - 1;
  }
  const outputs = tf.tidy(() => {
    const input = tf.tensor4d(values, [1, DETECTOR_SIZE, DETECTOR_SIZE, 3]);
    // Scores and boxes of the 8 x 8 grid and of the 16 x 16 grid, by size.
    const [scores8, scores16, boxes8, boxes16] = (detector?.execute(input) as tf.Tensor[])
      .toSorted((a, b) => a.size - b.size)
      .map((tensor) => tensor.dataSync());
    return { scores8, scores16, boxes8, boxes16 } as Record<string, Float32Array>;
  }) as unknown as { scores8: Float32Array; scores16: Float32Array; boxes8: Float32Array; boxes16: Float32Array };
  const found = bestDetection(
    [...outputs.scores16, ...outputs.scores8],
    [...outputs.boxes16, ...outputs.boxes8],
    THRESHOLD,
  );
  if (!found) return null;
  const toX = (x: number): number => (x - left) / (picture.width * scale);
  const toY = (y: number): number => (y - top) / (picture.height * scale);
  return {
    x: toX(found.x - found.width / 2),
    y: toY(found.y - found.height / 2),
    width: found.width / (picture.width * scale),
    height: found.height / (picture.height * scale),
    confidence: found.confidence,
    hasCompany: found.hasCompany,
  };
}

/** Cuts the square around a face that FER2013 would show, moved into the picture where it hangs over. */
function crop(picture: ImageBitmap, face: FaceBox): Uint8Array<ArrayBuffer> {
  const width = face.width * picture.width;
  const height = face.height * picture.height;
  const side = Math.min(width * CROP.side, picture.width, picture.height);
  const inside = (start: number, length: number): number => Math.max(0, Math.min(length - side, start));
  const x = inside((face.x + face.width / 2) * picture.width - side / 2, picture.width);
  const y = inside((face.y + face.height / 2) * picture.height + height * CROP.down - side / 2, picture.height);
  return greyPicture(picture, { x, y, side }, FACE_SIZE);
}

function classify(pixels: Uint8Array): number[] | null {
  const model = classifier;
  // A picture that was on its way when the player chose another task is of another size.
  if (!model || pixels.length !== summarize(model.spec).inputs) return null;
  return tf.tidy(() => [...model.predict(picturesToTensor(pixels, model.spec)).dataSync()]);
}

showLife();
Comlink.expose({
  prepare: prepareWasm,
  start,
  setCheckpoint,
  look: (picture) => Promise.resolve(look(picture)),
  see: (picture, shape) => Promise.resolve(see(picture, shape)),
  read: (pixels) => Promise.resolve(classify(pixels)),
} satisfies VisionApi);
