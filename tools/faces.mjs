/** Labelled faces from a file, for the benchmarks and the lab. */
import { createReadStream, openAsBlob, readdirSync, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { Readable } from "node:stream";
import { createGunzip, gunzipSync } from "node:zlib";
import { runnerImport } from "vite";
import { root } from "./setup.mjs";

export const PIXELS = 2304;
const SIDE = 48;
export const LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
/** Wrong lines and pictures that are told in full. */
const TOLD = 10;

export function fail(message) {
  console.error(message);
  process.exit(1);
}

/** What --labels says, by word: an expression's place. */
export function labelsOf(text) {
  if (!text) return null;
  return Object.fromEntries(
    text.split(",").map((pair) => {
      const [word, expression, ...more] = pair.split("=").map((part) => part.trim().toLowerCase());
      const label = LABELS.indexOf(expression);
      if (!word || label < 0 || more.length > 0) {
        fail(`--labels ${pair}: write it as 1=surprise,2=fear, with expressions from ${LABELS.join(", ")}.`);
      }
      return [word, label];
    }),
  );
}

const readers = async () => (await runnerImport(join(root, "tools/readers.ts"))).module;

/**
 * The faces of a file or folder as [label, pixels, usage, client]: usage is `train` or `test`, or null where nobody says; client is whose
 * face it is, or null. What a file is says its content, not its name: FER2013's CSV (`emotion,pixels` or `emotion,Usage,pixels`, any
 * order of columns), plain, gzipped or alone in a zip or folder; gzipped records of one label byte and 2,304 pixel bytes; a zip or a
 * folder of pictures in one folder for each label. Wrong lines are named and left out.
 * @param {string} path
 * @param {Record<string, number> | null} labels what the data's labels mean, where they are not FER2013's: `{ 1: 5 }` takes 1 for surprise
 */
export async function* facesOf(path, labels = null) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) fail(`There is no ${path}.`);
  const modules = await readers();
  const words = new modules.LabelWords(labels);
  const found = stat.isDirectory() ? folderOf(path, words, modules) : fileOf(path, words, modules);
  const report = leftOut(path);
  if (labels === null) {
    // Nothing is used before it is known that the numbers are FER2013's.
    const all = [];
    for await (const face of found) if (!report(face)) all.push(face);
    if (words.isQuestion) fail(questionOf(path, words.table));
    yield* all;
  } else for await (const face of found) if (!report(face)) yield face;
  report();
  const table = words.table.filter(({ count }) => count > 0);
  if (table.length > 0) {
    const meaning = ({ word, label, count }) => `${word || "(none)"} = ${LABELS[label] ?? "left out"} (${count})`;
    console.error(`${path}: labels taken as ${table.map(meaning).join(", ")}.`);
  }
}

function questionOf(path, table) {
  const seen = table.map(({ word, count }) => `${word} (${count})`).join(", ");
  return (
    `${path}: its labels are not FER2013's numbers 0 to 6, and nothing says what they mean. There are ${seen}. ` +
    "Say which is which: --labels 1=surprise,2=fear,... (what is not named is left out)."
  );
}

/** Counts what was left out and tells the first ones; without an argument it tells how many there were. */
function leftOut(path) {
  let wrong = 0;
  return (face) => {
    if (face === undefined) {
      if (wrong > 0) console.error(`${path}: ${wrong} lines or pictures were left out.`);
      return false;
    }
    if (Array.isArray(face)) return false;
    wrong += 1;
    if (wrong <= TOLD) console.error(`${path}: ${face.message}`);
    return true;
  };
}

