import { FerCsvReader, type FerCsvCode } from "../../src/data/fer-csv";
import { LabelWords, type LabelMapping } from "../../src/data/label-words";
import {
  OwnDataError,
  OwnLabels,
  sizeOf,
  type LabelNames,
  type PictureKind,
  type PictureShape,
} from "../../src/data/own-labels";
import { EXPRESSIONS, FACE_PIXELS, FACE_SIZE } from "../../src/model/expressions";
import { ONE_SIDED, testSplit, type Sample } from "../../src/simulation/data";
import { addChunk, putDataset, type Dataset } from "../../src/lab/store";
import { greyPicture, pictureLevels } from "../picture-levels";
import { IMPORT_FAILED, type ImportOutcome, type ImportProgress, type ImportReport } from "./api";

/** Samples of a chunk: 2.3 MB of faces. */
const CHUNK = 1000;
/** Problems that are told in full. */
const TOLD = 20;
/** The page is told how far it is at most this often. */
const REPORT_MS = 100;

/** Nothing of some files can be used. */
export class ImportError extends Error {
  override readonly name = IMPORT_FAILED;
  constructor(
    message: string,
    /** Of what was wrong with a CSV. */
    readonly code: FerCsvCode | null = null,
  ) {
    super(message);
  }
}

export const failure = (message: string, code?: FerCsvCode): ImportError => new ImportError(message, code);

/** How the labels, a CSV and the pictures of some files are read. */
export interface Reading {
  labels: LabelWords | OwnLabels;
  csv: () => FerCsvReader;
  /** Numbers of a pixel; null: as they come. */
  channels: number | null;
  /** Levels of a picture; null where only its label counts. @throws DOMException when it is no picture */
  picture: (blob: () => Promise<Blob>) => Promise<Uint8Array<ArrayBuffer> | null>;
  /** Told what pictures in IDX files are; null where they are not taken. @throws OwnDataError */
  idx: ((shape: PictureShape) => void) | null;
  /** Why a folder's name gives no label. */
  whyNot: (word: string) => string;
}

/** What takes the examples of some files. */
export interface Sink {
  reading: Reading;
  /** Told how many pictures there are, before the first. */
  expect?: (pictures: number) => void;
  add: (sample: Sample) => Promise<void>;
  leaveOut: (problem: string) => void;
  /** Counts bytes that have been read. */
  read: (bytes: number) => void;
  finish: () => Promise<ImportOutcome>;
}

/** Runs `use` with a picture's pixels, and lets go of them. */
export async function withBitmap<T>(blob: Blob, use: (bitmap: ImageBitmap) => T): Promise<T> {
  const bitmap = await createImageBitmap(blob);
  try {
    return use(bitmap);
  } finally {
    bitmap.close();
  }
}

/** The middle square of a picture, as 48 x 48 grey levels. */
function middleFace(bitmap: ImageBitmap): Uint8Array<ArrayBuffer> {
  const side = Math.min(bitmap.width, bitmap.height);
  return greyPicture(bitmap, { x: (bitmap.width - side) / 2, y: (bitmap.height - side) / 2, side }, FACE_SIZE);
}

/**
 * Faces of the seven expressions.
 * @param given what somebody has said that their labels mean
 * @param client of a CSV, the column that says whose each is; null where nobody has said one
 */
export function facesReading(given: LabelMapping | null, client: string | null = null): Reading {
  const labels = new LabelWords(given);
  return {
    labels,
    csv: () => new FerCsvReader(labels, null, client),
    channels: 1,
    picture: async (blob) => withBitmap(await blob(), middleFace),
    idx: null,
    whyNot: (word) =>
      labels.isKnown(word)
        ? `the folder "${word}" is left out, as was asked`
        : `its folder is none of ${EXPRESSIONS.join(", ")}`,
  };
}

