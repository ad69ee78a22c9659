import { BlobReader, BlobWriter, configure, ZipReader, type FileEntry } from "@zip.js/zip.js/lib/zip-core-native.js";
import { PackedError, piecesOf } from "../../src/base/gzip";
import { DataSetError, findDataSet, lookInto, plainOf, whyNotRead, type Looked } from "../../src/data/data-set";
import { FerCsvError } from "../../src/data/fer-csv";
import type { SourceFile } from "../../src/data/file-kind";
import { inChannels } from "../../src/data/grey";
import { decodeIdx, IdxError, idxSamples, isIdxName, type IdxPair, type OpenIdx } from "../../src/data/idx";
import { isPicture, type Place } from "../../src/data/image-folder";
import { LabelWords } from "../../src/data/label-words";
import { OwnDataError, OwnLabels } from "../../src/data/own-labels";
import { clearStrays, importAlone } from "../../src/lab/store";
import type { ImportApi, ImportFile, ImportOutcome, ImportSaid } from "./api";
import { failure, facesReading, ImportError, Intake, ownReading, Told, type Reading, type Sink } from "./intake";
import { Survey } from "./survey";

/** Imports a data set: reads its files in pieces and stores its samples in chunks, so that memory stays bounded. */

/** Bytes of the largest picture that is unpacked. */
const LARGEST_PICTURE = 50_000_000;

// A worker of its own would come from a blob: address, and this is one already.
configure({ useWebWorkers: false });

async function importCsv(looked: Looked<SourceFile>, intake: Sink): Promise<void> {
  const { reading } = intake;
  const { path } = looked.file;
  const reader = reading.csv();
  const take = async (rows: ReturnType<typeof reader.push>): Promise<void> => {
    for (const row of rows) {
      if (row instanceof FerCsvError) intake.leaveOut(row.message);
      else {
        const from = reader.shape?.channels ?? 1;
        await intake.add({ ...row, pixels: inChannels(row.pixels, from, reading.channels ?? from) });
      }
    }
  };
  try {
    for await (const piece of plainOf(looked)) {
      await take(reader.push(piece));
      intake.read(piece.length);
    }
    await take(reader.finish());
  } catch (error) {
    throw error instanceof FerCsvError ? failure(`${path}: ${error.message}`, error.code) : error;
  }
}

/** A picture by the folders that it lies in. @param path where it lies */
async function importImage(path: string, place: Place, blob: () => Promise<Blob>, intake: Sink): Promise<void> {
  const { word, usage, client } = place;
  const { reading } = intake;
  const label = reading.labels.read(word);
  if (label === null) {
    intake.leaveOut(`${path}: ${reading.whyNot(word)}.`);
    return;
  }
  let pixels: Uint8Array<ArrayBuffer> | null = null;
  try {
    pixels = await reading.picture(blob);
  } catch (error) {
    reading.labels.drop(word);
    intake.leaveOut(`${path}: it could not be read as a picture (${error instanceof Error ? error.message : ""}).`);
  }
  if (pixels) await intake.add({ label, usage, client, pixels });
}

/** Pictures and labels in IDX files. @param pairs of one size */
async function importIdxPairs(pairs: readonly IdxPair<OpenIdx>[], intake: Sink): Promise<void> {
  const { reading } = intake;
  const [{ shape }] = pairs as [(typeof pairs)[number]];
  if (!reading.idx) throw failure("These are IDX files, and no faces.", "wrong-header");
  reading.idx(shape);
  for (const pair of pairs) {
    let place = 0;
    for await (const { label: number, pixels } of idxSamples(pair)) {
      place += 1;
      const label = reading.labels.read(String(number));
      if (label === null) {
        intake.leaveOut(`${pair.pictures.path}, picture ${place}: ${reading.whyNot(String(number))}.`);
      } else {
        const taken = inChannels(pixels, shape.channels, reading.channels ?? shape.channels);
        await intake.add({ label, usage: pair.usage, client: null, pixels: taken });
      }
      intake.read(pair.pictures.bytes / (pair.pictures.shape[0] ?? 1));
    }
  }
}

/** How the data set among files is told from what lies beside it. */
const toFind = ({ labels }: Reading): Parameters<typeof findDataSet>[1] =>
  labels instanceof LabelWords
    ? { isLabel: (word) => labels.isKnown(word), areFaces: true }
    : { isLabel: (word) => word !== "", areFaces: false };

/** What is no pictures by label: a table, and the pictures beside it that are no part of it. @returns false where it is a zip */
async function importTable(
  found: Exclude<Awaited<ReturnType<typeof findDataSet>>, { as: "pictures" }>,
  intake: Sink,
): Promise<boolean> {
  const is = found.as === "idx" ? found.pairs[0]?.pictures.path : found.file.file.path;
  for (const { path } of found.others) intake.leaveOut(`${path}: it is left out, for the data set is ${is}.`);
  if (found.as === "idx") await importIdxPairs(found.pairs, intake);
  else if (found.as === "csv") await importCsv(found.file, intake);
  return found.as !== "zip";
}

