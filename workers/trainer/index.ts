import * as tf from "@tensorflow/tfjs-core";
import * as Comlink from "comlink";
import { putNorms } from "../../src/model/batch-norm";
import { judgedWeights } from "../../src/federation/strategies/live";
import { seededRandom } from "../../src/base/random";
import { summarize } from "../../src/model/model";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { showLife } from "../life";
import { prepareWasm, startBackend } from "../tf/backend";
import "../tf/gradients";
import { Network, sgd } from "../tf/network";
import type { Examples, TrainerApi } from "./api";
import { evaluate, step } from "./local-sgd";
import { runTraining } from "./training";

/** True once the page wants the training under way to pause. */
let pauseWanted = false;

const train: TrainerApi["train"] = async (job, onProgress, onSnapshot) => {
  onProgress({ phase: "starting" });
  await startBackend(job.backend);
  pauseWanted = false;
  const result = await runTraining(job, { onProgress, onSnapshot, isPauseWanted: () => pauseWanted });
  return Comlink.transfer(result, [result.delta.buffer]);
};

const probe: TrainerApi["probe"] = async (spec, checkpoint, count, steps, backend) => {
  const begun = performance.now();
  await startBackend(backend);
  const { inputs, classes } = summarize(spec);
  const before = tf.memory().numTensors;
  const network = new Network(spec);
  try {
    network.setWeights(decodeCheckpoint(checkpoint, summarize(spec)));
    const startMs = performance.now() - begun;
    const random = seededRandom(48);
    const faces: Examples = {
      pixels: Uint8Array.from({ length: count * inputs }, () => random() * 256),
      labels: Uint8Array.from({ length: count }, (_, i) => i % classes),
    };
    const losses: number[] = [];
    const stepMs: number[] = [];
    for (let i = 0; i < steps; i++) {
      const start = performance.now();
      // Small steps: the loss after them then follows every gradient, and does not amplify the last digits of one.
      losses.push((await step(network, faces, sgd(0.002), i)).loss);
      stepMs.push(performance.now() - start);
    }
    const { loss: lossAfter } = await evaluate(network, faces);
    let inferenceMs = Infinity;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      await evaluate(network, { pixels: faces.pixels.subarray(0, inputs), labels: faces.labels.subarray(0, 1) });
      inferenceMs = Math.min(inferenceMs, performance.now() - start);
    }
    network.dispose();
    const tensorsLeft = tf.memory().numTensors - before;
    return { backend, loss: losses[0] ?? NaN, lossAfter, startMs, stepMs, inferenceMs, tensorsLeft };
  } finally {
    network.dispose();
  }
};

const evaluateCheckpoint: TrainerApi["evaluate"] = async (spec, checkpoint, faces, backend, own = {}) => {
  await startBackend(backend);
  const model = summarize(spec);
  const weights = decodeCheckpoint(checkpoint, model);
  if (own.localNorms) putNorms(model, weights, own.localNorms);
  const network = new Network(spec);
  try {
    network.setWeights(judgedWeights(own.kept, own.personalLayers ?? 0, model, weights));
    return await evaluate(network, faces);
  } finally {
    network.dispose();
  }
};

const pause: TrainerApi["pause"] = () => {
  pauseWanted = true;
  return Promise.resolve();
};

showLife();
Comlink.expose({
  prepare: prepareWasm,
  train,
  probe,
  evaluate: evaluateCheckpoint,
  pause,
} satisfies TrainerApi);
