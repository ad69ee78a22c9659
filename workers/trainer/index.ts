import * as tf from "@tensorflow/tfjs";
import * as Comlink from "comlink";
import { augmentFace, balancedWeights } from "../../src/core/augment";
import { putNorms, takeNorms } from "../../src/core/batch-norm";
import { EXPRESSIONS, FACE_PIXELS } from "../../src/core/expressions";
import { delta } from "../../src/core/fedavg";
import { hash32, seededRandom } from "../../src/core/random";
import { MODELS, summarize } from "../../src/core/model";
import { decodeCheckpoint } from "../../src/core/checkpoint";
import { holdLifeLock } from "../life";
import { startBackend } from "../tf/backend";
import { facesToTensor, Network, sgd, type StepPlan, type StepResult } from "../tf/network";
import {
  DIVERGED,
  PAUSED,
  type Best,
  type EpochSums,
  type Evaluation,
  type Faces,
  type Snapshot,
  type TrainerApi,
} from "./api";
import { batchesOf } from "./batches";

/** A snapshot is handed out at most this often; see also the end of every epoch. */
const SNAPSHOT_MS = 20_000;

/** True once the page wants the training under way to pause. */
let pauseWanted = false;
/** A function, since TypeScript does not expect a variable to change during an await. */
const isPauseWanted = (): boolean => pauseWanted;

/** Lets messages in between two batches: on WASM everything else resolves without ever going back to the event loop. */
function letMessagesIn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/**
 * Local SGD (ClientUpdate of McMahan et al. 2017, Algorithm 1): E epochs over the faces in batches of B. Where the plan has
 * a patience, it ends when that many epochs brought no lower loss on the held-out faces, with the weights of the best one
 * (early stopping, Prechelt 1998).
 */
const train: TrainerApi["train"] = async (job, onProgress, onSnapshot) => {
  onProgress({ phase: "starting" });
  const { backend, resume } = job;
  await startBackend(backend);
  pauseWanted = false;
  const spec = MODELS[job.model];
  const base = decodeCheckpoint(job.checkpoint, summarize(spec));
  const isLocal = job.plan.batchNorm === "local";
  if (isLocal && job.localNorms) putNorms(summarize(spec), base, job.localNorms);
  const network = new Network(spec);
  try {
    network.setWeights(resume?.weights ?? base);
    network.setAnchor(base);
    if (resume) network.setOptimizer(resume.optimizer);
    const labelWeights = job.plan.balanceLabels ? balancedWeights(job.train.labels, EXPRESSIONS.length) : undefined;
    const plan: StepPlan = { ...job.plan, labelWeights };
    onProgress({ phase: "evaluating", backend });
    const heldOut = resume?.heldOut ?? (await evaluate(network, job.heldOut));
    const initialLoss =
      resume?.initialLoss ?? (job.plan.reportInitialLoss ? (await evaluate(network, job.train)).loss : null);

    const { epochs, batchSize } = job.plan;
    const patience = heldOut.examples > 0 ? job.plan.patience : 0;
    const examples = job.train.labels.length;
    const batches = Math.ceil(examples / batchSize) * epochs;
    const start = resume?.position ?? { epoch: 0, batch: 0 };
    let done = start.epoch * (batches / epochs) + start.batch;
    const alreadyMs = resume?.elapsedMs ?? 0;
    const begun = performance.now();
    let images = 0;
    let saved = begun;
    const none: EpochSums = { loss: 0, hits: 0, examples: 0 };
    let sums = resume?.sums ?? none;
    let best = resume?.best ?? null;
    let epoch = start.epoch;
    for (; epoch < epochs && (patience === 0 || (best?.staleEpochs ?? 0) < patience); epoch++) {
      const order = batchesOf(examples, batchSize, job.seed, epoch);
      for (let batch = epoch === start.epoch ? start.batch : 0; batch < order.length; batch++) {
        const indices = order[batch] ?? [];
        const seed = job.seed + done;
        const faces = batchOf(job.train, indices, job.plan.augment ? seed : undefined);
        const { loss, accuracy } = await step(network, faces, plan, seed);
        if (!Number.isFinite(loss)) {
          const message = `Training diverged in batch ${done + 1} (loss ${loss}). A lower learning rate is needed.`;
          throw Object.assign(new Error(message), { name: DIVERGED });
        }
        done += 1;
        images += indices.length;
        const first = batch === 0 ? none : sums;
        sums = {
          loss: first.loss + loss * indices.length,
          hits: first.hits + accuracy * indices.length,
          examples: first.examples + indices.length,
        };
        const seconds = (performance.now() - begun) / 1000;
        onProgress({
          phase: "training",
          backend,
          epoch,
          epochs,
          batch: done,
          batches,
          loss,
          accuracy,
          imagesPerSecond: images / seconds,
          secondsLeft: (examples * epochs - (done / batches) * examples * epochs) / (images / seconds),
        });
        await letMessagesIn();
        const last = batch === order.length - 1;
        if (last && patience > 0) best = await better(best, network, job.heldOut);
        if (done < batches && (last || isPauseWanted() || performance.now() - saved > SNAPSHOT_MS)) {
          const snapshot: Snapshot = {
            position: last ? { epoch: epoch + 1, batch: 0 } : { epoch, batch: batch + 1 },
            weights: await network.getWeights(),
            optimizer: await network.getOptimizer(),
            heldOut,
            initialLoss,
            sums,
            best,
            elapsedMs: alreadyMs + performance.now() - begun,
          };
          await onSnapshot(Comlink.transfer(snapshot, [snapshot.weights.buffer]));
          saved = performance.now();
          if (isPauseWanted()) throw Object.assign(new Error("The training was paused."), { name: PAUSED });
        }
      }
    }
    const trainingMs = alreadyMs + performance.now() - begun;
    const trained = best?.weights ?? (await network.getWeights());
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
        epochs: epoch,
        trainingMs,
        backend,
      },
      [result.buffer],
    );
  } finally {
    network.dispose();
  }
};

