import { base64ToUint8Array } from "uint8array-extras";
import * as Comlink from "comlink";
import * as v from "valibot";
import { forget, learned, noteFailed } from "../../src/client/ladder";
import type { Learned } from "../../src/faces/kept";
import { createTrainer } from "../../src/train/trainer";
import { sha256Hex } from "../../src/base/digest";
import type { Evaluation } from "../../src/model/evaluation";
import { FACE_PIXELS } from "../../src/model/expressions";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize, type ModelName } from "../../src/model/model";
import { planSchema, type Plan } from "../../src/federation/protocol";
import { seededRandom } from "../../src/base/random";
import { encodeSafetensors } from "../../src/model/safetensors";
import { hasRealGpu } from "../../workers/tf/adapter";
import type { Backend } from "../../workers/tf/backend";
import type { Rung, Started } from "../../workers/tf/rungs";
import { PAUSED, type Probe, type Snapshot, type TrainingJob, type TrainingResult } from "../../workers/trainer/api";
import type { Sighting, VisionApi } from "../../workers/vision/api";
import type { HarnessWorker } from "./worker";

/** Takes training steps of a model, from the checkpoint that ships, in a fresh trainer of the app. `totalMs` is from the worker's start to its answer. */
async function train(
  model: ModelName,
  backend: Backend,
  faces: number,
  steps: number,
): Promise<Probe & { totalMs: number }> {
  const response = await fetch(`/models/${model}/initial.safetensors`);
  const file = new Uint8Array(await response.arrayBuffer());
  const begun = performance.now();
  const trainer = createTrainer();
  try {
    const probe = await trainer.call((api) =>
      api.probe(MODELS[model], Comlink.transfer(file, [file.buffer]), faces, steps, backend),
    );
    return { ...probe, totalMs: performance.now() - begun };
  } finally {
    trainer.stop();
  }
}

const worker = (): Comlink.Remote<HarnessWorker> =>
  Comlink.wrap<HarnessWorker>(new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }));

/**
 * Trains the app's trainer on nine faces for two epochs, either at one go or paused after `pauseAt` batches, stopped and
 * resumed in a fresh worker; `hash` holds the SHA-256 of the delta and the measures.
 */
async function trainedDelta(
  pauseAt: number | null,
  plan: Partial<Plan> = {},
): Promise<{ hash: string; epochs: number; heldOutAfter: Evaluation }> {
  const result = await trained("seed", pauseAt, plan);
  const summary = [result.train.loss, result.train.accuracy, result.heldOut.loss, result.heldOutAfter.loss].join();
  const hex = await sha256Hex(new Uint8Array(result.delta.buffer));
  return { hash: `${hex} ${summary}`, epochs: result.epochs, heldOutAfter: result.heldOutAfter };
}

/**
 * The delta of such a training of `compact`, as bytes in base64, its last loss, and how it was computed.
 * @param without rungs that are not to be used
 */
async function compactUpdate(without: Rung[]): Promise<{ delta: string; loss: number; started: Started | undefined }> {
  await forget();
  for (const rung of without) await noteFailed(rung, Object.assign(new Error("Not wanted."), { name: "CompileError" }));
  // Small steps: on noise and random weights, larger ones make much of the last digit within a few. Of eight rates from 3e-6 to 1.2e-4
  // the upper ones end in weights up to 6 % apart on builds that round otherwise, with direct convolutions too.
  const { delta, train } = await trained("compact", null, { batchSize: 3, learningRate: 1e-5 });
  let binary = "";
  for (const byte of new Uint8Array(delta.buffer)) binary += String.fromCharCode(byte);
  return { delta: btoa(binary), loss: train.loss, started: (await learned()).started };
}

/** Starts the app's trainer so many times, each with one step of `compact`; gives how each was started and what failed meanwhile. */
async function starts(count: number): Promise<Learned[]> {
  const all: Learned[] = [];
  for (let i = 0; i < count; i++) {
    await train("compact", "wasm", 1, 1);
    all.push(await learned());
  }
  return all;
}

async function trained(model: ModelName, pauseAt: number | null, plan: Partial<Plan>): Promise<TrainingResult> {
  const random = seededRandom(7);
  const faces = (count: number) => ({
    pixels: Uint8Array.from({ length: count * FACE_PIXELS }, () => random() * 256),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 7),
  });
  const job: TrainingJob = {
    model: MODELS[model],
    checkpoint: encodeSafetensors(summarize(MODELS[model]).tensors, initializeWeights(MODELS[model], 2013), {}),
    train: faces(9),
    heldOut: faces(1),
    plan: v.parse(planSchema, { epochs: 2, batchSize: 2, learningRate: 0.001, ...plan }),
    seed: 11,
    backend: "wasm",
  };
  let snapshot: Snapshot | undefined;
  const run = async (resume: Snapshot | undefined): Promise<TrainingResult> => {
    const trainer = createTrainer();
    try {
      return await trainer.call((api) =>
        api.train(
          { ...job, resume },
          Comlink.proxy((progress) => {
            if (progress.phase === "training" && progress.batch === pauseAt && !resume)
              void trainer.call((a) => a.pause());
          }),
          Comlink.proxy((taken) => {
            snapshot = taken;
            return Promise.resolve();
          }),
        ),
      );
    } finally {
      trainer.stop();
    }
  };
  try {
    const result = await run(undefined);
    if (pauseAt !== null) throw new Error("The training was not paused.");
    return result;
  } catch (error) {
    if (!(error instanceof Error) || error.name !== PAUSED) throw error;
    return run(snapshot);
  }
}

