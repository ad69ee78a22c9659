import { BlobReader, BlobWriter, configure, ZipReader, type FileEntry } from "@zip.js/zip.js/lib/zip-core-native.js";
import * as Comlink from "comlink";
import { FerCsvError, isFaceCsv, isPictureCsv } from "../../src/data/fer-csv";
import { fileKind, HEAD } from "../../src/data/file-kind";
import { inChannels } from "../../src/data/grey";
import { decodeIdx, idxFilesOf, IdxError, idxSamples, isIdxName, pairIdx, type IdxSource } from "../../src/data/idx";
import { placeOf } from "../../src/data/image-folder";
import { LabelWords } from "../../src/data/label-words";
import { OwnDataError, OwnLabels } from "../../src/data/own-labels";
import { clearStrays, importAlone } from "../../src/lab/store";
import { showLife } from "../life";
import type { ImportApi, ImportFile, ImportOutcome, ImportSaid } from "./api";
import { failure, facesReading, ImportError, Intake, ownReading, TOLD, Told, type Sink } from "./intake";
import { Survey } from "./survey";

/** Imports a data set: reads its files in pieces and stores its samples in chunks, so that memory stays bounded. */

/** Bytes of the largest picture that is unpacked. */
const LARGEST_PICTURE = 50_000_000;

// A worker of its own would come from a blob: address, and this is one already.
configure({ useWebWorkers: false });

async function importCsv(name: string, stream: ReadableStream<Uint8Array>, intake: Sink): Promise<void> {
  const { reading } = intake;
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
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) {
      await take(reader.push(piece));
      intake.read(piece.length);
    }
    await take(reader.finish());
  } catch (error) {
    throw error instanceof FerCsvError ? failure(`${name}: ${error.message}`, error.code) : error;
  }
}

async function importImage(path: string, bytes: number, blob: () => Promise<Blob>, intake: Sink): Promise<void> {
  const place = placeOf(path);
  if (place) {
    const { word, usage, client } = place;
    const { reading } = intake;
    const label = reading.labels.read(word);
    if (label === null) intake.leaveOut(`${path}: ${reading.whyNot(word)}.`);
    else {
      let pixels: Uint8Array<ArrayBuffer> | null = null;
      try {
        pixels = await reading.picture(blob);
      } catch (error) {
        reading.labels.drop(word);
        intake.leaveOut(`${path}: it could not be read as a picture (${error instanceof Error ? error.message : ""}).`);
      }
      if (pixels) await intake.add({ label, usage, client, pixels });
    }
  }
  intake.read(bytes);
}

/** Bytes of a stream, unpacked where they are gzipped. */
const plainBytes = (stream: ReadableStream<Uint8Array<ArrayBuffer>>, isPacked: boolean): AsyncIterable<Uint8Array> =>
  isPacked ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;

/**
 * Pictures and labels in IDX files.
 * @param sources those that may be some
 * @returns false where none of them is
 */
async function importIdxPairs(sources: readonly IdxSource[], intake: Sink): Promise<boolean> {
  const { reading } = intake;
  try {
    const files = await idxFilesOf(sources);
    if (files.length === 0) return false;
    const pairs = pairIdx(files);
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
    return true;
  } catch (error) {
    throw error instanceof IdxError ? failure(error.message) : error;
  }
}

