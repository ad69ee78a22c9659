import { concatUint8Arrays } from "uint8array-extras";
import { EXPRESSIONS, FACE_PIXELS } from "../model/expressions";
import { LabelWords } from "./label-words";
import { usageOf, type Usage } from "./usage";

/**
 * FER2013's CSV, as the ICML 2013 competition ships it: `emotion,pixels` or `emotion, Usage, pixels`, one face of 48 x 48 grey
 * levels in a line. The file has hundreds of megabytes: it is read in pieces, and a line that is wrong is reported and left out.
 */

/** Bytes of the longest line that can be a face: three digits and a space a pixel, a label, a usage, quotes. */
const MAX_LINE = FACE_PIXELS * 4 + 256;
const MAX_HEADER = 1024;

export type FerCsvCode =
  | "not-csv"
  | "wrong-header"
  | "bad-label"
  | "bad-usage"
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
  /** An index of EXPRESSIONS, whose order is FER2013's. */
  label: number;
  /** null where the file does not say. */
  usage: Usage;
  /** Whose face it is; null where the file does not say. */
  client: string | null;
  /** 2,304 grey levels, row by row. */
  pixels: Uint8Array<ArrayBuffer>;
}

const [NEWLINE, RETURN, COMMA, SPACE, QUOTE, TAB] = [0x0a, 0x0d, 0x2c, 0x20, 0x22, 0x09];
const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === QUOTE || byte === TAB;
const text = new TextDecoder();

/** Reads a file piece by piece. Holds at most one line, whatever it is given. */
export class FerCsvReader {
  #columns: Columns | undefined;
  #line = 1;
  /** The beginning of a line whose end has not come yet. */
  #rest = new Uint8Array(0);
  /** Whether the line that is being read was too long, and was reported. */
  #skipping = false;

  /** @param labels reads the labels, and remembers which there were */
  constructor(readonly labels = new LabelWords()) {}

  /**
   * The faces, and the errors of wrong lines, in a piece of the file, in their order.
   * @throws FerCsvError `not-csv`, `wrong-header` when there is nothing to be had from the whole file
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
    if (!this.#columns) throw new FerCsvError("not-csv", this.#line, "The file is empty.");
  }

  *#keep(bytes: Uint8Array): Generator<FerCsvError> {
    if (this.#skipping || bytes.length === 0) return;
    if (!this.#columns && this.#rest.length + bytes.length > MAX_HEADER) {
      throw refusal(Uint8Array.of(...this.#rest, ...bytes.subarray(0, MAX_HEADER)));
    }
    if (this.#rest.length + bytes.length > MAX_LINE) {
      this.#skipping = true;
      this.#rest = new Uint8Array(0);
      yield new FerCsvError("line-too-long", this.#line, `No face has a line of over ${MAX_LINE} bytes.`);
      return;
    }
    this.#rest = concatUint8Arrays([this.#rest, bytes]);
  }

  *#close(end: Uint8Array, isLast: boolean): Generator<FerFace | FerCsvError> {
    yield* this.#keep(end);
    if (!this.#skipping) {
      let line = this.#rest.length > 0 ? this.#rest : end;
      if (line.at(-1) === RETURN) line = line.subarray(0, -1);
      if (!this.#columns) this.#columns = columnsOf(line);
      else if (line.some((byte) => !isBlank(byte))) yield this.#readFace(line, this.#columns, isLast);
    }
    this.#skipping = false;
    this.#rest = new Uint8Array(0);
    this.#line += 1;
  }

  #readFace(line: Uint8Array, columns: Columns, isLast: boolean): FerFace | FerCsvError {
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
    const emotion = text.decode(cell(columns.emotion)).slice(0, 20);
    const label = this.labels.read(emotion);
    if (label === null) {
      return this.#wrong(
        "bad-label",
        this.labels.isKnown(emotion)
          ? `The emotion "${emotion}" is left out, as was asked.`
          : `The emotion is a number from 0 to ${EXPRESSIONS.length - 1} or its name, not "${emotion}".`,
      );
    }
    const said = columns.usage < 0 ? "" : text.decode(cell(columns.usage)).slice(0, 20);
    const usage = usageOf(said);
    if (usage === "unknown") {
      return this.#wrong("bad-usage", `The usage is Training, PublicTest or PrivateTest, not "${said}".`);
    }
    const pixels = new Uint8Array(FACE_PIXELS);
    const bytes = cell(columns.pixels);
    let count = 0;
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
      if (count < FACE_PIXELS) pixels[count] = value;
      count += 1;
      while (bytes[at] === SPACE) at += 1;
    }
    if (count !== FACE_PIXELS) {
      const short = isLast && count < FACE_PIXELS;
      return short
        ? this.#wrong("truncated", `The file ends here, after ${count} of ${FACE_PIXELS} pixels.`)
        : this.#wrong("wrong-pixel-count", `A face has ${FACE_PIXELS} pixels; there are ${count}.`);
    }
    const client = columns.client < 0 ? null : text.decode(cell(columns.client)).slice(0, 64) || null;
    return { line: this.#line, label, usage, client, pixels };
  }

  #wrong(code: FerCsvCode, message: string): FerCsvError {
    return new FerCsvError(code, this.#line, message);
  }
}

/** What a column is called that says whose face it is, as LEAF and others have it. */
const CLIENT_COLUMNS = new Set(["client", "client_id", "user", "user_id", "subject", "subject_id", "person", "writer"]);

interface Columns {
  emotion: number;
  /** -1 where there is none. */
  usage: number;
  client: number;
  pixels: number;
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

/** @throws FerCsvError */
function columnsOf(line: Uint8Array): Columns {
  if (line.length > MAX_HEADER || line.includes(0) || line[0] === 0xff || line[0] === 0xfe) throw refusal(line);
  const head = text.decode(line);
  if (head.includes("\r")) throw refusal(line);
  const names = head.split(",").map((name) =>
    name
      .replace(/^\uFEFF/, "")
      .replace(/["\s]/g, "")
      .toLowerCase(),
  );
  const columns = {
    emotion: names.indexOf("emotion"),
    usage: names.indexOf("usage"),
    client: names.findIndex((name) => CLIENT_COLUMNS.has(name)),
    pixels: names.indexOf("pixels"),
  };
  if (columns.emotion >= 0 && columns.pixels >= 0) return columns;
  if (/^\uFEFF?["\s]*\d+["\s]*[,;]/.test(head)) throw refusal(line);
  const found = names.slice(0, 6).join(", ").slice(0, 80);
  const advice = names.length === 1 && /[;\t]/.test(head) ? " Separate the columns with commas." : "";
  throw new FerCsvError(
    "wrong-header",
    1,
    `The columns emotion and pixels are needed; the file has: ${found}.${advice}`,
  );
}

/** Whether a file begins like a CSV of faces. @param head its first bytes */
export function isFaceCsv(head: Uint8Array): boolean {
  const end = head.indexOf(NEWLINE);
  try {
    if (end >= 0) columnsOf(head.subarray(0, end));
    return end >= 0;
  } catch {
    return false;
  }
}
