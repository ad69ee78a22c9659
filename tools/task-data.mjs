/** Labelled examples of a task from files, for clients without a browser and the operator's evaluator. */
import { facesOf, fail, labelsOf } from "./faces.mjs";
import { lab } from "./lab/node.mjs";
import { ownReadingOf, picturesIn } from "./own-data.mjs";

/**
 * The examples of a file or folder as [label, pixels, usage, client], as the task takes them: faces of the seven expressions as facesOf
 * gives them, all others, other faces too, by the names of the task's labels, in its size and its colours. Drawings lie in files as MNIST's digits do, white
 * on black.
 * @param {{ examples: string, labels: readonly string[], input: { height: number, width: number, channels: number } }} task
 * @param {{ labels?: string, column?: string }} said what was said of the data's labels and of a CSV's column with them
 */
export async function examplesOf(task, path, said) {
  if (lab.showsExpressions(task)) {
    const faces = [];
    for await (const face of facesOf(path, labelsOf(said.labels))) faces.push(face);
    return faces;
  }
  const reading = ownReadingOf(said);
  const unknown = [...(reading.labels?.values() ?? [])].find((name) => !task.labels.includes(name));
  if (unknown) fail(`--labels: the task has no label ${unknown}; it has ${task.labels.join(", ")}.`);
  const { samples } = await picturesIn(path, reading, { labels: task.labels, input: task.input });
  return samples;
}
