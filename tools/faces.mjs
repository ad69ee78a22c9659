/** Labelled faces from a file, for the benchmarks and the lab. */
import { createReadStream, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { runnerImport } from "vite";
import { root } from "./setup.mjs";

export const PIXELS = 2304;
export const LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

export function fail(message) {
  console.error(message);
  process.exit(1);
}

/**
 * The faces of a file as [label, pixels, usage], usage null where the file does not say: FER2013's CSV (`emotion,pixels` or
 * `emotion,Usage,pixels`, any order of columns), or gzipped records of one label byte and 2,304 pixel bytes. A CSV's wrong lines are
 * named and left out.
 */
export async function* facesOf(file) {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) {
    fail(`${file} is not a file: name a CSV of FER2013, or one file of its records (FOLDER/publictest.u8.gz).`);
  }
  if (!file.endsWith(".csv")) {
    const records = gunzipSync(readFileSync(file));
    if (records.length % (PIXELS + 1) !== 0) fail(`${file} does not hold records of ${PIXELS + 1} bytes.`);
    for (let at = 0; at < records.length; at += PIXELS + 1) {
      yield [records[at], records.subarray(at + 1, at + 1 + PIXELS), null];
    }
    return;
  }
  const { FerCsvError, FerCsvReader } = (await runnerImport(join(root, "src/data/fer-csv.ts"))).module;
  const reader = new FerCsvReader();
  let wrong = 0;
  function* good(rows) {
    for (const row of rows) {
      if (row instanceof FerCsvError) {
        wrong += 1;
        if (wrong <= 10) console.error(`${file}: ${row.message}`);
      } else yield [row.label, row.pixels, row.usage];
    }
  }
  try {
    for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) yield* good(reader.push(piece));
    yield* good(reader.finish());
  } catch (error) {
    if (!(error instanceof FerCsvError)) throw error;
    fail(`${file}: ${error.message}`);
  }
  if (wrong > 0) console.error(`${file}: ${wrong} lines were left out.`);
}
