import { BlobReader, BlobWriter, configure, ZipReader, type FileEntry } from "@zip.js/zip.js/lib/zip-core-native.js";
import * as Comlink from "comlink";
import { FerCsvError, FerCsvReader, isFaceCsv } from "../../src/data/fer-csv";
import { fileKind, HEAD } from "../../src/data/file-kind";
import { decodeIdx } from "../../src/data/idx";
import { placeOf } from "../../src/data/image-folder";
import { LabelWords } from "../../src/data/label-words";
import { EXPRESSIONS, FACE_PIXELS, FACE_SIZE } from "../../src/model/expressions";
import { isTest, type Sample } from "../../src/simulation/data";
import { addChunk, clearStrays, importAlone, putDataset, type Dataset } from "../../src/lab/store";
import { greyPicture } from "../grey-picture";
import { showLife } from "../life";
import {
  IMPORT_FAILED,
  type ImportApi,
  type ImportFile,
  type ImportOutcome,
  type ImportProgress,
  type ImportReport,
} from "./api";

/** Imports a data set: reads its files in pieces and stores its samples in chunks, so that memory stays bounded. */

/** Samples of a chunk: 2.3 MB of faces. */
const CHUNK = 1000;
/** Problems that are told in full. */
const TOLD = 20;
/** Bytes of the largest picture that is unpacked. */
const LARGEST_PICTURE = 50_000_000;
/** The page is told how far it is at most this often. */
const REPORT_MS = 100;

// A worker of its own would come from a blob: address, and this is one already.
configure({ useWebWorkers: false });

const failure = (message: string): Error => Object.assign(new Error(message), { name: IMPORT_FAILED });

/** Samples on their way into the store, and what is said about them. */
class Intake {
  readonly #generation = crypto.randomUUID();
  readonly #train: number[];
  readonly #test: number[];
  readonly #problems: string[] = [];
  /** Numbers of those whose samples these are, from 1. */
  readonly #clients = new Map<string, number>();
  #chunk: (Sample & { test: boolean })[] = [];
  #chunks = 0;
  #samples = 0;
  #wrong = 0;
  #done = 0;
  #told = 0;

  constructor(
    readonly dataset: Pick<Dataset, "name" | "source">,
    classes: number,
    /** Of one sample. */
    readonly pixels: number,
    readonly bytes: number,
    readonly onProgress: (progress: ImportProgress) => void,
    readonly labels = new LabelWords(),
  ) {
    this.#train = Array<number>(classes).fill(0);
    this.#test = Array<number>(classes).fill(0);
  }

