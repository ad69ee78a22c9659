import { FACE_PIXELS } from "../model/expressions";
import { cellsOf, CsvSplitter, type CsvFault, type CsvRecord } from "./csv";
import { clientColumn } from "./client-columns";
import { LabelWords, MOST_LETTERS } from "./label-words";
import {
  FACE,
  MOST_WORDS,
  OwnDataError,
  shapeOfNumbers,
  shapesInWords,
  shapesOfNumbers,
  SIDE,
  sizeOf,
  whyNoSize,
  type OwnLabels,
  type PictureShape,
} from "./own-labels";
import { usageOf, type Usage } from "./usage";

/**
 * FER2013's CSV, as the ICML 2013 competition ships it: `emotion,pixels` or `emotion, Usage, pixels`, one face of 48 x 48 grey
 * levels in a line; or one like it, whose columns, labels and sizes are others. The file has hundreds of megabytes: it is read in pieces,
 * and a line that is wrong is reported and left out.
 */

/** Bytes of the longest line of pictures with so many numbers: three digits and a space each, a label, a usage, quotes. */
const longestLine = (numbers: number): number => numbers * 4 + 256;
const LONGEST = longestLine(SIDE.most ** 2 * 3);
/** The fewest numbers in a cell that can be a picture. */
const FEWEST_NUMBERS = SIDE.least ** 2;
/** Bytes of a first line: a column for each number of a picture, a name of some twelve letters and a comma. */
const LONGEST_HEADER = SIDE.most ** 2 * 3 * 13 + 1024;
/** What the pictures of a file are that is not FER2013's, most of its first lines say; so many are looked at. */
const FIRST_LINES = 25;

export type FerCsvCode =
  | "not-csv"
  | "wrong-header"
  | "bad-label"
  | "bad-usage"
  | "no-client"
  | "bad-pixel"
  | "wrong-pixel-count"
  | "wrong-cell-count"
  | "bad-quote"
  | "line-too-long"
  | "truncated";

/** What is wrong with a file, or with one of its lines. */
export class FerCsvError extends Error {
  override readonly name = "FerCsvError";
  constructor(
    readonly code: FerCsvCode,
    /** Counted from 1; the header is line 1. */
    readonly line: number,
    message: string,
  ) {
    super(`Line ${line}: ${message}`);
  }
}

export interface FerFace {
  line: number;
  /** An index of EXPRESSIONS, whose order is FER2013's; of other labels what they give. */
  label: number;
  /** null where the file does not say. */
  usage: Usage;
  /** Whose face it is; null where the file does not say. */
  client: string | null;
  /** 2,304 grey levels, row by row; of other pictures those of {@link FerCsvReader.shape}. */
  pixels: Uint8Array<ArrayBuffer>;
}

/** How a file that is like FER2013's is to be read. */
export interface OwnCsv {
  labels: OwnLabels;
  /** The column with the labels; null where only one can be meant. */
  column: string | null;
  /** Of the pictures; null where they are squares. */
  size: Pick<PictureShape, "height" | "width"> | null;
}

const [NUL, TAB, RETURN, SPACE, COMMA, OPEN, CLOSE] = [0x00, 0x09, 0x0d, 0x20, 0x2c, 0x5b, 0x5d];
/** What may stand around a picture's numbers: blanks and line ends, commas, and brackets as lists are written with. */
const isBetween = (byte: number): boolean =>
  byte === SPACE || byte === COMMA || byte === OPEN || byte === CLOSE || (byte >= TAB && byte <= RETURN);
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;
const text = new TextDecoder();
const strictText = new TextDecoder("utf-8", { fatal: true });

/** Reads a file piece by piece. Holds at most one line and, of a file that is not FER2013's, the first few, whatever it is given. */
export class FerCsvReader {
  readonly #splitter = new CsvSplitter(LONGEST_HEADER);
  #columns: Columns | undefined;
  /** Of all columns; undefined before the header. */
  #names: string[] | undefined;
  #shape: PictureShape | undefined;
  #numbers: number | undefined;
  /** The first lines of a file that is not FER2013's, until they say what its columns and its pictures are. */
  #first: CsvRecord[] | undefined;

