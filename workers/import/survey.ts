import { FerCsvReader } from "../../src/data/fer-csv";
import {
  FACE,
  hasColour,
  MOST_WORDS,
  OwnDataError,
  OwnLabels,
  shapeOfNumbers,
  shapesOfNumbers,
  whyNoSize,
  type PictureShape,
} from "../../src/data/own-labels";
import { pictureLevels } from "../picture-levels";
import type { ImportOutcome, OwnQuestion } from "./api";
import { failure, withBitmap, type Reading, type Sink, type Told } from "./intake";

/** Pictures that are looked at for their sizes and colours: all would take as long as their import. */
const LOOKED_AT = 200;

/** Whether a picture is among those, which lie evenly among all that there are: a folder is often of one kind at its beginning. */
export const isLookedAt = (place: number, of: number): boolean =>
  of <= LOOKED_AT || Math.floor(((place + 1) * LOOKED_AT) / of) > Math.floor((place * LOOKED_AT) / of);

/** Looks through pictures of somebody's own before anything is imported: which labels, sizes and colours they have. */
export class Survey implements Sink {
  readonly reading: Reading;
  readonly #labels = new OwnLabels();
  readonly #sizes = new Map<string, { width: number; height: number; count: number }>();
  #reader: FerCsvReader | undefined;
  /** Of pictures in IDX files. */
  #idxShape: PictureShape | undefined;
  #isColoured = false;
  #looked = 0;
  #pictures = { seen: 0, of: 0 };
  #samples = 0;
  #firstProblem: string | undefined;

  /** @param said what somebody has said so far */
  constructor(
    readonly said: { shape: PictureShape | null; column: string | null; client?: string | null },
    readonly told: Told,
  ) {
    const labels = this.#labels;
    this.reading = {
      labels,
      csv: () =>
        (this.#reader = new FerCsvReader(labels, { labels, column: said.column, size: said.shape }, said.client)),
      channels: null,
      picture: (blob) => this.#look(blob),
      idx: (shape) => {
        const problem = whyNoSize(shape);
        if (problem !== undefined) throw new OwnDataError(problem);
        this.#idxShape = shape;
      },
      whyNot: (word) => labels.why(word),
    };
  }

  expect(pictures: number): void {
    this.#pictures = { seen: 0, of: pictures };
  }

  add(): Promise<void> {
    this.#samples += 1;
    return Promise.resolve();
  }

  leaveOut(problem: string): void {
    this.#firstProblem ??= problem;
  }

  read(bytes: number): void {
    this.told.read(bytes, { samples: this.#samples, wrong: 0 });
  }

  finish(): Promise<ImportOutcome> {
    if (this.#samples === 0 && this.#looked === 0) {
      throw failure(
        this.#firstProblem ? `No picture could be used. ${this.#firstProblem}` : "There is no picture in it.",
      );
    }
    if (this.#labels.isTooMany) {
      throw new OwnDataError(`It has over ${MOST_WORDS} different labels: they are hardly what its pictures show.`);
    }
    return Promise.resolve({ report: null, question: this.question(null) });
  }

  /** What has to be said. @param problem why the data cannot be read as they are */
  question(problem: string | null): OwnQuestion {
    const sizes = [...this.#sizes.values()].sort((a, b) => b.count - a.count);
    const [first] = sizes;
    const numbers = this.#reader?.numbers;
    const shapes = numbers !== undefined ? shapesOfNumbers(numbers) : this.#idxShape ? [this.#idxShape] : null;
    const counted = numbers !== undefined && shapes?.length ? shapeOfNumbers(numbers, this.said.shape) : null;
    const shape = this.#reader?.shape ?? this.#idxShape ?? counted;
    const fits = first && sizes.length === 1 && !whyNoSize(first);
    const { height, width } = fits ? first : FACE;
    return {
      as: "own",
      problem,
      words: problem === null ? this.#labels.table : [],
      shape: shape ?? shapes?.[0] ?? this.said.shape ?? { height, width, channels: this.#isColoured ? 3 : 1 },
      shapes,
      asksShape: shape === null && shapes !== null && shapes.length > 1,
      sizes,
      column: this.#reader ? (this.#reader.column ?? this.said.column ?? "") : null,
    };
  }

  async #look(blob: () => Promise<Blob>): Promise<null> {
    if (!isLookedAt(this.#pictures.seen++, this.#pictures.of)) return null;
    await withBitmap(await blob(), (bitmap) => {
      const { width, height } = bitmap;
      const key = `${width}x${height}`;
      const before = this.#sizes.get(key)?.count ?? 0;
      this.#sizes.set(key, { width, height, count: before + 1 });
      this.#isColoured ||= hasColour(pictureLevels(bitmap, { height: 32, width: 32, channels: 3 }));
    });
    this.#looked += 1;
    return null;
  }
}
