/** Faces and what people see in them. */
import { readFileSync } from "node:fs";
import { runnerImport } from "vite";
import { facesOf, fail } from "../tools/faces.mjs";

const { majorityOf, parseVotes } = (await runnerImport(new URL("exam.ts", import.meta.url).pathname)).module;

/**
 * The faces of a file (../tools/faces.mjs) as [label, pixels, agreed]: with FER+'s votes for them in their order, what most people
 * say and how many of them, without the faces on which there is no majority; without votes, the file's own label and null.
 * @param {string | undefined} votesFile
 */
export async function* facesAsSeen(file, votesFile) {
  const votes = votesFile ? parseVotes(readFileSync(votesFile, "utf8")) : null;
  let index = 0;
  for await (const [named, pixels] of facesOf(file)) {
    const row = votes?.[index++];
    if (votes && !row) fail(`${votesFile} has fewer rows than ${file} faces.`);
    const label = row ? majorityOf(row) : named;
    if (label !== null) yield [label, pixels, row ? row[label] : null];
  }
  if (votes && votes.length !== index) fail(`${votesFile} has ${votes.length} rows for ${index} faces.`);
}