  /**
   * @param labels reads the labels, and remembers which there were
   * @param own how to read a file that is not FER2013's
   * @param client the column that says whose an example is: a line without it is left out then; null: one of the usual names, if any
   */
  constructor(
    readonly labels: LabelWords | OwnLabels = new LabelWords(),
    readonly own: OwnCsv | null = null,
    readonly client: string | null = null,
  ) {
    if (own) this.#first = [];
    else this.#shape = FACE;
  }

  /** Of all its pictures; undefined before the first one of a file that is not FER2013's. */
  get shape(): PictureShape | undefined {
    return this.#shape;
  }

  /** How many numbers each picture of a file has that is not FER2013's; undefined before the first one. */
  get numbers(): number | undefined {
    return this.#numbers;
  }

  /** The column that holds the labels of a file that is not FER2013's; undefined before its first picture. */
  get column(): string | undefined {
    return this.own ? this.#columns && this.#names?.[this.#columns.emotion] : undefined;
  }

  /**
   * The faces, and the errors of wrong lines, in a piece of the file, in their order.
   * @throws FerCsvError `not-csv`, `wrong-header` when there is nothing to be had from the whole file; OwnDataError when somebody has to
   *   say what its columns or its pictures are
   */
  *push(piece: Uint8Array): Generator<FerFace | FerCsvError> {
    for (const record of this.#splitter.push(piece)) yield* this.#take(record);
  }

  /** What the file's last line holds, which may have no end. @throws FerCsvError as {@link push} */
  *finish(): Generator<FerFace | FerCsvError> {
    for (const record of this.#splitter.push(new Uint8Array(0), true)) yield* this.#take(record);
    yield* this.#settle();
    if (!this.#columns) {
      const why = this.#names ? "There is no picture in it." : "The file is empty.";
      throw new FerCsvError("not-csv", this.#splitter.line, why);
    }
  }

  *#take(record: CsvRecord): Generator<FerFace | FerCsvError> {
    const { cells, bytes, fault } = record;
    if (!this.#names) this.#readHeader(record);
    else if (fault === null && cells.length === 1 && cells[0]?.length === 0) return;
    else if (this.#first) {
      // A copy: who has read the file may use its piece again. Its cells come anew, since a record may have 27,648.
      this.#first.push({ ...record, cells: [], bytes: bytes.slice() });
      if (this.#first.length === FIRST_LINES) yield* this.#settle();
    } else yield this.#readFace(record);
  }

  #faultOf(line: number, fault: CsvFault): FerCsvError {
    if (fault === "too-long") {
      const { longest } = this.#splitter;
      return new FerCsvError("line-too-long", line, `No ${this.#what} has a line of over ${longest} bytes.`);
    }
    const why =
      fault === "open-quote"
        ? "A quoted cell begins here and does not end, or not within the length of a line."
        : 'Behind the quote that ends a cell there is more: a quote within quotes is written twice, as "".';
    return new FerCsvError("bad-quote", line, why);
  }

  get #what(): string {
    return this.own ? "picture" : "face";
  }

  #readHeader({ bytes, cells, fault }: CsvRecord): void {
    const problem = whyNoHeader(bytes, cells, this.own !== null);
    if (problem !== undefined) throw new FerCsvError("not-csv", 1, problem);
    if (fault !== null) throw this.#faultOf(1, fault);
    const names = cells.map((cell) => plainName(this.#textOf(cell, 1)));
    if (this.own) {
      const separator = separatorOf(bytes, cells);
      if (separator) throw new OwnDataError(`Its columns are separated by ${separator}: separate them with commas.`);
    } else {
      if (isWide(names)) throw wideRefusal();
      this.#columns = columnsOf(bytes, cells, names, this.client);
    }
    this.#names = names;
    this.#splitter.longest = this.own ? LONGEST : longestLine(FACE_PIXELS);
  }

  /** Says what the columns and the pictures are, and reads the lines that were kept until then. */
  *#settle(): Generator<FerFace | FerCsvError> {
    const { own } = this;
    const [first, names] = [this.#first, this.#names];
    if (!own || !names || !first?.length) return;
    this.#first = undefined;
    const rows = first.map(({ bytes }) => cellsOf(bytes));
    const pictures = picturesIn(names, rows);
    const counts = rows.map((row) => numbersIn(row[pictures.pixels])).filter((count) => count >= FEWEST_NUMBERS);
    this.#numbers = pictures.wide ?? mostFrequent(counts);
    this.#columns = ownColumns(names, pictures, own.column, this.client);
    this.#shape = shapeOf(this.#numbers ?? 0, own.size);
    this.#splitter.longest = longestLine(sizeOf(this.#shape));
    for (const [i, record] of first.entries()) yield this.#readFace({ ...record, cells: rows[i] ?? [] });
  }

  #readFace({ line, cells, isCut, fault }: CsvRecord): FerFace | FerCsvError {
    if (fault !== null) return this.#faultOf(line, fault);
    const wrong = (code: FerCsvCode, message: string): FerCsvError => new FerCsvError(code, line, message);
    const cell = (column: number): Uint8Array => cells[column] ?? new Uint8Array(0);
    const { emotion, usage: usageColumn, client: owner, pixels: first, wide } = this.#columns as Columns;
    const columns = this.#names?.length ?? 0;
    if (cells.slice(columns).some(({ length }) => length > 0)) {
      return wrong("wrong-cell-count", `It has ${cells.length} cells, and there are ${columns} columns.`);
    }
    const said = usageColumn < 0 ? "" : this.#textOf(cell(usageColumn), line).slice(0, 20);
    const usage = usageOf(said);
    if (usage === "unknown") {
      return wrong("bad-usage", `The usage is Training, PublicTest or PrivateTest, not "${said}".`);
    }
    const size = this.#shape ? sizeOf(this.#shape) : FACE_PIXELS;
    const pixels = new Uint8Array(size);
    let count = 0;
    for (let column = first; column < first + (wide ?? 1); column++) {
      const bytes = cell(column);
      if (wide !== undefined && bytes.length === 0 && column < cells.length) {
        return wrong("bad-pixel", `Pixel ${count + 1} is a grey level from 0 to 255, and there is none.`);
      }
      for (let at = 0; at < bytes.length;) {
        let value = 0;
        const from = at;
        for (; at < bytes.length; at++) {
          const byte = bytes[at] as number;
          if (isDigit(byte)) value = value * 10 + byte - 0x30;
          else if (isBetween(byte)) break;
          else value = NaN;
        }
        if (!(value <= 255)) {
          const found = text.decode(bytes.subarray(from, Math.min(at, from + 12)));
          return wrong("bad-pixel", `Pixel ${count + 1} is a grey level from 0 to 255, not "${found}".`);
        }
        if (at > from) {
          if (count < size) pixels[count] = value;
          count += 1;
        }
        while (at < bytes.length && isBetween(bytes[at] as number)) at += 1;
      }
    }
    if (count !== size) {
      return isCut && count < size
        ? wrong("truncated", `The file ends here, after ${count} of ${size} pixels.`)
        : wrong("wrong-pixel-count", `A ${this.#what} has ${size} pixels; there are ${count}.`);
    }
    const client = owner < 0 ? null : this.#textOf(cell(owner), line).trim() || null;
    if (client !== null && client.length > MOST_LETTERS) {
      return wrong("no-client", `Whose it is takes over ${MOST_LETTERS} letters: "${client.slice(0, 20)}...".`);
    }
    if (client === null && this.client !== null) {
      return wrong("no-client", `The column ${this.client} does not say whose it is.`);
    }
    // Last, so that labels count no more than what is taken.
    const word = this.#textOf(cell(emotion), line);
    const label = this.labels.read(word);
    if (this.own?.labels.isTooMany) {
      throw new OwnDataError(
        `The column ${this.column} has over ${MOST_WORDS} different labels: say which other holds the labels.`,
        "column",
      );
    }
    if (label === null) return wrong("bad-label", this.labels.why(word));
    return { line, label, usage, client, pixels };
  }

  /** @throws FerCsvError `not-csv`: a file has one encoding, and what is read of another one would be other words */
  #textOf(cell: Uint8Array, line: number): string {
    try {
      return strictText.decode(cell);
    } catch {
      throw new FerCsvError("not-csv", line, "These bytes are not UTF-8: save the file as UTF-8.");
    }
  }
}

/** What the pictures are that have so many numbers. @throws OwnDataError where they are none, or somebody has to say */
function shapeOf(numbers: number, said: OwnCsv["size"]): PictureShape {
  const shape = shapeOfNumbers(numbers, said);
  const problem = shape ? whyNoSize(shape) : undefined;
  if (shape && problem === undefined) return shape;
  const fitting = shapesOfNumbers(numbers);
  const has = `Its pictures have ${numbers} numbers`;
  if (fitting.length === 0)
    throw new OwnDataError(`${has}, which no size has that is taken: ${problem ?? sidesInWords()}`);
  const could = `They may be ${shapesInWords(fitting)}.`;
  if (said)
    throw new OwnDataError(
      `${has}, which is not ${said.width} x ${said.height} in grey or in colour. ${could}`,
      "size",
    );
  throw new OwnDataError(`${has}, which is no square in grey or in colour: say their size. ${could}`, "size");
}

const sidesInWords = (): string => `each side has ${SIDE.least} to ${SIDE.most} pixels, in grey or in colour.`;

/** The value that comes most often, of several the first. */
function mostFrequent(values: readonly number[]): number | undefined {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce<[number, number] | undefined>(
    (best, one) => (best && best[1] >= one[1] ? best : one),
    undefined,
  )?.[0];
}

interface Columns {
  emotion: number;
  /** -1 where there is none. */
  usage: number;
  client: number;
  /** The one with a picture's numbers, or the first of so many as `wide` says, with one number each. */
  pixels: number;
  wide?: number;
}

/**
 * Why a file's first line is no header, with what to do about it; undefined where it may be one.
 * @param bytes the line, or its beginning
 * @param isOwn whether the file need not be FER2013's
 */
function whyNoHeader(bytes: Uint8Array, cells: readonly Uint8Array[], isOwn: boolean): string | undefined {
  const [first, second] = bytes;
  const hasMark = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  const isText = (byte: number | undefined): boolean => byte !== undefined && byte >= SPACE;
  const isHalf = (first === NUL && isText(second)) || (isText(first) && second === NUL);
  if (hasMark || isHalf) return "The file is UTF-16: save it as UTF-8.";
  // Whatever has control characters besides line ends and tabs is no text.
  if (bytes.some((byte) => byte < TAB || (byte > RETURN && byte < SPACE))) {
    return `This is not a CSV of ${isOwn ? "pictures" : "faces"}: its first line must ${isOwn ? "name its columns" : "be emotion,pixels"}.`;
  }
  if (/\r(?!\n)/.test(text.decode(bytes))) {
    return "The lines end in CR alone, as on old Macs: save the file with LF line ends.";
  }
  const numeric = cells.flatMap((cell) => (/^\d+$/.test(text.decode(cell).trim()) ? [Number(text.decode(cell))] : []));
  const isCounted = numeric.every((value, i) => i === 0 || value > (numeric[i - 1] as number));
  if (numeric.length >= FEWEST_NUMBERS && !isCounted) {
    return "The file has no header: put the names of its columns into its first line, as label,pixel0,pixel1 and so on.";
  }
  const hasPicture = cells.some((cell) => numbersIn(cell) >= FEWEST_NUMBERS);
  const beginsWithNumber = /^["\s]*\d+["\s]*[,;\t]/.test(text.decode(bytes));
  if (hasPicture || (beginsWithNumber && !isOwn && numeric.length < FEWEST_NUMBERS)) {
    const names = isOwn ? "the names of its columns, as label,pixels," : "emotion,pixels (or emotion,Usage,pixels)";
    return `The file has no header: put ${names} into its first line.`;
  }
  return undefined;
}

/** What separates the columns of a first line, where that is no comma: what it has more of than commas. */
function separatorOf(bytes: Uint8Array, cells: readonly Uint8Array[]): string | undefined {
  const line = text.decode(bytes).trim();
  const counted = Object.entries({ ";": "semicolons", "\t": "tabs", "|": "bars" }).map(([sign, name]) => ({
    name,
    count: line.split(sign).length - 1,
  }));
  const [most] = counted.sort((a, b) => b.count - a.count);
  return most && most.count > cells.length - 1 ? most.name : undefined;
}

/** How many numbers a cell holds that has nothing but numbers; 0 of any other. */
function numbersIn(cell: Uint8Array | undefined): number {
  let count = 0;
  let isInside = false;
  for (const byte of cell ?? []) {
    if (isDigit(byte)) {
      if (!isInside) count += 1;
      isInside = true;
    } else if (isBetween(byte)) isInside = false;
    else return 0;
  }
  return count;
}

/** What a column is called that says what an example is for. */
const USAGE_COLUMNS = new Set(["usage", "split", "subset", "set", "partition"]);

/** Where the pictures are: in one column, or in so many from one on as `wide` says. */
type Pictures = Pick<Columns, "pixels" | "wide">;

/**
 * Where the pictures of a file are: in the column with many numbers in most of the lines that have some, or in a column for each number.
 * @param rows cells of its first lines
 * @throws OwnDataError where they are nowhere, or in more than one column
 */
function picturesIn(names: readonly string[], rows: readonly (readonly Uint8Array[])[]): Pictures {
  const found = rows
    .map((row) => row.flatMap((cell, i) => (numbersIn(cell) >= FEWEST_NUMBERS ? [i] : [])))
    .filter(({ length }) => length > 0);
  const [pixels, ...more] = [...new Set(found.flat())].filter(
    (column) => 2 * found.filter((columns) => columns.includes(column)).length > found.length,
  );
  const wide = 2 * found.length <= rows.length ? pixelColumns(names) : null;
  if (wide) return { pixels: wide.from, wide: wide.count };
  const isLonger = 2 * rows.filter(({ length }) => length > names.length).length > rows.length;
  if (pixels === undefined ? isLonger : pixels >= names.length) {
    throw new OwnDataError(
      `Its lines have more cells than its first line names (${listed(names)}): put what has a comma in it into quotes.`,
    );
  }
  if (pixels === undefined || more.length > 0) {
    throw new OwnDataError(
      `${pixels === undefined ? "None" : "More than one"} of its columns (${listed(names)}) holds pictures: one cell in a line must ` +
        `have all levels of a picture, whole numbers from 0 to 255, with spaces between them, or a column for each, as in ` +
        `label,pixel0,pixel1 and so on.`,
    );
  }
  return { pixels };
}

/**
 * Which column is which: what says a usage or a client by its name is that, and if one is left beside the pictures, it is the label's.
 * @throws OwnDataError where more are left and nobody says, or none
 */
function ownColumns(
  names: readonly string[],
  pictures: Pictures,
  wanted: string | null,
  owner: string | null,
): Columns {
  const { pixels, wide } = pictures;
  const isPixels = (i: number): boolean => i >= pixels && i < pixels + (wide ?? 1);
  const named = (set: ReadonlySet<string>): number => names.findIndex((name, i) => !isPixels(i) && set.has(name));
  const usage = named(USAGE_COLUMNS);
  const client = clientColumn(
    names.map((name, i) => (isPixels(i) ? "" : name)),
    owner === null ? null : plainName(owner),
  );
  if (owner !== null && client < 0) throw new OwnDataError(noClients(owner, names));
  const rest = names.flatMap((_, i) => (isPixels(i) || i === usage || i === client ? [] : [i]));
  const asked = wanted === null ? -1 : names.indexOf(plainName(wanted));
  if (wanted !== null && asked < 0) {
    throw new OwnDataError(`There is no column ${wanted}. There are: ${listed(names)}.`, "column");
  }
  const emotion = asked >= 0 ? asked : rest.length === 1 ? rest[0] : undefined;
  if (emotion === undefined || isPixels(emotion)) {
    const holding = wide ? `${names[pixels]} to ${names[pixels + wide - 1]} hold` : `${names[pixels]} holds`;
    const others = names.filter((_, i) => !wide || !isPixels(i));
    throw new OwnDataError(
      `Its columns are ${listed(wide ? [...others, "..."] : others)}, of which ${holding} the pictures: say which holds the labels.`,
      "column",
    );
  }
  return {
    emotion,
    usage: usage === emotion ? -1 : usage,
    client: client === emotion && owner === null ? -1 : client,
    ...pictures,
  };
}

/** Numbers in a column's name, and what stands around them. */
const stemOf = (name: string): string => name.replace(/\d+/g, "#");
const numbersOf = (name: string): number[] => (name.match(/\d+/g) ?? []).map(Number);

/**
 * The columns with one number of a picture each, as Kaggle's MNIST has them (`label,pixel0,...,pixel783`) and others (`1x1,1x2,...,28x28`):
 * the longest run of names that differ in their numbers alone.
 * @returns null where there is none
 * @throws OwnDataError where they are not in their order
 */
function pixelColumns(names: readonly string[]): { from: number; count: number } | null {
  let best = { from: 0, count: 0 };
  for (let from = 0; from < names.length;) {
    const stem = stemOf(names[from] ?? "");
    let to = from + 1;
    while (to < names.length && stem.includes("#") && stemOf(names[to] ?? "") === stem) to += 1;
    if (to - from > best.count) best = { from, count: to - from };
    from = to;
  }
  if (best.count < FEWEST_NUMBERS) return null;
  for (let i = best.from + 1; i < best.from + best.count; i++) {
    const [before = "", name = ""] = [names[i - 1], names[i]];
    const numbers = numbersOf(name);
    const at = numbersOf(before).findIndex((value, place) => value !== numbers[place]);
    if (at < 0 || (numbers[at] ?? 0) < (numbersOf(before)[at] ?? 0)) {
      throw new OwnDataError(`Its columns with one pixel each are not in their order: ${name} comes behind ${before}.`);
    }
  }
  return best;
}

/** Whether columns are named, one after the other, for each number of a picture. */
function isWide(names: readonly string[]): boolean {
  let run = 0;
  return names.map(stemOf).some((stem, i, stems) => {
    run = stem.includes("#") && stem === stems[i - 1] ? run + 1 : 0;
    return run + 1 >= FEWEST_NUMBERS;
  });
}

const wideRefusal = (): FerCsvError =>
  new FerCsvError("wrong-header", 1, "It has a column for each pixel: these are pictures, and no contest's faces.");

const noClients = (said: string, names: readonly string[]): string =>
  `There is no column ${said} that says whose each example is. There are: ${listed(names)}.`;

const listed = (names: readonly string[]): string => names.slice(0, 20).join(", ").slice(0, 200);

const plainName = (name: string): string =>
  name
    .replace(/^\uFEFF/, "")
    .replace(/["\s]/g, "")
    .toLowerCase();

/** FER2013's own. @throws FerCsvError */
function columnsOf(
  bytes: Uint8Array,
  cells: readonly Uint8Array[],
  names: readonly string[],
  owner: string | null = null,
): Columns {
  const columns = {
    emotion: names.indexOf("emotion"),
    usage: names.indexOf("usage"),
    client: clientColumn(names, owner === null ? null : plainName(owner)),
    pixels: names.indexOf("pixels"),
  };
  if (columns.emotion >= 0 && columns.pixels >= 0) {
    if (owner !== null && columns.client < 0) throw new FerCsvError("no-client", 1, noClients(owner, names));
    return columns;
  }
  const found = names.slice(0, 6).join(", ").slice(0, 80);
  const advice = separatorOf(bytes, cells) ? " Separate the columns with commas." : "";
  throw new FerCsvError(
    "wrong-header",
    1,
    `The columns emotion and pixels are needed; the file has: ${found}.${advice}`,
  );
}

/** The first records of a file, the last one cut where its first bytes end. */
const recordsIn = (head: Uint8Array): CsvRecord[] => [...new CsvSplitter(head.length).push(head, true)];

/** Whether a file begins like a CSV of pictures, whatever its columns are called. @param head its first bytes */
export function isPictureCsv(head: Uint8Array): boolean {
  const [header, ...records] = recordsIn(head);
  if (!header || whyNoHeader(header.bytes, header.cells, true) !== undefined) return false;
  // Of a line that is cut the last name may be half of one.
  const names = header.cells.map((cell) => plainName(text.decode(cell)));
  if (isWide(header.isCut ? names.slice(0, -1) : names)) return true;
  return records.some(({ cells }) => cells.some((cell) => numbersIn(cell) >= FEWEST_NUMBERS));
}

/** Whether a file begins like a CSV of faces. @param head its first bytes */
export function isFaceCsv(head: Uint8Array): boolean {
  const [header] = recordsIn(head);
  if (!header || header.isCut || whyNoHeader(header.bytes, header.cells, false) !== undefined) return false;
  const names = header.cells.map((cell) => plainName(text.decode(cell)));
  return ["emotion", "pixels"].every((name) => names.includes(name));
}
