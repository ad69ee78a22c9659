import * as Comlink from "comlink";
import { putNorms } from "../../src/model/batch-norm";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { summarize } from "../../src/model/model";
import { localSteps } from "../../src/federation/aggregation/fednova";
import { broadcastFor, canTrain, clientContextOf, liveRunOf, vectorsFor } from "../../src/federation/strategies/live";
import { letMessagesIn } from "../life";
import { Network } from "../tf/network";
import {
  PAUSED,
  WRONG_BACKEND,
  type Position,
  type SharedResult,
  type Snapshot,
  type TrainerApi,
  type TrainingJob,
  type TrainingResult,
} from "./api";
import { askTeacher, evaluate, localSgd, type BatchDone } from "./local-sgd";
import { afterShared, begin, besideOf, ownTrainingOf, startOf, trainOwn, type Strategic } from "./strategic";

/** A snapshot is handed out at most this often; see also the end of every epoch. */
const SNAPSHOT_MS = 20_000;

/** Who listens to a training. */
export interface Listening {
  onProgress: Parameters<TrainerApi["train"]>[1];
  onSnapshot: Parameters<TrainerApi["train"]>[2];
  /** Whether it is to pause after its batch. */
  isPauseWanted: () => boolean;
}

/** Of a plan's strategy, with what this device has kept of it; undefined where the plan names none. */
function strategicOf(
  { model: spec, plan, kept, remembered, memory, train }: TrainingJob,
  base: Float32Array,
  at: Position | undefined,
) {
  const model = summarize(spec);
  const run = liveRunOf(plan, model);
  if (!run) return undefined;
  const broadcast = broadcastFor(run, memory && decodeCheckpoint(memory, model));
  const examples = train.labels.length;
  const perEpoch = localSteps(examples, { ...plan, epochs: 1 });
  const done = at ? at.epoch * perEpoch + at.batch : 0;
  const told = { global: base, broadcast, state: vectorsFor(run, kept, remembered?.rounds) };
  return { strategy: run.strategy, context: clientContextOf(run, told, { plan, examples, done }) } satisfies Strategic;
}

/**
 * One client's training, on the backend that runs: of the shared model, and of one of its own where the plan's strategy has one.
 * @throws WrongBackendError (by name) where the strategy needs another backend; PausedError, DivergedError (by name)
 */
export async function runTraining(
  job: TrainingJob,
  { onProgress, onSnapshot, isPauseWanted }: Listening,
): Promise<TrainingResult> {
  const { model: spec, backend, resume } = job;
  if (!canTrain(job.plan, backend)) {
    const message = `${job.plan.strategy} compares what goes into the last layer, which our kernels on the GPU do not show.`;
    throw Object.assign(new Error(message), { name: WRONG_BACKEND });
  }
  const model = summarize(spec);
  const base = decodeCheckpoint(job.checkpoint, model);
  const isLocal = job.plan.batchNorm === "local";
  if (isLocal && job.localNorms) putNorms(model, base, job.localNorms);
  const strategic = strategicOf(job, base, resume?.shared ? undefined : resume?.position);
  const plan = strategic ? { ...job.plan, epochs: strategic.context.epochs } : job.plan;
  const from = startOf(base, strategic);
  const own = ownTrainingOf(strategic);
  const trainings = own ? 2 : 1;
  const network = new Network(spec);
  try {
    begin(network, from, from);
    const teacher = await askTeacher(network, job.train, plan, job.rehearsal);
    const beside = resume?.shared ? {} : await besideOf(network, job.train, strategic);
    onProgress({ phase: "evaluating", backend });
    const known = resume?.shared ?? resume;
    const heldOut = known?.heldOut ?? (await evaluate(network, job.heldOut));
    const initialLoss =
      known?.initialLoss ?? (plan.reportInitialLoss ? (await evaluate(network, job.train)).loss : null);

    const examples = job.train.labels.length;
    const alreadyMs = resume?.elapsedMs ?? 0;
    const begun = performance.now();
    let images = 0;
    let saved = begun;
    /** Tells of a batch, and hands a snapshot out where one is due. @param shared what has come of the training before this one */
    const told = async (done: BatchDone, shared: SharedResult | null): Promise<void> => {
      images += done.examples;
      const imagesPerSecond = images / ((performance.now() - begun) / 1000);
      const { epoch, loss, accuracy } = done;
      const batches = done.batches * trainings;
      const batch = done.batch + (shared ? done.batches : 0);
      const epochs = plan.epochs * trainings;
      onProgress({
        phase: "training",
        backend,
        epoch: epoch + (shared ? plan.epochs : 0),
        epochs,
        batch,
        batches,
        loss,
        accuracy,
        imagesPerSecond,
        secondsLeft: ((1 - batch / batches) * examples * epochs) / imagesPerSecond,
      });
      await letMessagesIn();
      const isDue = done.isLastOfEpoch || isPauseWanted() || performance.now() - saved > SNAPSHOT_MS;
      if (done.batch === done.batches || !isDue) return;
      const snapshot: Snapshot = {
        ...done.next,
        weights: await network.getWeights(),
        optimizer: await network.getOptimizer(),
        heldOut,
        initialLoss,
        elapsedMs: alreadyMs + performance.now() - begun,
        shared,
      };
      await onSnapshot(Comlink.transfer(snapshot, [snapshot.weights.buffer]));
      saved = performance.now();
      if (isPauseWanted()) throw Object.assign(new Error("The training was paused."), { name: PAUSED });
    };
    const sgd = { ...job, plan, teacher };

    let shared = resume?.shared ?? null;
    if (!shared) {
      if (resume) {
        network.setWeights(resume.weights);
        network.setOptimizer(resume.optimizer);
      }
      const { sums, best, epochs } = await localSgd(network, { ...sgd, ...beside, from: resume }, (done) =>
        told(done, null),
      );
      const trained = await network.getWeights();
      const after = afterShared(model, { trained, base, isLocal }, strategic, plan);
      shared = {
        delta: after.delta,
        examples,
        train: {
          examples: sums.examples,
          loss: sums.loss / sums.examples,
          accuracy: sums.hits / sums.examples,
        },
        heldOut,
        heldOutAfter: best?.evaluation ?? (await evaluate(network, job.heldOut)),
        initialLoss,
        localNorms: after.norms,
        kept: strategic ? after.state : null,
        epochs,
      };
    }
    if (own) {
      const at = resume?.shared ? resume : undefined;
      const before = shared;
      const trained = await trainOwn(network, own, base, sgd, (done) => told(done, before), at);
      // Where it has diverged, the one of the round before stays; where there is none, nothing is kept.
      if (trained) shared = { ...shared, kept: { ...shared.kept, [own.name]: trained } };
      else if (!shared.kept?.[own.name]) shared = { ...shared, kept: null };
    }
    return { ...shared, trainingMs: alreadyMs + performance.now() - begun, backend };
  } finally {
    network.dispose();
  }
}
