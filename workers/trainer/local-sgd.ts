import { concatUint8Arrays } from "uint8array-extras";
import * as tf from "@tensorflow/tfjs-core";
import { augment, balancedWeights } from "../../src/data/augment";
import type { PictureShape } from "../../src/data/own-labels";
import type { Evaluation } from "../../src/model/evaluation";
import { summarize, type ModelSummary } from "../../src/model/model";
import type { Plan } from "../../src/federation/protocol";
import type { GradientHook, ModelContrast } from "../../src/federation/strategies/strategy";
import { hash32 } from "../../src/base/random";
import { letMessagesIn } from "../life";
import type { Contrast } from "../tf/contrast";
import { picturesToTensor, type Network, type StepPlan, type StepResult } from "../tf/network";
import { DIVERGED, type Best, type EpochSums, type Examples, type Position } from "./api";
import { batchesOf } from "./batches";

export interface LocalJob {
  train: Examples;
  /** What the base checkpoint says, where the plan distills. */
  teacher?: Teacher | undefined;
  /** For early stopping, where the plan has a patience. */
  heldOut: Examples;
  plan: Plan;
  /** Decides the order of the examples, their augmentation and the dropout masks. */
  seed: number;
  /** A strategy's, which changes every batch's gradient. */
  hook?: GradientHook | undefined;
  /** What other models make of the examples, where a strategy holds the network to that. */
  contrast?: Contrasted | undefined;
  /** Where a training that was interrupted goes on; the network then has that training's weights and moments. */
  from?: { position: Position; sums: EpochSums; best: Best | null } | undefined;
}

/** Pictures of which only the base checkpoint's answers are known, and these: logits, one row after the other. */
interface Answered {
  pixels: Uint8Array;
  logits: Float32Array;
}

/** The base checkpoint as a teacher, which keeps a training from forgetting. */
export interface Teacher {
  /** What it says of the training examples, where the plan distills. */
  own: Answered | null;
  /** What it says of pictures that are to be rehearsed, where the plan rehearses. */
  rehearsal: Answered | null;
}

/**
 * Asks a network that still has the base checkpoint's weights.
 * @param rehearsal pictures without labels, laid out like examples
 * @throws RangeError when the plan rehearses and there is nothing to rehearse
 */
export async function askTeacher(
  network: Network,
  train: Examples,
  { distill, rehearse }: Plan,
  rehearsal: Uint8Array = new Uint8Array(),
): Promise<Teacher | undefined> {
  if (distill === 0 && rehearse === 0) return undefined;
  if (rehearse > 0 && rehearsal.length === 0) throw new RangeError("The plan rehearses pictures, and there are none.");
  const answered = async (pixels: Uint8Array): Promise<Answered> => ({
    pixels,
    logits: await logitsOf(network, pixels),
  });
  return {
    own: distill > 0 ? await answered(train.pixels) : null,
    rehearsal: rehearse > 0 ? await answered(rehearsal) : null,
  };
}

/** Logits of some pictures, one row after the other. */
const logitsOf = (network: Network, pixels: Uint8Array): Promise<Float32Array> =>
  rowsOf(network, pixels, (x) => network.logits(x));

/** What a network says of some pictures, one row after the other. */
async function rowsOf(
  { spec }: Network,
  pixels: Uint8Array,
  ask: (x: tf.Tensor4D) => tf.Tensor2D,
): Promise<Float32Array> {
  const { inputs } = summarize(spec);
  const count = pixels.length / inputs;
  const batch = Math.ceil(EVALUATION_PIXELS / inputs);
  let all = new Float32Array();
  for (let from = 0; from < count; from += batch) {
    const some = pixels.subarray(from * inputs, Math.min(count, from + batch) * inputs);
    const rows = tf.tidy(() => ask(picturesToTensor(some, spec)));
    const { 1: width } = rows.shape;
    if (from === 0) all = new Float32Array(count * width);
    all.set(await rows.data(), from * width);
    rows.dispose();
    await letMessagesIn();
  }
  return all;
}

/** What two models make of some examples before their last layer, one row after the other, and how a loss holds a third to it. */
interface Contrasted {
  global: Float32Array;
  previous: Float32Array;
  weight: number;
  temperature: number;
}

/** Asks a network that still has the base checkpoint's weights, and a model of another time, about the examples as they are. */
export async function askModels(
  network: Network,
  { pixels }: Examples,
  { previous, weight, temperature }: ModelContrast,
): Promise<Contrasted> {
  const ask = (): Promise<Float32Array> => rowsOf(network, pixels, (x) => network.representations(x));
  const global = await ask();
  const base = await network.getWeights();
  network.setWeights(previous);
  const own = await ask();
  network.setWeights(base);
  return { global, previous: own, weight, temperature };
}