/** What a file in a zip holds. */
function openedIn(entry: FileEntry): AsyncIterable<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  // Whoever has read enough of it lets go of it.
  entry.getData(writable).catch((error: unknown) => writable.abort(error).catch(() => undefined));
  return piecesOf(readable);
}

/** A zip of pictures, of IDX files, or of one CSV in a wrapper. */
async function importZip(file: File, intake: Sink): Promise<void> {
  const zip = new ZipReader(new BlobReader(file));
  try {
    // Of pictures only the names are kept: there may be very many.
    const all: (SourceFile | { path: string })[] = [];
    for await (const entry of zip.getEntriesGenerator()) {
      if (entry.directory) continue;
      const { filename: path, uncompressedSize: bytes, encrypted } = entry;
      if (encrypted) throw failure(`${file.name} is protected by a password: unpack it first.`);
      all.push(isPicture(path) ? { path } : { path, bytes, open: () => openedIn(entry) });
    }
    const found = await findDataSet<SourceFile, { path: string }>(all, toFind(intake.reading));
    if (found.as !== "pictures") {
      if (!(await importTable(found, intake))) {
        throw failure(`${file.name} holds another zip, ${found.as === "zip" ? found.file.file.path : ""}: unpack it.`);
      }
      return;
    }
    intake.expect?.(found.pictures.length);
    const places = new Map(found.pictures.map(({ file: { path }, place }) => [path, place]));
    for await (const entry of zip.getEntriesGenerator()) {
      const { filename, compressedSize, uncompressedSize } = entry;
      const place = places.get(filename);
      if (entry.directory || !place) continue;
      if (uncompressedSize > LARGEST_PICTURE) {
        intake.leaveOut(`${filename}: ${uncompressedSize} bytes are too many for a picture.`);
      } else await importImage(filename, place, () => entry.getData(new BlobWriter()), intake);
      intake.read(compressedSize);
    }
  } catch (error) {
    // Only what zip.js throws has no name of its own.
    if (error instanceof Error && error.name !== "Error") throw error;
    throw failure(`${file.name} is no zip file that can be read (${error instanceof Error ? error.message : ""}).`);
  } finally {
    await zip.close();
  }
}

/** Whether files are called as MNIST's four are. */
const isMnist = (files: ImportFile[]): boolean =>
  ["train-images", "train-labels", "t10k-images", "t10k-labels"].every((begin) =>
    files.some(({ file: { name } }) => isIdxName(name) && name.startsWith(begin)),
  );

