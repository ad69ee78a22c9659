import type { ModelSpec } from "../model/model";
import type { CheckpointInfo } from "../federation/protocol";
import { personalLayersOf } from "../federation/strategies/live";
import { networkOf } from "../federation/tasks/network";
import { taskNamed } from "../federation/tasks/registry";
import type { Evaluation } from "../model/evaluation";
import { fits, usableOf } from "../faces/labels";
import type { Example } from "../faces/kept";
import { ownWeightsOf } from "../faces/own-weights";
import { storeOf } from "../faces/store";
import { checkpointHere } from "../client/checkpoints";
import { getHistory } from "../client/edge";
import { pack } from "./participant.svelte";
import { chosenTask } from "../client/task.svelte";
import type { OwnWeights } from "../../workers/trainer/api";
import { createTrainer } from "./trainer";

/** How one checkpoint does on this device's faces. */
export interface Judgement {
  version: number;
  /** Faces in which it sees what they show. */
  right: number;
  /** What it gives to the right expression: the geometric mean, which is the one that cross-entropy is the logarithm of. */
  probability: number;
  /** By what they show, the faces and those that it recognizes. */
  byLabel: { faces: number; right: number }[];
}

/** Of so many faces, how many were recognized before and after. */
export interface Change {
  faces: number;
  before: number;
  after: number;
}

/** What a round that this device was part of has made of the shared model. */
export type Outcome =
  | {
      kind: "published";
      round: number;
      /** Faces that both were asked about, and how many of them trainings have seen: of those it says less. */
      faces: number;
      trained: number;
      before: Judgement;
      after: Judgement;
      /** The same of the faces on which the round's evaluators tested both; null where nobody did. Means, and so no whole numbers. */
      everybody: Change | null;
    }
  | { kind: "rejected"; round: number };

/** What came of the last round that has ended and was trained on this device's faces, as far as this device can tell by itself. */
class TrainingEffect {
  outcome = $state.raw<Outcome>();
  #queue: Promise<void> = Promise.resolve();
  /** What the outcome was made of. */
  #madeOf: string | undefined;

  /** Looks again. Calls run one after the other. @throws what looking ends in; the outcome is then what it was */
  update(): Promise<void> {
    const run = this.#queue.then(() => this.#update());
    this.#queue = run.catch(() => undefined);
    return run;
  }

  async #update(): Promise<void> {
    const { name } = chosenTask;
    const all = await storeOf(name).all();
    const own = new Set(
      all.flatMap(({ rounds = [] }) => rounds.filter(({ task }) => task === name)).map((one) => one.round),
    );
    if (own.size === 0) {
      this.outcome = this.#madeOf = undefined;
      return;
    }
    const { rounds } = await getHistory(name);
    const round = rounds.findLast(
      ({ number, state }) => own.has(number) && (state === "published" || state === "rejected"),
    );
    if (!round) return;
    if (round.state === "rejected" || !round.checkpoint) {
      this.outcome = { kind: "rejected", round: round.number };
      this.#madeOf = undefined;
      return;
    }
    const faces = usableOf(all).filter((one) => fits(one, taskNamed(name)));
    const trained = faces.filter(({ rounds = [] }) => rounds.some(({ task }) => task === name)).length;
    const { base, checkpoint, evaluation } = round;
    const everybody = evaluation && {
      faces: evaluation.examples,
      before: evaluation.baseAccuracy * evaluation.examples,
      after: evaluation.accuracy * evaluation.examples,
    };
    const madeOf = [base.sha256, checkpoint.sha256, ...faces.map(({ id, label }) => `${id}:${label}`)].join();
    if (madeOf === this.#madeOf) return;
    const model = networkOf(name);
    const judgements = await judge(model, [base, checkpoint], faces, {
      ...(await ownWeightsOf(name)),
      personalLayers: personalLayersOf(round.config),
    });
    if (!judgements) return;
    const [before, after] = judgements;
    const { number } = round;
    this.outcome = { kind: "published", round: number, faces: faces.length, trained, before, after, everybody };
    this.#madeOf = madeOf;
  }
}

/** How two checkpoints do on some faces, in a trainer of its own; undefined where one is not on this device, or no face is. */
async function judge(
  model: ModelSpec,
  checkpoints: [CheckpointInfo, CheckpointInfo],
  faces: readonly Example[],
  own: OwnWeights,
): Promise<[Judgement, Judgement] | undefined> {
  const trainer = createTrainer();
  const results: Judgement[] = [];
  try {
    for (const checkpoint of checkpoints) {
      const file = await checkpointHere(checkpoint);
      if (!file || faces.length === 0) return undefined;
      // Some faces are quickly classified: the processor does it everywhere.
      const evaluation = await trainer.call((api) => api.evaluate(model, file, pack(faces, model), "wasm", own));
      const { version } = checkpoint;
      const byLabel = evaluation.confusion.map((row, i) => ({
        faces: row.reduce((a, b) => a + b, 0),
        right: row[i] ?? 0,
      }));
      results.push({ version, right: rightOf(evaluation), probability: Math.exp(-evaluation.loss), byLabel });
    }
    return results as [Judgement, Judgement];
  } finally {
    trainer.stop();
  }
}

/** What became of the faces of each label; null of one without any. */
export const changesOf = (before: Judgement, after: Judgement): (Change | null)[] =>
  before.byLabel.map(({ faces, right }, i) =>
    faces === 0 ? null : { faces, before: right, after: after.byLabel[i]?.right ?? 0 },
  );

/** How many faces were seen as what they show. */
export const rightOf = ({ confusion }: Evaluation): number => confusion.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);

export const trainingEffect = new TrainingEffect();
