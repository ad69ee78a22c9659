import type { TaskDescription } from "../federation/tasks/task";
import { sizeOf } from "../data/own-labels";
import { FOR_TRAINING } from "./for-training";
import type { Example, ExampleChange, Face, NewExample, Split } from "./kept";

/** Every fifth usable example is held out. */
const HOLD_OUT_EVERY = 5;

/** Those of which it is known what they show: those that train and those that test. */
export const usableOf = <E extends Example>(examples: readonly E[]): E[] =>
  examples.filter(({ split }) => split !== "excluded");

/** Whether a task still calls an example's label what it was called when the example was kept; true where that is not known. */
export const isStillCalled = (
  { label, labelName }: Pick<Example, "label" | "labelName">,
  labels: readonly string[],
): boolean => label < labels.length && (labelName === undefined || labels[label] === labelName);

/**
 * Whether a task still takes an example: until its first round, an added one may get another size, or other labels. One whose levels are
 * not as many as its shape has is broken, and fits none.
 */
export function fits(
  example: Pick<Example, "pixels" | "shape" | "label" | "labelName">,
  { input, labels }: Pick<TaskDescription, "input" | "labels">,
): boolean {
  const { pixels, shape } = example;
  return (
    isStillCalled(example, labels) &&
    pixels.length === sizeOf(shape) &&
    shape.height === input.height &&
    shape.width === input.width &&
    shape.channels === input.channels
  );
}

/** What the next usable one is for, where there are `usable` already. */
const nextSplit = (usable: number): Split => (usable % HOLD_OUT_EVERY === HOLD_OUT_EVERY - 1 ? "held-out" : "train");

/**
 * A take as it is kept: it shows its role if it scored {@link FOR_TRAINING}, or if there was no model that could say; if not, it is not
 * used until the player has said what it shows.
 * @param usable how many usable ones there are already
 */
export function sortTake<E extends Example>(
  take: Omit<NewExample<E>, "labelName">,
  usable: number,
): Omit<Example<E["label"]>, "id"> {
  const needsAnswer = take.score !== null && take.score < FOR_TRAINING;
  return { ...take, label: take.prompted, split: needsAnswer ? "excluded" : nextSplit(usable), needsAnswer };
}

/**
 * An example after the player has said something about it: what it shows, or what it is for. With a first word on what it
 * shows, be it the one that it already has, a take that failed becomes usable.
 * @param usable how many usable ones there are already
 */
export function sortAnswered<E extends Example>(example: E, change: ExampleChange<E>, usable: number): E {
  const isTaken = example.needsAnswer && example.split === "excluded" && change.label !== undefined;
  return { ...example, ...(isTaken && { split: nextSplit(usable) }), ...change, needsAnswer: false };
}

/** A face as it was kept before takes that failed were asked about. */
export type UnsortedFace = Omit<Face, "id" | "shape" | "score" | "needsAnswer">;

/**
 * What becomes of such a face. Whatever the player has changed stands. A take that failed is not used until the player has answered. Where
 * no score is known, one failed in which the model saw something else; the player is asked about the others as well.
 * @param score of its take; null where it is not known
 */
export function sortOld<F extends UnsortedFace>(
  face: F,
  score: number | null,
): F & Pick<Face, "split" | "score" | "needsAnswer"> {
  const isAnswered = face.split === "excluded" || face.label !== face.prompted;
  const { label, probabilities } = face;
  const failed = score === null ? probabilities[label] !== Math.max(...probabilities) : score < FOR_TRAINING;
  if (isAnswered) return { ...face, score, needsAnswer: false };
  return { ...face, score, split: failed ? "excluded" : face.split, needsAnswer: failed || score === null };
}
