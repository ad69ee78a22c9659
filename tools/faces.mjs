/** Labelled faces from a file, for the benchmarks and the lab; pictures with labels of their own: see own-data.mjs. */
import { createReadStream, openAsBlob, readdirSync, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { Readable } from "node:stream";
import { createGunzip, gunzipSync } from "node:zlib";
import { load } from "./load.mjs";

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

export const readers = () => load("tools/readers.ts");

/**
 * The faces of a file or folder as [label, pixels, usage, client]: usage is `train` or `test`, or null where nobody says; client is whose
 * face it is, or null. What a file is says its content, not its name: FER2013's CSV (`emotion,pixels` or `emotion,Usage,pixels`, any
 * order of columns), plain, gzipped or alone in a zip or folder; gzipped records of one label byte and 2,304 pixel bytes; a zip or a
 * folder of pictures in one folder for each label. Wrong lines are named and left out.
 * @param {string} path
 * @param {Record<string, number> | null} labels what the data's labels mean, where they are not FER2013's: `{ 1: 5 }` takes 1 for surprise
 */
export async function* facesOf(path, labels = null) {
  const modules = await readers();
  const words = new modules.LabelWords(labels);
  const found = examplesIn(path, {
    modules,
    words,
    csv: () => new modules.FerCsvReader(words),
    isCsv: modules.isFaceCsv,
    hasRecords: true,
    picture: async (bytes) => {
      const { data } = await pictureOf(bytes, { width: SIDE, height: SIDE });
      return modules.greyLevels(data, 3);
    },
    whyNot: () => `its folder is none of ${LABELS.join(", ")}, or was left out`,
  });
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

/**
 * Examples as [label, pixels, usage, client], and errors of what is left out, of a file or a folder.
 * @param reading how its labels, its CSV and its pictures are read
 */
export async function* examplesIn(path, reading) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) fail(`There is no ${path}.`);
  yield* stat.isDirectory() ? folderOf(path, reading) : fileOf(path, reading);
}