/** A batch's rows. */
function contrastOf({ global, previous, weight, temperature }: Contrasted, indices: number[], count: number): Contrast {
  const rows = (of: Float32Array): tf.Tensor2D => {
    const width = of.length / count;
    const some = new Float32Array(indices.length * width);
    indices.forEach((example, i) => some.set(of.subarray(example * width, (example + 1) * width), i * width));
    return tf.tensor2d(some, [indices.length, width]);
  };
  return { global: rows(global), previous: rows(previous), weight, temperature };
}

/** Where a training stands after a batch. */
export interface BatchDone extends StepResult {
  epoch: number;
  /** Batches done, and of the whole training. */
  batch: number;
  batches: number;
  /** Examples in this batch. */
  examples: number;
  isLastOfEpoch: boolean;
  /** Where to go on from here. */
  next: { position: Position; sums: EpochSums; best: Best | null };
}

const NONE: EpochSums = { loss: 0, hits: 0, examples: 0 };

/**
 * Local SGD (ClientUpdate of McMahan et al. 2017, Algorithm 1): E epochs over the examples in batches of B. Where the plan has
 * a patience, it ends when that many epochs brought no lower loss on the held-out examples; the result is then the best
 * epoch (early stopping, Prechelt 1998).
 * @param network holds the weights to begin with, and the trained ones afterwards
 * @param onBatch is waited for after every batch; what it throws ends the training
 * @throws DivergedError (by name) when the loss is no longer a number
 */
export async function localSgd(
  network: Network,
  { train, teacher, heldOut, plan, seed, hook, contrast, from }: LocalJob,
  onBatch?: (done: BatchDone) => Promise<void>,
): Promise<{ sums: EpochSums; best: Best | null; epochs: number }> {
  const { classes } = summarize(network.spec);
  const { epochs, batchSize } = plan;
  const stepPlan: StepPlan = {
    ...plan,
    labelWeights: plan.balanceLabels ? balancedWeights(train.labels, classes) : undefined,
  };
  const patience = heldOut.labels.length > 0 ? plan.patience : 0;
  const [height, width, channels] = network.spec.inputShape;
  const shape = { height, width, channels };
  const count = train.labels.length;
  const perEpoch = Math.ceil(count / batchSize);
  const start = from?.position ?? { epoch: 0, batch: 0 };
  let done = start.epoch * perEpoch + start.batch;
  let sums = from?.sums ?? NONE;
  let best = from?.best ?? null;
  let epoch = start.epoch;
  for (; epoch < epochs && (patience === 0 || (best?.staleEpochs ?? 0) < patience); epoch++) {
    const order = batchesOf(count, batchSize, seed, epoch);
    for (let batch = epoch === start.epoch ? start.batch : 0; batch < order.length; batch++) {
      const indices = order[batch] ?? [];
      const examples = batchOf(train, indices, plan.augment ? { seed: seed + done, shape } : undefined);
      const taught = teacher && lesson(teacher, indices, plan, summarize(network.spec), seed + done);
      const held = contrast && contrastOf(contrast, indices, count);
      const result = await step(network, examples, stepPlan, seed + done, { lesson: taught, hook, contrast: held });
      if (!Number.isFinite(result.loss)) {
        const message = `Training diverged in batch ${done + 1} (loss ${result.loss}). A lower learning rate is needed.`;
        throw Object.assign(new Error(message), { name: DIVERGED });
      }
      done += 1;
      const before = batch === 0 ? NONE : sums;
      sums = {
        loss: before.loss + result.loss * indices.length,
        hits: before.hits + result.accuracy * indices.length,
        examples: before.examples + indices.length,
      };
      const isLastOfEpoch = batch === order.length - 1;
      if (isLastOfEpoch && patience > 0) best = await better(best, network, heldOut);
      await onBatch?.({
        ...result,
        epoch,
        batch: done,
        batches: perEpoch * epochs,
        examples: indices.length,
        isLastOfEpoch,
        next: {
          position: isLastOfEpoch ? { epoch: epoch + 1, batch: 0 } : { epoch, batch: batch + 1 },
          sums,
          best,
        },
      });
    }
  }
  if (best) network.setWeights(best.weights);
  return { sums, best, epochs: epoch };
}

