import { FOR_TRAINING } from "./for-training";
import type { Face, FaceChange, NewFace, Split } from "./kept";

/** Every fifth usable face is held out. */
const HOLD_OUT_EVERY = 5;

/** The faces of which it is known what they show: those that train and those that test. */
export const usableOf = (faces: readonly Face[]): Face[] => faces.filter(({ split }) => split !== "excluded");

/** What the next usable face is for, where there are `usable` already. */
const nextSplit = (usable: number): Split => (usable % HOLD_OUT_EVERY === HOLD_OUT_EVERY - 1 ? "held-out" : "train");

/**
 * A take as it is kept: it shows its role if it scored {@link FOR_TRAINING}; if not, it is not used until the player has said what it
 * shows.
 * @param usable how many usable faces there are already
 */
export function sortTake(take: NewFace, usable: number): Omit<Face, "id"> {
  const needsAnswer = take.score < FOR_TRAINING;
  return { ...take, label: take.prompted, split: needsAnswer ? "excluded" : nextSplit(usable), needsAnswer };
}

/**
 * A face after the player has said something about it: which expression it shows, or what it is for. With a first word on its
 * expression, be it the one that it already has, a take that failed becomes usable.
 * @param usable how many usable faces there are already
 */
export function sortAnswered(face: Face, change: FaceChange, usable: number): Face {
  const isTaken = face.needsAnswer && face.split === "excluded" && change.label !== undefined;
  return { ...face, ...(isTaken && { split: nextSplit(usable) }), ...change, needsAnswer: false };
}

/** A face as it was kept before takes that failed were asked about. */
export type UnsortedFace = Omit<Face, "id" | "score" | "needsAnswer">;

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
