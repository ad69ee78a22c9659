import { concatUint8Arrays } from "uint8array-extras";
import { FACE_PIXELS } from "../model/expressions";
import { clientColumn } from "./client-columns";
import { LabelWords } from "./label-words";
import {
  FACE,
  OwnDataError,
  shapeOfNumbers,
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
const MAX_HEADER = 1024;
/** The same of a file with a column for each number of a picture: a name of some twelve letters, and a comma. */
const MAX_WIDE_HEADER = SIDE.most ** 2 * 3 * 13 + MAX_HEADER;

export type FerCsvCode =
  | "not-csv"
  | "wrong-header"
  | "bad-label"
  | "bad-usage"
  | "no-client"
  | "bad-pixel"
  | "wrong-pixel-count"
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

const [NEWLINE, RETURN, COMMA, SPACE, QUOTE, TAB] = [0x0a, 0x0d, 0x2c, 0x20, 0x22, 0x09];
const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === QUOTE || byte === TAB;
const text = new TextDecoder();

/** Reads a file piece by piece. Holds at most one line, whatever it is given. */
export class FerCsvReader {
  #columns: Columns | undefined;
  /** Of a file that is not FER2013's the names of its columns, until the first line with a picture says which is which. */
  #names: string[] | undefined;
  #shape: PictureShape | undefined;
  #line = 1;
  /** The beginning of a line whose end has not come yet. */
  #rest = new Uint8Array(0);
  /** Whether the line that is being read was too long, and was reported. */
  #skipping = false;

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
    if (!own) this.#shape = FACE;
  }

  /** Of all its pictures; undefined before the first one of a file that is not FER2013's. */
  get shape(): PictureShape | undefined {
    return this.#shape;
  }

  /** The column that holds the labels of a file that is not FER2013's; undefined before its first picture. */
  get column(): string | undefined {
    return this.#columns && this.#names?.[this.#columns.emotion];
  }

  /**
   * The faces, and the errors of wrong lines, in a piece of the file, in their order.
   * @throws FerCsvError `not-csv`, `wrong-header` when there is nothing to be had from the whole file; OwnDataError when somebody has to
   *   say what its columns or its pictures are
   */
  *push(piece: Uint8Array): Generator<FerFace | FerCsvError> {
    let start = 0;
    for (;;) {
      const end = piece.indexOf(NEWLINE, start);
      if (end < 0) break;
      yield* this.#close(piece.subarray(start, end), false);
      start = end + 1;
    }
    yield* this.#keep(piece.subarray(start));
  }

  /** What the file's last line holds, which may have no end. @throws FerCsvError as {@link push} */
  *finish(): Generator<FerFace | FerCsvError> {
    if (this.#rest.length > 0 && !this.#skipping) yield* this.#close(new Uint8Array(0), true);
    if (!this.#columns)
      throw new FerCsvError("not-csv", this.#line, this.#names ? "There is no picture in it." : "The file is empty.");
  }

  *#keep(bytes: Uint8Array): Generator<FerCsvError> {
    if (this.#skipping || bytes.length === 0) return;
    if (!this.#columns && !this.#names && this.#rest.length + bytes.length > MAX_HEADER) {
      const head = concatUint8Arrays([this.#rest, bytes.subarray(0, 2 * MAX_HEADER)]);
      const isWide = isWideHeader(head);
      if (!this.own && isWide) throw wideRefusal();
      if (!isWide || this.#rest.length + bytes.length > MAX_WIDE_HEADER)
        throw refusal(head.subarray(0, 2 * MAX_HEADER));
      this.#rest = concatUint8Arrays([this.#rest, bytes]);
      return;
    }
    const longest = this.#shape ? longestLine(sizeOf(this.#shape)) : LONGEST;
    if (this.#rest.length + bytes.length > longest) {
      this.#skipping = true;
      this.#rest = new Uint8Array(0);
      yield new FerCsvError("line-too-long", this.#line, `No ${this.#what} has a line of over ${longest} bytes.`);
      return;
    }
    this.#rest = concatUint8Arrays([this.#rest, bytes]);
  }

  *#close(end: Uint8Array, isLast: boolean): Generator<FerFace | FerCsvError> {
    yield* this.#keep(end);
    if (!this.#skipping) {
      let line = this.#rest.length > 0 ? this.#rest : end;
      if (line.at(-1) === RETURN) line = line.subarray(0, -1);
      if (!this.#columns && !this.#names) this.#readHeader(line);
      else if (line.some((byte) => !isBlank(byte))) yield this.#readFace(line, isLast);
    }
    this.#skipping = false;
    this.#rest = new Uint8Array(0);
    this.#line += 1;
  }

  get #what(): string {
    return this.own ? "picture" : "face";
  }

  #readHeader(line: Uint8Array): void {
    const names = namesOf(line);
    if (!this.own && isWideHeader(line)) throw wideRefusal();
    if (this.own) this.#names = names;
    else this.#columns = columnsOf(line, names, this.client);
  }

  #readFace(line: Uint8Array, isLast: boolean): FerFace | FerCsvError {
    const cells: Uint8Array[] = [];
    for (let start = 0; start <= line.length;) {
      const comma = line.indexOf(COMMA, start);
      let [from, to] = [start, comma < 0 ? line.length : comma];
      start = to + 1;
      while (from < to && isBlank(line[from])) from += 1;
      while (to > from && isBlank(line[to - 1])) to -= 1;
      cells.push(line.subarray(from, to));
    }
    const cell = (column: number): Uint8Array => cells[column] ?? new Uint8Array(0);
    if (this.own && this.#names) this.#columns ??= ownColumns(this.#names, cells, this.own.column, this.client);
    const columns = this.#columns as Columns;
    const { wide } = columns;
    const size = this.#sizeOf(() => wide ?? numbersIn(cell(columns.pixels)));
    const emotion = text.decode(cell(columns.emotion)).slice(0, this.own ? 60 : 20);
    const label = this.labels.read(emotion);
    if (label === null) return this.#wrong("bad-label", this.labels.why(emotion));
    const said = columns.usage < 0 ? "" : text.decode(cell(columns.usage)).slice(0, 20);
    const usage = usageOf(said);
    if (usage === "unknown") {
      return this.#wrong("bad-usage", `The usage is Training, PublicTest or PrivateTest, not "${said}".`);
    }
    const pixels = new Uint8Array(size);
    let count = 0;
    for (let column = columns.pixels; column < columns.pixels + (wide ?? 1); column++) {
      const bytes = cell(column);
      if (wide !== undefined && bytes.length === 0 && column < cells.length) {
        return this.#wrong("bad-pixel", `Pixel ${count + 1} is a grey level from 0 to 255, and there is none.`);
      }
      for (let at = 0; at < bytes.length;) {
        let value = 0;
        const from = at;
        for (; at < bytes.length && bytes[at] !== SPACE; at++) {
          const digit = (bytes[at] as number) - 0x30;
          value = digit >= 0 && digit <= 9 ? value * 10 + digit : NaN;
        }
        if (!(value <= 255)) {
          const found = text.decode(bytes.subarray(from, Math.min(at, from + 12)));
          return this.#wrong("bad-pixel", `Pixel ${count + 1} is a grey level from 0 to 255, not "${found}".`);
        }
        if (count < size) pixels[count] = value;
        count += 1;
        while (bytes[at] === SPACE) at += 1;
      }
    }
    if (count !== size) {
      const short = isLast && count < size;
      return short
        ? this.#wrong("truncated", `The file ends here, after ${count} of ${size} pixels.`)
        : this.#wrong("wrong-pixel-count", `A ${this.#what} has ${size} pixels; there are ${count}.`);
    }
    const client = columns.client < 0 ? null : text.decode(cell(columns.client)).slice(0, 64) || null;
    if (client === null && this.client !== null) {
      return this.#wrong("no-client", `The column ${this.client} does not say whose it is.`);
    }
    return { line: this.#line, label, usage, client, pixels };
  }

  /** Numbers of a picture: those of the first one say what all of them are. @throws OwnDataError where they make no picture */
  #sizeOf(counted: () => number): number {
    const { own } = this;
    if (!this.#shape && own) {
      const count = counted();
      const shape = shapeOfNumbers(count, own.size);
      const problem = shape && whyNoSize(shape);
      if (problem !== undefined && problem !== null) throw new OwnDataError(problem, "size");
      if (!shape) {
        const { width, height } = own.size ?? {};
        const is = own.size
          ? `not ${width} x ${height} in grey or in colour.`
          : "no square in grey or in colour: say their size.";
        throw new OwnDataError(`Its pictures have ${count} numbers, which is ${is}`, "size");
      }
      this.#shape = shape;
    }
    return this.#shape ? sizeOf(this.#shape) : FACE_PIXELS;
  }

  #wrong(code: FerCsvCode, message: string): FerCsvError {
    return new FerCsvError(code, this.#line, message);
  }
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

/** The error for a first line that is no header, with what to do about it. */
function refusal(line: Uint8Array): FerCsvError {
  const wrong = (what: string): FerCsvError => new FerCsvError("not-csv", 1, what);
  const [first, second] = line;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || second === 0;
  const rest = text.decode(line.subarray(0, MAX_HEADER));
  if (isUtf16 && first !== 0) return wrong("The file is UTF-16: save it as UTF-8.");
  if (/^\uFEFF?["\s]*[\w ]+["\s]*,[^\r\n]*\r(?!\n)/.test(rest)) {
    return wrong("The lines end in CR alone, as on old Macs: save the file with LF line ends.");
  }
  if (/^\uFEFF?["\s]*\d+["\s]*[,;]/.test(rest)) {
    return wrong("The file has no header: put emotion,pixels (or emotion,Usage,pixels) into its first line.");
  }
  return wrong("This is not a CSV of faces: its first line must be emotion,pixels.");
}

/** How many numbers a cell holds that has nothing but numbers; 0 of any other. */
function numbersIn(cell: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < cell.length; at++) {
    const isDigit = (cell[at] as number) >= 0x30 && (cell[at] as number) <= 0x39;
    if (!isDigit && cell[at] !== SPACE) return 0;
    if (isDigit && (at === 0 || cell[at - 1] === SPACE)) count += 1;
  }
  return count;
}

/** What a column is called that says what an example is for. */
const USAGE_COLUMNS = new Set(["usage", "split", "subset", "set", "partition"]);

/**
 * Which column is which, by the first line with a picture: the one with many numbers holds the pictures, what says a usage or a client by
 * its name is that, and if one is left, it is the label's.
 * @throws OwnDataError where more are left and nobody says, or none
 */
function ownColumns(
  names: readonly string[],
  cells: readonly Uint8Array[],
  wanted: string | null,
  owner: string | null,
): Columns {
  const pictures = cells.flatMap((cell, i) => (numbersIn(cell) >= FEWEST_NUMBERS ? [i] : []));
  const wide = pictures.length === 0 ? pixelColumns(names) : null;
  const [pixels, ...more] = wide ? [wide.from] : pictures;
  if (pixels === undefined || more.length > 0) {
    throw new OwnDataError(
      `${pixels === undefined ? "None" : "More than one"} of its columns (${listed(names)}) holds pictures: one cell in a line must ` +
        `have all levels of a picture, from 0 to 255, with spaces between them, or a column for each, as in label,pixel0,pixel1 and so on.`,
    );
  }
  const isPixels = (i: number): boolean => i >= pixels && i < pixels + (wide?.count ?? 1);
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
    const holding = wide ? `${names[pixels]} to ${names[pixels + wide.count - 1]} hold` : `${names[pixels]} holds`;
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
    pixels,
    ...(wide && { wide: wide.count }),
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

/** Whether a first line, or its beginning, names a column for each number of a picture. */
function isWideHeader(line: Uint8Array): boolean {
  // The last name may be cut.
  const names = text
    .decode(line.subarray(0, 4 * MAX_HEADER))
    .split(",")
    .map(plainName)
    .slice(0, -1);
  const stems = names.map(stemOf);
  let run = 0;
  return stems.some((stem, i) => {
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

/** The names of the columns. @throws FerCsvError */
function namesOf(line: Uint8Array): string[] {
  if ((line.length > MAX_HEADER && !isWideHeader(line)) || line.includes(0) || line[0] === 0xff || line[0] === 0xfe)
    throw refusal(line);
  const head = text.decode(line);
  if (head.includes("\r") || /^\uFEFF?["\s]*\d+["\s]*[,;]/.test(head)) throw refusal(line);
  return head.split(",").map(plainName);
}

/** FER2013's own. @throws FerCsvError */
function columnsOf(line: Uint8Array, names: readonly string[], owner: string | null = null): Columns {
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
  const head = text.decode(line);
  const found = names.slice(0, 6).join(", ").slice(0, 80);
  const advice = names.length === 1 && /[;\t]/.test(head) ? " Separate the columns with commas." : "";
  throw new FerCsvError(
    "wrong-header",
    1,
    `The columns emotion and pixels are needed; the file has: ${found}.${advice}`,
  );
}

/** Whether a file begins like a CSV of pictures, whatever its columns are called. @param head its first bytes */
export function isPictureCsv(head: Uint8Array): boolean {
  const end = head.indexOf(NEWLINE);
  if (head[0] === 0) return false;
  if (isWideHeader(end < 0 ? head : head.subarray(0, end + 1))) return true;
  if (end < 0) return false;
  const cells = text.decode(head.subarray(end + 1)).split(/[,\n]/);
  return cells.some((cell) => /^[\d\s"]*$/.test(cell) && (cell.match(/\d+/g)?.length ?? 0) >= FEWEST_NUMBERS);
}

/** Whether a file begins like a CSV of faces. @param head its first bytes */
export function isFaceCsv(head: Uint8Array): boolean {
  const end = head.indexOf(NEWLINE);
  try {
    const line = head.subarray(0, end);
    if (end >= 0) columnsOf(line, namesOf(line));
    return end >= 0;
  } catch {
    return false;
  }
}
