/** How a model did on labelled examples. */
export interface Evaluation {
  examples: number;
  /** Mean categorical cross-entropy. */
  loss: number;
  accuracy: number;
  /** Counts, classes x classes: rows are the labels, columns what the model said. */
  confusion: number[][];
}

/** One evaluation of all examples from those of their parts. */
export function joinEvaluations(parts: readonly Evaluation[]): Evaluation {
  const examples = parts.reduce((sum, part) => sum + part.examples, 0);
  const mean = (key: "loss" | "accuracy"): number =>
    examples === 0 ? 0 : parts.reduce((sum, part) => sum + part[key] * part.examples, 0) / examples;
  const first = parts[0]?.confusion ?? [];
  const confusion = first.map((row, i) =>
    row.map((_, j) => parts.reduce((sum, part) => sum + (part.confusion[i]?.[j] ?? 0), 0)),
  );
  return { examples, loss: mean("loss"), accuracy: mean("accuracy"), confusion };
}