/** The best epoch, after one more that the network has just ended. */
async function better(best: Best | null, network: Network, heldOut: Faces): Promise<Best> {
  const evaluation = await evaluate(network, heldOut);
  if (best && evaluation.loss >= best.evaluation.loss) return { ...best, staleEpochs: best.staleEpochs + 1 };
  return { evaluation, weights: await network.getWeights(), staleEpochs: 0 };
}

/** The faces with these indices, augmented anew when there is a seed. */
function batchOf({ pixels, labels }: Faces, indices: number[], augmentSeed?: number): Faces {
  const batch = new Uint8Array(indices.length * FACE_PIXELS);
  indices.forEach((face, i) => {
    const own = pixels.subarray(face * FACE_PIXELS, (face + 1) * FACE_PIXELS);
    batch.set(augmentSeed === undefined ? own : augmentFace(own, hash32(augmentSeed, face)), i * FACE_PIXELS);
  });
  return { pixels: batch, labels: Uint8Array.from(indices, (face) => labels[face] ?? 0) };
}

/** One step on all of some faces. */
async function step(network: Network, { pixels, labels }: Faces, plan: StepPlan, seed: number): Promise<StepResult> {
  const x = facesToTensor(pixels, network.spec.inputShape);
  try {
    return await network.step(x, labels, plan, seed);
  } finally {
    x.dispose();
  }
}

/** How good the model as it is does on some faces, dropout off, in batches of 16. */
async function evaluate(network: Network, { pixels, labels }: Faces): Promise<Evaluation> {
  let loss = 0;
  const confusion = EXPRESSIONS.map(() => EXPRESSIONS.map(() => 0));
  for (let from = 0; from < labels.length; from += 16) {
    const count = Math.min(16, labels.length - from);
    const probabilities = tf.tidy(() => {
      const x = facesToTensor(
        pixels.subarray(from * FACE_PIXELS, (from + count) * FACE_PIXELS),
        network.spec.inputShape,
      );
      return network.predict(x);
    });
    const rows = await probabilities.array();
    probabilities.dispose();
    rows.forEach((row, i) => {
      const label = labels[from + i] ?? 0;
      loss -= Math.log(Math.max(1e-7, row[label] ?? 0));
      const said = row.indexOf(Math.max(...row));
      const counts = confusion[label] as number[];
      counts[said] = (counts[said] ?? 0) + 1;
    });
  }
  const examples = labels.length;
  const hits = confusion.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
  return examples === 0
    ? { examples, loss: 0, accuracy: 0, confusion }
    : { examples, loss: loss / examples, accuracy: hits / examples, confusion };
}

const probe: TrainerApi["probe"] = async (model, checkpoint, count, steps, backend) => {
  const begun = performance.now();
  await startBackend(backend);
  const spec = MODELS[model];
  const before = tf.memory().numTensors;
  const network = new Network(spec);
  try {
    network.setWeights(decodeCheckpoint(checkpoint, summarize(spec)));
    const startMs = performance.now() - begun;
    const random = seededRandom(48);
    const faces: Faces = {
      pixels: Uint8Array.from({ length: count * FACE_PIXELS }, () => random() * 256),
      labels: Uint8Array.from({ length: count }, (_, i) => i % 7),
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
      await evaluate(network, { pixels: faces.pixels.subarray(0, FACE_PIXELS), labels: faces.labels.subarray(0, 1) });
      inferenceMs = Math.min(inferenceMs, performance.now() - start);
    }
    network.dispose();
    const tensorsLeft = tf.memory().numTensors - before;
    return { backend, loss: losses[0] ?? NaN, lossAfter, startMs, stepMs, inferenceMs, tensorsLeft };
  } finally {
    network.dispose();
  }
};

const evaluateCheckpoint: TrainerApi["evaluate"] = async (model, checkpoint, faces, backend, localNorms) => {
  await startBackend(backend);
  const spec = MODELS[model];
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

holdLifeLock();
Comlink.expose({ train, probe, evaluate: evaluateCheckpoint, pause } satisfies TrainerApi);
