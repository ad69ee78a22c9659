/** Labelled faces from a file, for the benchmarks. */
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { gunzipSync } from "node:zlib";

export const PIXELS = 2304;
export const LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

export function fail(message) {
  console.error(message);
  process.exit(1);
}

/**
 * The faces of a file as [label, pixels]: FER2013's CSV (`emotion,pixels` or `emotion,Usage,pixels`, any order of columns), or
 * gzipped records of one label byte and 2,304 pixel bytes.
 */
export async function* facesOf(file) {
  if (!file.endsWith(".csv")) {
    const records = gunzipSync(readFileSync(file));
    if (records.length % (PIXELS + 1) !== 0) fail(`${file} does not hold records of ${PIXELS + 1} bytes.`);
    for (let at = 0; at < records.length; at += PIXELS + 1) {
      yield [records[at], records.subarray(at + 1, at + 1 + PIXELS)];
    }
    return;
  }
  let columns;
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    number += 1;
    const cells = line.split(",").map((cell) => cell.trim().replace(/^"|"$/g, ""));
    if (!columns) {
      columns = { label: cells.indexOf("emotion"), pixels: cells.indexOf("pixels") };
      if (columns.label < 0 || columns.pixels < 0)
        fail(`${file}: the first line must name the columns emotion and pixels.`);
      continue;
    }
    if (line === "") continue;
    const label = Number(cells[columns.label]);
    const pixels = Buffer.from(cells[columns.pixels]?.split(" ").map(Number) ?? []);
    if (!(label in LABELS) || pixels.length !== PIXELS) {
      fail(`${file}, line ${number}: a label of 0 to 6 and ${PIXELS} pixels were expected.`);
    }
    yield [label, pixels];
  }
}