/** Pictures of somebody's own. */
export function ownReading(
  names: LabelNames,
  { input }: PictureKind,
  { column, client }: { column: string | null; client: string | null },
): Reading {
  const labels = new OwnLabels(names);
  return {
    labels,
    csv: () => new FerCsvReader(labels, { labels, column, size: input }, client),
    channels: input.channels,
    picture: async (blob) => withBitmap(await blob(), (bitmap) => pictureLevels(bitmap, input)),
    idx: ({ height, width }) => {
      if (height === input.height && width === input.width) return;
      throw new OwnDataError(`Its pictures are ${width} x ${height}, and not ${input.width} x ${input.height}.`);
    },
    whyNot: (word) => labels.why(word),
  };
}

/** Tells the page how far an import is, now and then. */
export class Told {
  #done = 0;
  #last = 0;

  constructor(
    readonly bytes: number,
    readonly onProgress: (progress: ImportProgress) => void,
  ) {}

  read(bytes: number, counts: Pick<ImportProgress, "samples" | "wrong">): void {
    this.#done += bytes;
    if (performance.now() - this.#last < REPORT_MS) return;
    this.#last = performance.now();
    this.onProgress({ done: this.#done, of: this.bytes, ...counts });
  }
}

/** Samples on their way into the store, and what is said about them. */
export class Intake implements Sink {
  readonly #generation = crypto.randomUUID();
  readonly #train: number[];
  readonly #test: number[];
  /** Numbers of one sample. */
  readonly #size: number;
  readonly #problems: string[] = [];
  readonly #isTest = testSplit();
  /** Numbers of those whose samples these are, from 1. */
  readonly #clients = new Map<string, number>();
  #chunk: (Sample & { test: boolean })[] = [];
  #chunks = 0;
  #samples = 0;
  #wrong = 0;
  #nobodys = 0;

  /** @param kind what its pictures and labels are; of a data set that has its own place, how many labels and numbers */
  constructor(
    readonly dataset: Pick<Dataset, "name" | "source">,
    readonly kind: PictureKind | { classes: number; size: number },
    readonly reading: Reading,
    readonly told: Told,
  ) {
    const classes = "labels" in kind ? kind.labels.length : kind.classes;
    this.#size = "labels" in kind ? sizeOf(kind.input) : kind.size;
    this.#train = Array<number>(classes).fill(0);
    this.#test = Array<number>(classes).fill(0);
  }

  /** For faces of the seven expressions. */
  static ofFaces(source: string, given: LabelMapping | null, client: string | null, told: Told): Intake {
    const kind = { classes: EXPRESSIONS.length, size: FACE_PIXELS };
    return new Intake({ name: "fer2013", source }, kind, facesReading(given, client), told);
  }

  async add(sample: Sample): Promise<void> {
    const test = this.#isTest(sample.usage, sample.label);
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

  read(bytes: number): void {
    this.told.read(bytes, { samples: this.#samples, wrong: this.#wrong });
  }

  async finish(): Promise<ImportOutcome> {
    const { labels } = this.reading;
    if (labels instanceof OwnLabels) {
      try {
        labels.finish();
      } catch (error) {
        throw error instanceof OwnDataError ? failure(error.message) : error;
      }
    } else if (labels.isQuestion) return { report: null, question: { as: "faces", words: labels.table } };
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
      if (counts.every((count) => count === 0))
        throw failure(`None of the ${this.#samples} pictures is ${what}. ${ONE_SIDED}`);
    }
    const { kind } = this;
    const dataset: Dataset = {
      ...this.dataset,
      ...("labels" in kind && { kind }),
      generation: this.#generation,
      train: this.#train,
      test: this.#test,
      bytes: this.#samples * this.#size,
      importedAt: Date.now(),
    };
    await putDataset(dataset);
    return {
      dataset,
      samples: this.#samples,
      wrong: this.#wrong,
      problems: this.#problems,
      clients: this.#clients.size,
      nobodys: this.#nobodys,
      labels: this.reading.labels.table,
    };
  }

  #numberOf(client: string | null): number {
    if (client === null) {
      this.#nobodys += 1;
      return 0;
    }
    const number = this.#clients.get(client) ?? this.#clients.size + 1;
    this.#clients.set(client, number);
    return number;
  }

  async #flush(): Promise<void> {
    if (this.#chunk.length === 0) return;
    const pixels = new Uint8Array(this.#chunk.length * this.#size);
    this.#chunk.forEach((sample, i) => pixels.set(sample.pixels, i * this.#size));
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