/** Faces of FER2013 are drawn into a camera's picture of 640 x 480 this large, and as far from its edges as can be. */
const FACE_IN_PICTURE = { side: 240, x: 200, y: 120 };
let vision: Comlink.Remote<VisionApi> | undefined;

interface CameraView {
  /** How large FER2013's square is in widths of the detector's box, and how far its centre lies below the box's, in heights of the box. */
  side: number;
  down: number;
  /** Of the seven expressions, from the app's own crop. */
  probabilities: number[];
}

/** Shows a checkpoint's model faces as a webcam sees them: see {@link crops}. */
async function startVision(model: ModelName, checkpoint: Uint8Array<ArrayBuffer>): Promise<void> {
  const worker = new Worker(new URL("../../workers/vision/index.ts", import.meta.url), { type: "module" });
  vision = Comlink.wrap<VisionApi>(worker);
  await vision.start();
  await vision.setCheckpoint(MODELS[model], checkpoint);
}

/**
 * Shows faces of FER2013 to the app's own vision worker, each in the middle of a picture that has gone through a webcam's
 * JPEG: where they lie in it and what the model says of them; null for those that the detector does not find.
 */
async function crops(pixels: Uint8Array): Promise<(CameraView | null)[]> {
  if (!vision) throw new Error("Start the vision worker first.");
  const [face, picture] = [new OffscreenCanvas(48, 48), new OffscreenCanvas(640, 480)];
  const [small, large] = [face.getContext("2d"), picture.getContext("2d")];
  const { side, x, y } = FACE_IN_PICTURE;
  const found: (CameraView | null)[] = [];
  for (let at = 0; at < pixels.length; at += FACE_PIXELS) {
    small?.putImageData(greyImage(pixels.subarray(at, at + FACE_PIXELS)), 0, 0);
    // The picture's rest goes on from the face's own edges: stretched, it has no second face.
    large?.drawImage(face, 0, 0, 48, 48, 0, 0, 640, 480);
    large?.drawImage(face, 0, 0, 48, 48, x, y, side, side);
    const bitmap = await createImageBitmap(await picture.convertToBlob({ type: "image/jpeg", quality: 0.9 }));
    const look = (api: Comlink.Remote<VisionApi>): Promise<Sighting> => api.look(Comlink.transfer(bitmap, [bitmap]));
    const sighting = await look(vision);
    const { face: box } = sighting;
    const inside = box && Math.abs(box.x + box.width / 2 - 0.5) < 0.1;
    found.push(
      inside && sighting.probabilities
        ? {
            side: side / (box.width * 640),
            down: (y + side / 2 - (box.y + box.height / 2) * 480) / (box.height * 480),
            probabilities: sighting.probabilities,
          }
        : null,
    );
  }
  return found;
}

/** What is left of faces, as base64, after each has gone through JPEG of a quality between 0 and 1. */
async function throughJpeg(pixels: Uint8Array, quality: number): Promise<string> {
  const canvas = new OffscreenCanvas(48, 48);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let levels = "";
  for (let at = 0; at < pixels.length; at += FACE_PIXELS) {
    context?.putImageData(greyImage(pixels.subarray(at, at + FACE_PIXELS)), 0, 0);
    context?.drawImage(await createImageBitmap(await canvas.convertToBlob({ type: "image/jpeg", quality })), 0, 0);
    const { data } = context?.getImageData(0, 0, 48, 48) ?? { data: [] };
    for (let i = 0; i < FACE_PIXELS; i++) levels += String.fromCharCode(data[i * 4] ?? 0);
  }
  return btoa(levels);
}

/** A face as a picture. */
function greyImage(pixels: Uint8Array): ImageData {
  const image = new ImageData(48, 48);
  pixels.forEach((level, i) => image.data.set([level, level, level, 255], i * 4));
  return image;
}

const harness = {
  hasRealGpu,
  startVision,
  crops,
  throughJpeg,
  trainedDelta,
  compactUpdate,
  starts,
  learned,
  train,
  worker,
  fromBase64: base64ToUint8Array,
};
export type Harness = typeof harness;

declare global {
  interface Window {
    /** What benchmarks and tests call in this page. */
    harness: Harness;
  }
}
window.harness = harness;