  async add(sample: Sample): Promise<void> {
    const test = isTest(sample.usage, this.#samples);
    const counts = test ? this.#test : this.#train;
    counts[sample.label] = (counts[sample.label] ?? 0) + 1;
    this.#samples += 1;
    this.#chunk.push({ ...sample, test });
    if (this.#chunk.length === CHUNK) await this.#flush();
  }

  leaveOut(problem: string): void {
    this.#wrong += 1;
    if (this.#problems.length < TOLD) this.#problems.push(problem);
  }

  /** Counts bytes that have been read. */
  read(bytes: number): void {
    this.#done += bytes;
    if (performance.now() - this.#told < REPORT_MS) return;
    this.#told = performance.now();
    this.onProgress({ done: this.#done, of: this.bytes, samples: this.#samples, wrong: this.#wrong });
  }

  async finish(): Promise<ImportOutcome> {
    if (this.labels.isQuestion) return { report: null, question: this.labels.table };
    return { report: await this.#commit(), question: null };
  }

  async #commit(): Promise<ImportReport> {
    await this.#flush();
    const first = this.#problems[0];
    if (this.#samples === 0) throw failure(first ? `No picture could be used. ${first}` : "There is no picture in it.");
    for (const [counts, what] of [
      [this.#train, "to train on"],
      [this.#test, "to test with"],
    ] as const) {
      if (counts.every((count) => count === 0)) throw failure(`None of the ${this.#samples} pictures is ${what}.`);
    }
    const dataset: Dataset = {
      ...this.dataset,
      generation: this.#generation,
      train: this.#train,
      test: this.#test,
      bytes: this.#samples * this.pixels,
      importedAt: Date.now(),
    };
    await putDataset(dataset);
    return { dataset, samples: this.#samples, wrong: this.#wrong, problems: this.#problems, labels: this.labels.table };
  }

  #numberOf(client: string | null): number {
    if (client === null) return 0;
    const number = this.#clients.get(client) ?? this.#clients.size + 1;
    this.#clients.set(client, number);
    return number;
  }

  async #flush(): Promise<void> {
    if (this.#chunk.length === 0) return;
    const pixels = new Uint8Array(this.#chunk.length * this.pixels);
    this.#chunk.forEach((sample, i) => pixels.set(sample.pixels, i * this.pixels));
    await addChunk(this.#generation, this.#chunks, {
      pixels,
      labels: Uint8Array.from(this.#chunk, ({ label }) => label),
      test: Uint8Array.from(this.#chunk, ({ test }) => Number(test)),
      clients: Uint32Array.from(this.#chunk, ({ client }) => this.#numberOf(client ?? null)),
    });
    this.#chunks += 1;
    this.#chunk = [];
  }
}

async function importCsv(name: string, stream: ReadableStream<Uint8Array>, intake: Intake): Promise<void> {
  const reader = new FerCsvReader(intake.labels);
  const take = async (rows: ReturnType<FerCsvReader["push"]>): Promise<void> => {
    for (const row of rows) {
      if (row instanceof FerCsvError) intake.leaveOut(row.message);
      else await intake.add(row);
    }
  };
  try {
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) {
      await take(reader.push(piece));
      intake.read(piece.length);
    }
    await take(reader.finish());
  } catch (error) {
    throw error instanceof FerCsvError ? failure(`${name}: ${error.message}`) : error;
  }
}

/** A picture's middle square as 48 x 48 grey levels. @throws DOMException when it is no picture */
async function greyFace(blob: Blob): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(blob);
  const side = Math.min(bitmap.width, bitmap.height);
  const middle = { x: (bitmap.width - side) / 2, y: (bitmap.height - side) / 2, side };
  try {
    return greyPicture(bitmap, middle, FACE_SIZE);
  } finally {
    bitmap.close();
  }
}

async function importImage(path: string, bytes: number, blob: () => Promise<Blob>, intake: Intake): Promise<void> {
  const place = placeOf(path);
  if (place) {
    const { word, usage, client } = place;
    const label = intake.labels.read(word);
    if (label === null) {
      const why = intake.labels.isKnown(word)
        ? `the folder "${word}" is left out, as was asked`
        : `its folder is none of ${EXPRESSIONS.join(", ")}`;
      intake.leaveOut(`${path}: ${why}.`);
    } else {
      let pixels: Uint8Array | undefined;
      try {
        pixels = await greyFace(await blob());
      } catch (error) {
        intake.leaveOut(`${path}: it could not be read as a picture (${error instanceof Error ? error.message : ""}).`);
      }
      if (pixels) await intake.add({ label, usage, client, pixels });
    }
  }
  intake.read(bytes);
}

/** A zip of pictures, or of one CSV in a wrapper. */
async function importZip({ file }: ImportFile, intake: Intake): Promise<void> {
  const zip = new ZipReader(new BlobReader(file));
  const others: FileEntry[] = [];
  let pictures = 0;
  try {
    for await (const entry of zip.getEntriesGenerator()) {
      if (entry.directory) continue;
      const { filename, compressedSize, uncompressedSize, encrypted } = entry;
      if (encrypted) throw failure(`${file.name} is protected by a password: unpack it first.`);
      if (!placeOf(filename)) {
        if (others.length < TOLD) others.push(entry);
        continue;
      }
      pictures += 1;
      if (uncompressedSize > LARGEST_PICTURE) {
        intake.leaveOut(`${filename}: ${uncompressedSize} bytes are too many for a picture of a face.`);
        continue;
      }
      const read = (): Promise<Blob> => entry.getData(new BlobWriter());
      await importImage(filename, compressedSize, read, intake);
    }
    if (pictures > 0) return;
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

/** MNIST's four files: pictures and labels, of training and test. */
async function importIdx(files: ImportFile[], onProgress: (progress: ImportProgress) => void): Promise<ImportOutcome> {
  const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
  const intake = new Intake({ name: "mnist", source: sourceOf(files) }, 10, 784, bytes, onProgress);
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
async function importOne(only: ImportFile, intake: Intake): Promise<void> {
  const { file } = only;
  const kind = fileKind(await headOf(file));
  if (kind === "zip") return importZip(only, intake);
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
async function importMany(files: ImportFile[], intake: Intake): Promise<void> {
  if (files.some(({ path }) => placeOf(path))) {
    for (const { path, file } of files) await importImage(path, file.size, () => Promise.resolve(file), intake);
    return;
  }
  const csvs: ImportFile[] = [];
  for (const one of files.slice(0, 1000)) if (isFaceCsv(await headOf(one.file))) csvs.push(one);
  const [csv, ...more] = csvs;
  if (!csv) throw failure(`There is no picture and no CSV of faces among these ${files.length} files.`);
  if (more.length > 0) {
    throw failure(`There are several CSVs of faces: choose one of ${csvs.map(({ path }) => path).join(", ")}.`);
  }
  await importOne(csv, intake);
}

const importAll: ImportApi["run"] = async (files, labels, onProgress) => {
  const [only] = files;
  if (!only) throw failure("There is no file in it.");
  if (files.some(({ file }) => /idx\d-ubyte/.test(file.name))) return importIdx(files, onProgress);
  const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
  const target = { name: "fer2013", source: sourceOf(files) } as const;
  const words = new LabelWords(labels);
  const intake = new Intake(target, EXPRESSIONS.length, FACE_PIXELS, bytes, onProgress, words);
  if (files.length === 1 && !placeOf(only.path)) await importOne(only, intake);
  else await importMany(files, intake);
  return intake.finish();
};

/** All or nothing: what an import that ends in an error or a question has stored is cleared away. */
const run: ImportApi["run"] = (files, labels, onProgress) =>
  importAlone(async () => {
    try {
      return await importAll(files, labels, onProgress);
    } finally {
      // Of one that is done nothing is stray but what it has replaced.
      await clearStrays();
    }
  });

showLife();
Comlink.expose({ run } satisfies ImportApi);