/** MNIST's four files: pictures and labels, of training and test. */
async function importIdx(files: ImportFile[], told: Told): Promise<ImportOutcome> {
  const kind = { classes: 10, size: 784 };
  // What it reads has numbers for labels, and no words.
  const intake = new Intake({ name: "mnist", source: sourceOf(files) }, kind, facesReading(null), told);
  for (const [prefix, usage] of [
    ["train", "train"],
    ["t10k", "test"],
  ] as const) {
    const part = async (kind: "images" | "labels"): Promise<Uint8Array> => {
      const found = files.find(({ file: { name } }) => name.startsWith(`${prefix}-${kind}`));
      if (!found) throw failure(`MNIST has four files; the one that begins with ${prefix}-${kind} is not among these.`);
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      try {
        const looked = await lookInto(sourceFile(found));
        for await (const piece of plainOf(looked)) pieces.push(piece as Uint8Array<ArrayBuffer>);
        const { data } = decodeIdx(new Uint8Array(await new Blob(pieces).arrayBuffer()));
        intake.read(found.file.size);
        return data;
      } catch (error) {
        if (error instanceof PackedError) throw failure(error.message);
        throw failure(`${found.file.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    };
    const [pixels, labels] = [await part("images"), await part("labels")];
    if (pixels.length !== labels.length * 784) {
      throw failure(`${pixels.length / 784} pictures do not belong to ${labels.length} labels.`);
    }
    for (const [i, label] of labels.entries()) {
      await intake.add({ label, usage, pixels: pixels.subarray(i * 784, (i + 1) * 784) });
    }
  }
  return intake.finish();
}

function sourceOf(files: ImportFile[]): string {
  const [first] = files;
  if (!first) return "";
  if (files.length === 1) return first.file.name;
  return first.path.includes("/") ? (first.path.split("/")[0] ?? "") : `${files.length} files`;
}

/** A file as those who look into it take it. */
const sourceFile = ({ path, file }: ImportFile) => ({
  path,
  file,
  bytes: file.size,
  open: () => piecesOf(file.stream()),
});

/** One file that is no picture: a zip, or a CSV, packed or not. What it is says its content. */
async function importOne(only: ImportFile, intake: Sink): Promise<void> {
  const { file } = only;
  const looked = await lookInto({ ...sourceFile(only), path: file.name });
  const problem = whyNotRead(looked);
  if (problem !== undefined) throw failure(problem);
  if (looked.kind === "zip") return importZip(file, intake);
  if (looked.kind === "idx") {
    throw failure(
      `${file.name} is a single IDX file: choose the one with its pictures and the one with its labels together.`,
    );
  }
  await importCsv(looked, intake);
}

/** Files of one folder, or chosen together: pictures, or the one CSV of faces among others. */
async function importMany(files: ImportFile[], intake: Sink): Promise<void> {
  // A folder's files come in any order, and the order decides which of them test: it is that of the command line.
  const all = files.map(sourceFile).sort((a, b) => Number(a.path > b.path) - Number(a.path < b.path));
  const found = await findDataSet<(typeof all)[number], (typeof all)[number]>(all, toFind(intake.reading));
  if (found.as !== "pictures") {
    if (!(await importTable(found, intake)) && found.as === "zip") await importZip(found.file.file.file, intake);
    return;
  }
  intake.expect?.(found.pictures.length);
  for (const { file, place } of found.pictures) {
    await importImage(file.path, place, () => Promise.resolve(file.file), intake);
    intake.read(file.bytes);
  }
}

const importInto = async (files: ImportFile[], sink: Sink): Promise<ImportOutcome> => {
  const [only] = files;
  try {
    if (only && files.length === 1 && !isPicture(only.path)) await importOne(only, sink);
    else await importMany(files, sink);
  } catch (error) {
    const isSaid = [DataSetError, IdxError, PackedError].some((known) => error instanceof known);
    throw isSaid ? failure((error as Error).message) : error;
  }
  return sink.finish();
};

/** Looks through pictures of somebody's own, to ask how they are to be read. */
async function survey(
  files: ImportFile[],
  said: Extract<ImportSaid, { as: "own" }>,
  told: Told,
): Promise<ImportOutcome> {
  const sink = new Survey(said, told);
  try {
    return await importInto(files, sink);
  } catch (error) {
    if (!(error instanceof OwnDataError)) throw error;
    if (error.asks === null) throw failure(error.message);
    return { report: null, question: sink.question(error.message) };
  }
}

async function importOwn(
  files: ImportFile[],
  said: Extract<ImportSaid, { as: "own" }>,
  told: Told,
): Promise<ImportOutcome> {
  const { labels, shape, column, client = null } = said;
  if (!labels || !shape) return survey(files, said, told);
  const kind = { labels: new OwnLabels(labels).names, input: shape };
  try {
    return await importInto(
      files,
      new Intake({ name: "own", source: sourceOf(files) }, kind, ownReading(labels, kind, { column, client }), told),
    );
  } catch (error) {
    throw error instanceof OwnDataError ? failure(error.message) : error;
  }
}

/** Faces; where they turn out to be none of the seven expressions, what they are is asked. */
async function importFaces(
  files: ImportFile[],
  said: Extract<ImportSaid, { as: "faces" }>,
  told: Told,
): Promise<ImportOutcome> {
  const { client = null } = said;
  const intake = Intake.ofFaces(sourceOf(files), said.labels, client, told);
  try {
    return await importInto(files, intake);
  } catch (error) {
    const { labels } = intake.reading;
    const isOther = error instanceof ImportError && error.code === "wrong-header";
    const words = labels instanceof LabelWords ? labels.table : [];
    const hasNone = words.length > 0 && words.every(({ label }) => label === null);
    if (said.labels || !(isOther || hasNone)) throw error;
    // What is wrong with it as faces says more than what is wrong with it as anything.
    return survey(files, { as: "own", labels: null, shape: null, column: null, client }, told).catch(() => {
      throw error;
    });
  }
}

const importAll: ImportApi["run"] = async (files, said, onProgress) => {
  if (files.length === 0) throw failure("There is no file in it.");
  const told = new Told(
    files.reduce((sum, { file }) => sum + file.size, 0),
    onProgress,
  );
  if (said.as === "faces" && isMnist(files)) return importIdx(files, told);
  return said.as === "own" ? importOwn(files, said, told) : importFaces(files, said, told);
};

/** All or nothing: what an import that ends in an error or a question has stored is cleared away. */
export const run: ImportApi["run"] = (files, said, onProgress) =>
  importAlone(async () => {
    try {
      return await importAll(files, said, onProgress);
    } finally {
      // Of one that is done nothing is stray but what it has replaced.
      await clearStrays();
    }
  });
