/** How a model did on labelled examples. */
export interface Evaluation {
  examples: number;
  /** Mean categorical cross-entropy. */
  loss: number;
  accuracy: number;
  /** Counts, classes x classes: rows are the labels, columns what the model said. */
  confusion: number[][];
}

/** By how much a loss may rise and still be called no worse, and of how many examples it says anything. */
const [SLACK, ENOUGH] = [0.1, 5];

/** Whether a model does worse after a training than before it on the same examples: fewer recognized, or of several much less sure. */
export const isWorse = (before: Evaluation, after: Evaluation): boolean =>
  after.accuracy < before.accuracy || (before.examples >= ENOUGH && after.loss > before.loss + SLACK);

/** The sum of tables of counts of one shape; an empty one of none. */
export const addCounts = (tables: readonly number[][][]): number[][] =>
  (tables[0] ?? []).map((row, i) => row.map((_, j) => tables.reduce((sum, table) => sum + (table[i]?.[j] ?? 0), 0)));

/** The share of each class's examples that were recognized; null of a class without any. */
export const recallOf = (confusion: readonly number[][]): (number | null)[] =>
  confusion.map((row, i) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    return all === 0 ? null : (row[i] ?? 0) / all;
  });

/** One evaluation of all examples from those of their parts. */
export function joinEvaluations(parts: readonly Evaluation[]): Evaluation {
  const examples = parts.reduce((sum, part) => sum + part.examples, 0);
  const mean = (key: "loss" | "accuracy"): number =>
    examples === 0 ? 0 : parts.reduce((sum, part) => sum + part[key] * part.examples, 0) / examples;
  const confusion = addCounts(parts.map(({ confusion }) => confusion));
  return { examples, loss: mean("loss"), accuracy: mean("accuracy"), confusion };
}
