import { FerCsvReader } from "../../src/data/fer-csv";
import { FACE, hasColour, OwnDataError, OwnLabels, whyNoSize, type PictureShape } from "../../src/data/own-labels";
import { pictureLevels } from "../picture-levels";
import type { ImportOutcome, OwnQuestion } from "./api";
import { failure, withBitmap, type Reading, type Sink, type Told } from "./intake";

/** Pictures that are looked at for their sizes and colours. */
const LOOKED_AT = 100;

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
    return Promise.resolve({ report: null, question: this.question(null) });
  }

  /** What has to be said. @param problem why the data cannot be read as they are */
  question(problem: string | null): OwnQuestion {
    const sizes = [...this.#sizes.values()].sort((a, b) => b.count - a.count);
    const [first] = sizes;
    const shape = this.#reader?.shape ?? this.#idxShape;
    const fits = first && sizes.length === 1 && !whyNoSize(first);
    const { height, width } = fits ? first : FACE;
    return {
      as: "own",
      problem,
      words: problem === null ? this.#labels.table : [],
      shape: shape ?? this.said.shape ?? { height, width, channels: this.#isColoured ? 3 : 1 },
      isSizeFixed: shape !== undefined,
      sizes,
      column: this.#reader ? (this.#reader.column ?? this.said.column ?? "") : null,
    };
  }

  async #look(blob: () => Promise<Blob>): Promise<null> {
    if (this.#looked >= LOOKED_AT) return null;
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
