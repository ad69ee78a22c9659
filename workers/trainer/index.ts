import * as tf from "@tensorflow/tfjs-core";
import * as Comlink from "comlink";
import { putNorms, takeNorms } from "../../src/model/batch-norm";
import { delta } from "../../src/federation/fedavg";
import { seededRandom } from "../../src/base/random";
import { summarize } from "../../src/model/model";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { letMessagesIn, showLife } from "../life";
import { prepareWasm, startBackend } from "../tf/backend";
import "../tf/gradients";
import { Network, sgd } from "../tf/network";
import { PAUSED, type Examples, type Snapshot, type TrainerApi } from "./api";
import { askTeacher, evaluate, localSgd, step } from "./local-sgd";

/** A snapshot is handed out at most this often; see also the end of every epoch. */
const SNAPSHOT_MS = 20_000;

/** True once the page wants the training under way to pause. */
let pauseWanted = false;
/** A function, since TypeScript does not expect a variable to change during an await. */
const isPauseWanted = (): boolean => pauseWanted;

const train: TrainerApi["train"] = async (job, onProgress, onSnapshot) => {
  onProgress({ phase: "starting" });
  const { backend, resume } = job;
  await startBackend(backend);
  pauseWanted = false;
  const { model: spec } = job;
  const base = decodeCheckpoint(job.checkpoint, summarize(spec));
  const isLocal = job.plan.batchNorm === "local";
  if (isLocal && job.localNorms) putNorms(summarize(spec), base, job.localNorms);
  const network = new Network(spec);
  try {
    network.setWeights(base);
    network.setAnchor(base);
    const teacher = await askTeacher(network, job.train, job.plan, job.rehearsal);
    if (resume) network.setWeights(resume.weights);
    if (resume) network.setOptimizer(resume.optimizer);
    onProgress({ phase: "evaluating", backend });
    const heldOut = resume?.heldOut ?? (await evaluate(network, job.heldOut));
    const initialLoss =
      resume?.initialLoss ?? (job.plan.reportInitialLoss ? (await evaluate(network, job.train)).loss : null);

    const { epochs } = job.plan;
    const examples = job.train.labels.length;
    const alreadyMs = resume?.elapsedMs ?? 0;
    const begun = performance.now();
    let images = 0;
    let saved = begun;
    const { sums, best, ...ended } = await localSgd(network, { ...job, teacher, from: resume }, async (done) => {
      images += done.examples;
      const imagesPerSecond = images / ((performance.now() - begun) / 1000);
      const { epoch, batch, batches, loss, accuracy } = done;
      const secondsLeft = ((1 - batch / batches) * examples * epochs) / imagesPerSecond;
      onProgress({
        phase: "training",
        backend,
        epoch,
        epochs,
        batch,
        batches,
        loss,
        accuracy,
        imagesPerSecond,
        secondsLeft,
      });
      await letMessagesIn();
      const isDue = done.isLastOfEpoch || isPauseWanted() || performance.now() - saved > SNAPSHOT_MS;
      if (batch === batches || !isDue) return;
      const snapshot: Snapshot = {
        ...done.next,
        weights: await network.getWeights(),
        optimizer: await network.getOptimizer(),
        heldOut,
        initialLoss,
        elapsedMs: alreadyMs + performance.now() - begun,
      };
      await onSnapshot(Comlink.transfer(snapshot, [snapshot.weights.buffer]));
      saved = performance.now();
      if (isPauseWanted()) throw Object.assign(new Error("The training was paused."), { name: PAUSED });
    });
    const trainingMs = alreadyMs + performance.now() - begun;
    const trained = await network.getWeights();
    const localNorms = isLocal ? takeNorms(summarize(spec), trained) : null;
    const result = delta(trained, base);
    // What stays on the device does not leave it as a difference either.
    if (localNorms) putNorms(summarize(spec), result, new Float32Array(localNorms.length));
    return Comlink.transfer(
      {
        delta: result,
        examples,
        train: {
          examples: sums.examples,
          loss: sums.loss / sums.examples,
          accuracy: sums.hits / sums.examples,
        },
        heldOut,
        heldOutAfter: best?.evaluation ?? (await evaluate(network, job.heldOut)),
        initialLoss,
        localNorms,
        ...ended,
        trainingMs,
        backend,
      },
      [result.buffer],
    );
  } finally {
    network.dispose();
  }
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

const evaluateCheckpoint: TrainerApi["evaluate"] = async (spec, checkpoint, faces, backend, localNorms) => {
  await startBackend(backend);
  const weights = decodeCheckpoint(checkpoint, summarize(spec));
  if (localNorms) putNorms(summarize(spec), weights, localNorms);
  const network = new Network(spec);
  try {
    network.setWeights(weights);
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