/** A zip of pictures, of IDX files, or of one CSV in a wrapper. */
async function importZip({ file }: ImportFile, intake: Sink): Promise<void> {
  const zip = new ZipReader(new BlobReader(file));
  const others: FileEntry[] = [];
  let pictures = 0;
  try {
    for await (const entry of zip.getEntriesGenerator()) {
      if (entry.directory) continue;
      const { filename, compressedSize, uncompressedSize, encrypted } = entry;
      if (encrypted) throw failure(`${file.name} is protected by a password: unpack it first.`);
      if (!placeOf(filename)) {
        if (others.length < TOLD || isIdxName(filename)) others.push(entry);
        continue;
      }
      pictures += 1;
      if (uncompressedSize > LARGEST_PICTURE) {
        intake.leaveOut(`${filename}: ${uncompressedSize} bytes are too many for a picture.`);
        continue;
      }
      const read = (): Promise<Blob> => entry.getData(new BlobWriter());
      await importImage(filename, compressedSize, read, intake);
    }
    if (pictures > 0) return;
    const sources = others
      .filter(({ filename }) => isIdxName(filename))
      .map((entry) => ({
        path: entry.filename,
        bytes: entry.compressedSize,
        open: () => {
          const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
          // Whoever has read enough of it lets go of it.
          entry.getData(writable).catch(() => undefined);
          return plainBytes(readable, /\.gz$/i.test(entry.filename));
        },
      }));
    if (await importIdxPairs(sources, intake)) return;
    const [csv, ...more] = others.filter(({ filename }) => /\.csv$/i.test(filename) && !filename.includes("__MACOSX"));
    if (!csv) throw failure(`${file.name} holds no picture and no CSV of faces.`);
    if (more.length > 0) throw failure(`${file.name} holds several CSVs: import the one that has the faces.`);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    await Promise.all([csv.getData(writable), importCsv(csv.filename, readable, intake)]);
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
      const packed = found.file.name.endsWith(".gz");
      const stream = found.file.stream();
      const plain = packed ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;
      try {
        const { data } = decodeIdx(new Uint8Array(await new Response(plain).arrayBuffer()));
        intake.read(found.file.size);
        return data;
      } catch (error) {
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

const headOf = async (file: Blob): Promise<Uint8Array> => new Uint8Array(await file.slice(0, HEAD).arrayBuffer());

/** One file that is no picture: a zip, or a CSV, packed or not. What it is says its content. */
async function importOne(only: ImportFile, intake: Sink): Promise<void> {
  const { file } = only;
  const kind = fileKind(await headOf(file));
  if (kind === "zip") return importZip(only, intake);
  if (kind === "idx" || (kind === "gzip" && isIdxName(file.name))) {
    throw failure(
      `${file.name} is a single IDX file: choose the one with its pictures and the one with its labels together.`,
    );
  }
  const packed = kind === "gzip";
  const stream = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  try {
    await importCsv(file.name, stream, intake);
  } catch (error) {
    // What does not unpack, of the browser's own.
    if (packed && error instanceof TypeError) throw failure(`${file.name} cannot be unpacked: it is damaged.`);
    throw error;
  }
}

/** Files of one folder, or chosen together: pictures, or the one CSV of faces among others. */
async function importMany(files: ImportFile[], intake: Sink): Promise<void> {
  if (files.some(({ path }) => placeOf(path))) {
    for (const { path, file } of files) await importImage(path, file.size, () => Promise.resolve(file), intake);
    return;
  }
  const named = files.filter(({ path }) => isIdxName(path));
  const sources = await Promise.all(
    named.map(async ({ path, file }) => {
      const isPacked = fileKind(await headOf(file)) === "gzip";
      return { path, bytes: file.size, open: () => plainBytes(file.stream(), isPacked) };
    }),
  );
  if (await importIdxPairs(sources, intake)) return;
  const [faces, pictures]: [ImportFile[], ImportFile[]] = [[], []];
  for (const one of files.slice(0, 1000)) {
    const head = await headOf(one.file);
    if (isFaceCsv(head)) faces.push(one);
    else if (isPictureCsv(head)) pictures.push(one);
  }
  const csvs = faces.length > 0 ? faces : pictures;
  const [csv, ...more] = csvs;
  if (!csv) throw failure(`There is no picture and no CSV of faces among these ${files.length} files.`);
  if (more.length > 0) {
    throw failure(`There are several CSVs of faces: choose one of ${csvs.map(({ path }) => path).join(", ")}.`);
  }
  await importOne(csv, intake);
}

const importInto = async (files: ImportFile[], sink: Sink): Promise<ImportOutcome> => {
  const [only] = files;
  if (only && files.length === 1 && !placeOf(only.path)) await importOne(only, sink);
  else await importMany(files, sink);
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
  const { labels, shape, column } = said;
  if (!labels || !shape) return survey(files, said, told);
  const kind = { labels: new OwnLabels(labels).names, input: shape };
  try {
    return await importInto(
      files,
      new Intake({ name: "own", source: sourceOf(files) }, kind, ownReading(labels, kind, column), told),
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
  const intake = Intake.ofFaces(sourceOf(files), said.labels, told);
  try {
    return await importInto(files, intake);
  } catch (error) {
    const { labels } = intake.reading;
    const isOther = error instanceof ImportError && error.code === "wrong-header";
    const words = labels instanceof LabelWords ? labels.table : [];
    const hasNone = words.length > 0 && words.every(({ label }) => label === null);
    if (said.labels || !(isOther || hasNone)) throw error;
    // What is wrong with it as faces says more than what is wrong with it as anything.
    return survey(files, { as: "own", labels: null, shape: null, column: null }, told).catch(() => {
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
const run: ImportApi["run"] = (files, said, onProgress) =>
  importAlone(async () => {
    try {
      return await importAll(files, said, onProgress);
    } finally {
      // Of one that is done nothing is stray but what it has replaced.
      await clearStrays();
    }
  });

showLife();
Comlink.expose({ run } satisfies ImportApi);