/** The best epoch, after one more that the network has just ended. */
async function better(best: Best | null, network: Network, heldOut: Examples): Promise<Best> {
  const evaluation = await evaluate(network, heldOut);
  if (best && evaluation.loss >= best.evaluation.loss) return { ...best, staleEpochs: best.staleEpochs + 1 };
  return { evaluation, weights: await network.getWeights(), staleEpochs: 0 };
}

/** The examples with these indices, augmented anew where that is asked for. */
export function batchOf(
  { pixels, labels }: Examples,
  indices: readonly number[],
  anew?: { seed: number; shape: PictureShape },
): Examples {
  const size = pixels.length / labels.length;
  const batch = new Uint8Array(indices.length * size);
  indices.forEach((example, i) => {
    const own = pixels.subarray(example * size, (example + 1) * size);
    batch.set(anew ? augment(own, hash32(anew.seed, example), anew.shape) : own, i * size);
  });
  return { pixels: batch, labels: Uint8Array.from(indices, (example) => labels[example] ?? 0) };
}

/** What a teacher adds to a batch: pictures without labels that come behind its examples, and what it says of all of them. */
interface Lesson {
  pixels: Uint8Array;
  /** Rows of the examples, which weigh nothing where it does not speak of them, then of the pictures. */
  logits: Float32Array;
  weights: Float32Array;
}

/** As many pictures to rehearse as there are examples; each kind of answer counts by the plan, on the mean of its kind. */
function lesson(
  { own, rehearsal }: Teacher,
  indices: readonly number[],
  { distill, rehearse }: Plan,
  { inputs, classes }: ModelSummary,
  seed: number,
): Lesson {
  const count = indices.length;
  const pictures = rehearsal ? rehearsal.pixels.length / inputs : 0;
  const chosen = rehearsal ? indices.map((_, i) => hash32(seed, i) % pictures) : [];
  const logits = new Float32Array((count + chosen.length) * classes);
  const weights = new Float32Array(count + chosen.length).fill(distill / count, 0, count);
  weights.fill(rehearse / count, count);
  const pixels = new Uint8Array(chosen.length * inputs);
  const copyRow = (from: Float32Array, row: number, to: number): void =>
    logits.set(from.subarray(row * classes, (row + 1) * classes), to * classes);
  if (own) indices.forEach((example, i) => copyRow(own.logits, example, i));
  if (rehearsal) {
    chosen.forEach((picture, i) => {
      pixels.set(rehearsal.pixels.subarray(picture * inputs, (picture + 1) * inputs), i * inputs);
      copyRow(rehearsal.logits, picture, count + i);
    });
  }
  return { pixels, logits, weights };
}

/** What a step takes into account beside the examples' labels. */
interface Beside {
  lesson?: Lesson | undefined;
  hook?: GradientHook | undefined;
  /** Used up. */
  contrast?: Contrast | undefined;
}

/** One step on all of some examples. */
export async function step(
  network: Network,
  { pixels, labels }: Examples,
  plan: StepPlan,
  seed: number,
  { lesson, hook, contrast }: Beside = {},
): Promise<StepResult> {
  const x = picturesToTensor(lesson ? concatUint8Arrays([pixels, lesson.pixels]) : pixels, network.spec);
  const taught = lesson && {
    logits: tf.tensor2d(lesson.logits, [lesson.weights.length, lesson.logits.length / lesson.weights.length]),
    weights: tf.tensor1d(lesson.weights),
  };
  try {
    return await network.step({ x, labels, taught, contrast }, plan, seed, hook);
  } finally {
    tf.dispose([x, ...(taught ? [taught.logits, taught.weights] : [])]);
    if (contrast) tf.dispose([contrast.global, contrast.previous]);
  }
}

/** Examples that are evaluated at once: few enough of the largest pictures to stay in a processor's cache. */
const EVALUATION_PIXELS = 40_000;

/** How good the model as it is does on some examples, dropout off. */
export async function evaluate(network: Network, { pixels, labels }: Examples): Promise<Evaluation> {
  const { inputs, classes } = summarize(network.spec);
  const batch = Math.ceil(EVALUATION_PIXELS / inputs);
  let loss = 0;
  const confusion = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
  for (let from = 0; from < labels.length; from += batch) {
    const count = Math.min(batch, labels.length - from);
    const probabilities = tf.tidy(() =>
      network.predict(picturesToTensor(pixels.subarray(from * inputs, (from + count) * inputs), network.spec)),
    );
    const rows = await probabilities.array();
    probabilities.dispose();
    await letMessagesIn();
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
