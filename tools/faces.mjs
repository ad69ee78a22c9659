/** Labelled faces from a file, for the benchmarks and the lab; pictures with labels of their own: see own-data.mjs. */
import { createReadStream, openAsBlob, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
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
 * order of columns), plain, gzipped or the only one in a zip or folder; gzipped records of one label byte and 2,304 pixel bytes; a zip or a
 * folder of pictures in one folder for each label. Wrong lines are named and left out.
 * @param {string} path
 * @param {Record<string, number> | null} labels what the data's labels mean, where they are not FER2013's: `{ 1: 5 }` takes 1 for surprise
 * @param {string | null} client the column of a CSV that says whose each face is; null: one of the usual names, if there is one
 */
export async function* facesOf(path, labels = null, client = null) {
  const modules = await readers();
  const words = new modules.LabelWords(labels);
  const found = examplesIn(path, {
    modules,
    words,
    csv: () => new modules.FerCsvReader(words, null, client),
    client,
    isLabel: (word) => words.isKnown(word),
    areFaces: true,
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
  const { DataSetError, IdxError, PackedError } = reading.modules;
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) fail(`There is no ${path}.`);
  try {
    yield* stat.isDirectory() ? folderOf(path, reading) : fileOf(path, reading);
  } catch (error) {
    if (![DataSetError, IdxError, PackedError].some((known) => error instanceof known)) throw error;
    fail(error.message.startsWith(path) ? error.message : `${path}: ${error.message}`);
  }
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

/** A file on the disk as those who look into it take it. @param name what it is called among others */
const sourceOf = (path, name) => ({
  path: name,
  place: path,
  bytes: statSync(path).size,
  open: () => createReadStream(path, { highWaterMark: 1 << 20 }),
});

/** Examples and errors of one file, whatever it is. */
async function* fileOf(path, reading) {
  const looked = await reading.modules.lookInto(sourceOf(path, path));
  const { kind, isPacked, head } = looked;
  const problem = reading.modules.whyNotRead(looked);
  if (problem) fail(problem);
  if (kind === "zip") yield* zipOf(path, reading);
  else if (kind === "idx") fail(oneIdx(path));
  else if (kind === "picture")
    fail(`${path} is a single picture: name a folder that has a folder of pictures for each label.`);
  // Records begin with a label, which is no printable character.
  else if (isPacked && head[0] < LABELS.length) yield* recordsOf(looked, reading);
  else yield* csvOf(looked, reading);
}

const oneIdx = (path) =>
  `${path} is a single IDX file: name the folder or the zip that holds its pictures and its labels. (MNIST's own need none: --set dataset=mnist.)`;

/** Pictures and labels in IDX files, as MNIST has them. */
async function* idxOf(path, pairs, reading) {
  const { modules, words } = reading;
  if (!reading.idx)
    fail(`${path} holds IDX files, which are pictures: choose --set dataset=own. (MNIST's own need no --data.)`);
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
}

/** Gzipped records of one label byte and 2,304 pixel bytes. */
async function* recordsOf(looked, { modules, areFaces }) {
  const { path } = looked.file;
  if (!areFaces) fail(`${path} holds records of faces: choose --set dataset=fer2013.`);
  const pieces = [];
  for await (const piece of modules.plainOf(looked)) pieces.push(piece);
  const records = Buffer.concat(pieces);
  if (records.length % (PIXELS + 1) !== 0) fail(`${path} does not hold records of ${PIXELS + 1} bytes.`);
  for (let at = 0; at < records.length; at += PIXELS + 1) {
    yield [records[at], records.subarray(at + 1, at + 1 + PIXELS), null, null];
  }
}

async function* csvOf(looked, reading) {
  const { FerCsvError, plainOf } = reading.modules;
  const reader = reading.csv();
  const rows = function* (found) {
    for (const row of found) yield row instanceof FerCsvError ? row : [row.label, row.pixels, row.usage, row.client];
  };
  try {
    for await (const piece of plainOf(looked)) yield* rows(reader.push(piece));
    yield* rows(reader.finish());
  } catch (error) {
    if (!(error instanceof FerCsvError)) throw error;
    fail(`${looked.file.path}: ${error.message}`);
  }
}

async function* zipOf(path, reading) {
  const { BlobReader, Uint8ArrayWriter, ZipReader, configure } = await import("@zip.js/zip.js");
  configure({ useWebWorkers: false });
  const zip = new ZipReader(new BlobReader(await openAsBlob(path)));
  try {
    const entries = (await zip.getEntries()).filter(({ directory }) => !directory);
    if (entries.some(({ encrypted }) => encrypted)) fail(`${path} is protected by a password: unpack it first.`);
    const files = entries.map((entry) => ({
      path: entry.filename,
      bytes: entry.uncompressedSize,
      open: () => piecesOf(entry),
      whole: () => entry.getData(new Uint8ArrayWriter()),
    }));
    yield* dataSetOf(path, files, reading);
  } catch (error) {
    // Only what zip.js throws has no name of its own.
    if (error.name !== "Error" || error.code) throw error;
    fail(`${path} is no zip file that can be read (${error.message}).`);
  } finally {
    await zip.close();
  }
}

/** What a file in a zip holds. */
async function* piecesOf(entry) {
  const { readable, writable } = new TransformStream();
  // Whoever has read enough of it lets go of it.
  entry.getData(writable).catch((error) => writable.abort(error).catch(() => undefined));
  yield* readable;
}

/** FER2013's records, pictures by label, IDX files, or the one CSV of faces among other files. */
async function* folderOf(path, reading) {
  const names = readdirSync(path);
  if (names.includes("train.u8.gz") && names.includes("publictest.u8.gz")) {
    for (const [name, usage] of [
      ["train.u8.gz", "train"],
      ["publictest.u8.gz", "test"],
    ]) {
      const file = join(path, name);
      for await (const found of recordsOf(await reading.modules.lookInto(sourceOf(file, file)), reading)) {
        yield [found[0], found[1], usage, null];
      }
    }
    return;
  }
  const [files, lost] = [[], []];
  walk(path, basename(resolve(path)), files, lost);
  files.sort((a, b) => Number(a.path > b.path) - Number(a.path < b.path));
  for (const name of lost) yield new Error(`${name}: it is a link to what is not there.`);
  yield* dataSetOf(path, files, reading);
}

/** Every file in a folder, those behind symbolic links too. @param above the folders that it lies in, to leave out those that hold themselves */
function walk(folder, name, files, lost, above = []) {
  const real = realpathSync(folder);
  if (above.includes(real)) return;
  for (const entry of readdirSync(folder)) {
    const path = join(folder, entry);
    const inner = `${name}/${entry}`;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) lost.push(inner);
    else if (stat.isDirectory()) walk(path, inner, files, lost, [...above, real]);
    else if (stat.isFile()) files.push({ ...sourceOf(path, inner), whole: () => readFileSync(path) });
  }
}

/** The data set among files of a folder or zip. @param files with all of their bytes by `whole` */
async function* dataSetOf(path, files, reading) {
  const found = await reading.modules.findDataSet(files, reading);
  if (["pictures", "idx"].includes(found.as)) {
    const none = `names a column of a CSV, and ${path} holds none.`;
    if (reading.column)
      fail(`--column ${reading.column} ${none} What a picture shows says its folder, or the file of labels beside it.`);
    if (reading.client)
      fail(`--client ${reading.client} ${none} Whose a picture is says the folder above its label's.`);
  }
  if (found.as === "pictures") {
    yield* picturesOf(found.pictures, reading);
    return;
  }
  const is = found.as === "idx" ? found.pairs[0].pictures.path : found.file.file.path;
  for (const picture of found.others) yield new Error(`${picture.path}: it is left out, for the data set is ${is}.`);
  if (found.as === "idx") yield* idxOf(path, found.pairs, reading);
  else if (found.as === "csv") yield* csvOf(found.file, reading);
  else if (found.file.file.place) yield* zipOf(found.file.file.place, reading);
  else fail(`${path} holds another zip, ${is}: unpack it.`);
}

/** Pictures by the folders that they lie in. */
async function* picturesOf(pictures, reading) {
  const { words } = reading;
  await reading.survey?.(pictures.map(({ file }) => file));
  for (const {
    file: { path, whole },
    place: { word, usage, client },
  } of pictures) {
    const label = words.read(word);
    if (label === null) {
      yield new Error(`${path}: ${reading.whyNot(word)}.`);
      continue;
    }
    let pixels;
    try {
      pixels = await reading.picture(await whole());
    } catch (error) {
      words.drop(word);
      yield new Error(`${path}: it could not be read as a picture (${error.message}).`);
      continue;
    }
    yield [label, pixels, usage, client];
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