async function headOf(path, length) {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Faces and errors of one file, whatever it is. */
async function* fileOf(path, words, modules) {
  const kind = modules.fileKind(await headOf(path, modules.HEAD));
  if (kind === "zip") yield* zipOf(path, words, modules);
  else if (kind === "gzip") yield* gzipOf(path, words, modules);
  else if (kind === "text") yield* csvOf(path, createReadStream(path, { highWaterMark: 1 << 20 }), words, modules);
  else if (kind === "idx") fail(`${path} is one of MNIST's files: choose --set dataset=mnist, which needs no --data.`);
  else fail(`${path} is a single picture: name a folder that has a folder of pictures for each label.`);
}

/** Records, or a packed CSV. */
async function* gzipOf(path, words, modules) {
  const packed = createReadStream(path);
  const stream = packed.pipe(createGunzip());
  packed.on("error", (error) => stream.destroy(error));
  try {
    const first = await new Promise((resolve, reject) => {
      stream.once("readable", () => resolve(stream.read()));
      stream.once("error", reject);
    });
    if (first) stream.unshift(first);
    // Records begin with a label, which is no printable character.
    if (first && first[0] >= LABELS.length) {
      yield* csvOf(path, stream, words, modules);
      return;
    }
    stream.destroy();
  } catch (error) {
    if (!error.code?.startsWith("Z_")) throw error;
    fail(`${path} cannot be unpacked: it is damaged (${error.message}).`);
  }
  const records = gunzipSync(readFileSync(path));
  if (records.length % (PIXELS + 1) !== 0) fail(`${path} does not hold records of ${PIXELS + 1} bytes.`);
  for (let at = 0; at < records.length; at += PIXELS + 1) {
    yield [records[at], records.subarray(at + 1, at + 1 + PIXELS), null, null];
  }
}

async function* csvOf(path, stream, words, { FerCsvError, FerCsvReader }) {
  const reader = new FerCsvReader(words);
  const rows = function* (found) {
    for (const row of found) yield row instanceof FerCsvError ? row : [row.label, row.pixels, row.usage, row.client];
  };
  try {
    for await (const piece of stream) yield* rows(reader.push(piece));
    yield* rows(reader.finish());
  } catch (error) {
    if (!(error instanceof FerCsvError)) throw error;
    fail(`${path}: ${error.message}`);
  }
}

async function* zipOf(path, words, modules) {
  const { BlobReader, Uint8ArrayWriter, ZipReader, configure } = await import("@zip.js/zip.js");
  configure({ useWebWorkers: false });
  const zip = new ZipReader(new BlobReader(await openAsBlob(path)));
  try {
    const entries = (await zip.getEntries()).filter(({ directory }) => !directory);
    if (entries.some(({ encrypted }) => encrypted)) fail(`${path} is protected by a password: unpack it first.`);
    const pictures = entries.filter(({ filename }) => modules.placeOf(filename));
    for (const entry of pictures) {
      yield* pictureOf(entry.filename, () => entry.getData(new Uint8ArrayWriter()), words, modules);
    }
    if (pictures.length > 0) return;
    const csvs = entries.filter(({ filename }) => /\.csv$/i.test(filename) && !filename.includes("__MACOSX"));
    if (csvs.length === 0) fail(`${path} holds no picture and no CSV of faces.`);
    if (csvs.length > 1) fail(`${path} holds several CSVs: unpack it, and name the one that has the faces.`);
    const { readable, writable } = new TransformStream();
    const written = csvs[0].getData(writable);
    written.catch(() => undefined);
    yield* csvOf(`${path}/${csvs[0].filename}`, Readable.fromWeb(readable), words, modules);
    await written;
  } catch (error) {
    // Only what zip.js throws has no name of its own.
    if (error.name !== "Error" || error.code) throw error;
    fail(`${path} is no zip file that can be read (${error.message}).`);
  } finally {
    await zip.close();
  }
}

/** FER2013's records, pictures by label, or the one CSV of faces among other files. */
async function* folderOf(path, words, modules) {
  const names = readdirSync(path);
  if (names.includes("train.u8.gz") && names.includes("publictest.u8.gz")) {
    for (const [name, usage] of [
      ["train.u8.gz", "train"],
      ["publictest.u8.gz", "test"],
    ]) {
      for await (const [label, pixels] of gzipOf(join(path, name), words, modules)) yield [label, pixels, usage, null];
    }
    return;
  }
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  const pictures = files.filter((file) => modules.placeOf(join(basename(path), relative(path, file))));
  for (const file of pictures) {
    yield* pictureOf(join(basename(path), relative(path, file)), () => readFileSync(file), words, modules);
  }
  if (pictures.length > 0) return;
  const wanted = [];
  for (const file of files.slice(0, 1000)) {
    const head = await headOf(file, modules.HEAD);
    if (modules.isFaceCsv(head) || ["zip", "gzip"].includes(modules.fileKind(head))) wanted.push(file);
  }
  if (wanted.length === 0) fail(`${path} holds no picture in a folder of its label, and no CSV of faces.`);
  if (wanted.length > 1) fail(`${path} holds several data sets: name one of ${wanted.join(", ")}.`);
  yield* fileOf(wanted[0], words, modules);
}

/** One picture's middle square, by the folder that it lies in. */
async function* pictureOf(path, bytes, words, modules) {
  const { word, usage, client } = modules.placeOf(path);
  const label = words.read(word);
  if (label === null) {
    yield new Error(`${path}: its folder is none of ${LABELS.join(", ")}, or was left out.`);
    return;
  }
  const { default: sharp } = await import("sharp");
  try {
    const picture = sharp(await bytes())
      .rotate()
      .flatten({ background: "white" })
      .toColourspace("srgb");
    const data = await picture.resize(SIDE, SIDE, { fit: "cover" }).removeAlpha().raw().toBuffer();
    yield [label, modules.greyLevels(data, data.length / PIXELS), usage, client ?? null];
  } catch (error) {
    yield new Error(`${path}: it could not be read as a picture (${error.message}).`);
  }
}