/** Counts what was left out and tells the first ones; without an argument it tells how many there were. */
export function leftOut(path) {
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

/** Examples and errors of one file, whatever it is. */
async function* fileOf(path, reading) {
  const { fileKind, HEAD } = reading.modules;
  const kind = fileKind(await headOf(path, HEAD));
  if (kind === "zip") yield* zipOf(path, reading);
  else if (kind === "gzip") yield* gzipOf(path, reading);
  else if (kind === "text") yield* csvOf(path, createReadStream(path, { highWaterMark: 1 << 20 }), reading);
  else if (kind === "idx") fail(oneIdx(path));
  else fail(`${path} is a single picture: name a folder that has a folder of pictures for each label.`);
}

const oneIdx = (path) =>
  `${path} is a single IDX file: name the folder or the zip that holds its pictures and its labels. (MNIST's own need none: --set dataset=mnist.)`;

/** Pictures and labels in IDX files, as MNIST has them. @param sources those that may be some; where none is, nothing comes */
async function* idxOf(path, sources, reading) {
  const { modules, words } = reading;
  try {
    const files = await modules.idxFilesOf(sources);
    if (files.length === 0) return;
    if (!reading.idx)
      fail(`${path} holds IDX files, which are pictures: choose --set dataset=own. (MNIST's own need no --data.)`);
    const pairs = modules.pairIdx(files);
    reading.idx(pairs[0].shape);
    for (const pair of pairs) {
      let place = 0;
      for await (const { label: number, pixels } of modules.idxSamples(pair)) {
        place += 1;
        const label = words.read(String(number));
        if (label === null)
          yield new Error(`${pair.pictures.path}, picture ${place}: ${reading.whyNot(String(number))}.`);
        else yield [label, pixels, pair.usage, null];
      }
    }
  } catch (error) {
    if (!(error instanceof modules.IdxError)) throw error;
    fail(`${path}: ${error.message}`);
  }
}

/** A file's bytes, unpacked where they are gzipped. */
async function* plainBytes(file, isPacked) {
  const stream = createReadStream(file, { highWaterMark: 1 << 20 });
  yield* isPacked ? stream.pipe(createGunzip()) : stream;
}

/** Records, or a packed CSV. */
async function* gzipOf(path, reading) {
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
      yield* csvOf(path, stream, reading);
      return;
    }
    stream.destroy();
    if (first?.[0] === 0 && first[1] === 0 && first[2] === 8) fail(oneIdx(path));
    if (!reading.hasRecords) fail(`${path} holds records of faces: choose --set dataset=fer2013.`);
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

async function* csvOf(path, stream, reading) {
  const { FerCsvError } = reading.modules;
  const reader = reading.csv();
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

async function* zipOf(path, reading) {
  const { BlobReader, Uint8ArrayWriter, ZipReader, configure } = await import("@zip.js/zip.js");
  configure({ useWebWorkers: false });
  const zip = new ZipReader(new BlobReader(await openAsBlob(path)));
  try {
    const entries = (await zip.getEntries()).filter(({ directory }) => !directory);
    if (entries.some(({ encrypted }) => encrypted)) fail(`${path} is protected by a password: unpack it first.`);
    const pictures = entries.filter(({ filename }) => reading.modules.placeOf(filename));
    yield* picturesOf(
      pictures.map((entry) => ({ path: entry.filename, bytes: () => entry.getData(new Uint8ArrayWriter()) })),
      reading,
    );
    if (pictures.length > 0) return;
    let some = 0;
    for await (const found of idxOf(path, entries.filter(isIdxEntry(reading)).map(idxEntry), reading)) {
      some += 1;
      yield found;
    }
    if (some > 0) return;
    const csvs = entries.filter(({ filename }) => /\.csv$/i.test(filename) && !filename.includes("__MACOSX"));
    if (csvs.length === 0) fail(`${path} holds no picture and no CSV of faces.`);
    if (csvs.length > 1) fail(`${path} holds several CSVs: unpack it, and name the one that has the faces.`);
    const { readable, writable } = new TransformStream();
    const written = csvs[0].getData(writable);
    written.catch(() => undefined);
    yield* csvOf(`${path}/${csvs[0].filename}`, Readable.fromWeb(readable), reading);
    await written;
  } catch (error) {
    // Only what zip.js throws has no name of its own.
    if (error.name !== "Error" || error.code) throw error;
    fail(`${path} is no zip file that can be read (${error.message}).`);
  } finally {
    await zip.close();
  }
}

const isIdxEntry =
  ({ modules }) =>
  ({ filename }) =>
    modules.isIdxName(filename);

/** A file in a zip, which may be packed once more. */
const idxEntry = (entry) => ({
  path: entry.filename,
  bytes: entry.compressedSize,
  open: async function* () {
    const { readable, writable } = new TransformStream();
    // Whoever has read enough of it lets go of it.
    entry.getData(writable).catch(() => undefined);
    const stream = Readable.fromWeb(readable);
    yield* /\.gz$/i.test(entry.filename) ? stream.pipe(createGunzip()) : stream;
  },
});

/** FER2013's records, pictures by label, IDX files, or the one CSV of faces among other files. */
async function* folderOf(path, reading) {
  const { modules } = reading;
  const names = readdirSync(path);
  if (names.includes("train.u8.gz") && names.includes("publictest.u8.gz")) {
    for (const [name, usage] of [
      ["train.u8.gz", "train"],
      ["publictest.u8.gz", "test"],
    ]) {
      for await (const [label, pixels] of gzipOf(join(path, name), reading)) yield [label, pixels, usage, null];
    }
    return;
  }
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  const pictures = files
    .map((file) => ({ path: join(basename(path), relative(path, file)), bytes: () => readFileSync(file) }))
    .filter((picture) => modules.placeOf(picture.path));
  yield* picturesOf(pictures, reading);
  if (pictures.length > 0) return;
  const sources = [];
  for (const file of files.filter(modules.isIdxName)) {
    const isPacked = modules.fileKind(await headOf(file, modules.HEAD)) === "gzip";
    sources.push({ path: relative(path, file), bytes: statSync(file).size, open: () => plainBytes(file, isPacked) });
  }
  let some = 0;
  for await (const found of idxOf(path, sources, reading)) {
    some += 1;
    yield found;
  }
  if (some > 0) return;
  const wanted = [];
  for (const file of files.slice(0, 1000)) {
    const head = await headOf(file, modules.HEAD);
    if (reading.isCsv(head) || ["zip", "gzip"].includes(modules.fileKind(head))) wanted.push(file);
  }
  if (wanted.length === 0) fail(`${path} holds no picture in a folder of its label, and no CSV of faces.`);
  if (wanted.length > 1) fail(`${path} holds several data sets: name one of ${wanted.join(", ")}.`);
  yield* fileOf(wanted[0], reading);
}

/** Pictures by the folders that they lie in. */
async function* picturesOf(pictures, reading) {
  const { modules, words } = reading;
  await reading.survey?.(pictures);
  for (const { path, bytes } of pictures) {
    const { word, usage, client } = modules.placeOf(path);
    const label = words.read(word);
    if (label === null) {
      yield new Error(`${path}: ${reading.whyNot(word)}.`);
      continue;
    }
    let pixels;
    try {
      pixels = await reading.picture(await bytes());
    } catch (error) {
      words.drop(word);
      yield new Error(`${path}: it could not be read as a picture (${error.message}).`);
      continue;
    }
    yield [label, pixels, usage, client ?? null];
  }
}

/** The middle of a picture at a size, as red, green and blue; what is transparent is white. */
export async function pictureOf(bytes, { width, height }) {
  const { default: sharp } = await import("sharp");
  return sharp(bytes)
    .rotate()
    .flatten({ background: "white" })
    .toColourspace("srgb")
    .resize(width, height, { fit: "cover" })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
}
