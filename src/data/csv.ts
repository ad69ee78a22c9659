import { concatUint8Arrays } from "uint8array-extras";

/**
 * CSV as RFC 4180 has it, read in pieces: cells are separated by commas and records by line ends; in a quoted cell both are text, and so
 * is a quote that is written twice. More is taken than the RFC's: LF alone as a line end, a byte order mark, and blanks around a cell's
 * quotes. Cells stay bytes, since most of them are numbers by the hundred megabytes.
 */

/** A record, or why a line is none. */
export interface CsvRecord {
  /** The line in which it begins, counted from 1. */
  line: number;
  cells: readonly Uint8Array[];
  /** All of it, without its line end; of a line that is none, its beginning. */
  bytes: Uint8Array;
  /** Whether the file ends in it, without a line end. */
  isCut: boolean;
  fault: CsvFault | null;
}

/**
 * `too-long`: over {@link CsvSplitter.longest}; `open-quote`: a quoted cell does not end in the file, or within so many bytes;
 * `bad-quote`: a quoted cell goes on behind its quote.
 */
export type CsvFault = "too-long" | "open-quote" | "bad-quote";

const [NEWLINE, RETURN, COMMA, QUOTE, SPACE, TAB] = [0x0a, 0x0d, 0x2c, 0x22, 0x20, 0x09];
const MARK = [0xef, 0xbb, 0xbf];

/** Splits a file into records. Holds at most one, whatever it is given; behind a line with a fault it goes on with the next line. */
export class CsvSplitter {
  #rest = new Uint8Array(0);
  #line = 1;
  #isBegun = false;
  /** Whether what comes up to the next line end belongs to a line that was found at fault. */
  #isSkipping = false;

  /** @param longest bytes of the longest record, without its line end; may change from record to record */
  constructor(public longest: number) {}

  /** The line that is being read, counted from 1. */
  get line(): number {
    return this.#line;
  }

  /** The records that end in a piece of the file. @param isLast whether the file ends with it */
  *push(piece: Uint8Array, isLast = false): Generator<CsvRecord> {
    const bytes = this.#rest.length > 0 ? concatUint8Arrays([this.#rest, piece]) : piece;
    let at = 0;
    if (!this.#isBegun && (bytes.length >= MARK.length || isLast)) {
      this.#isBegun = true;
      if (MARK.every((byte, i) => bytes[i] === byte)) at = MARK.length;
    }
    while (this.#isBegun && at < bytes.length) {
      if (this.#isSkipping) {
        const end = bytes.indexOf(NEWLINE, at);
        at = end < 0 ? bytes.length : end + 1;
        this.#isSkipping = end < 0;
        if (end >= 0) this.#line += 1;
        continue;
      }
      // As much as a record may have, and its line end: how the pieces are cut makes no difference.
      const end = Math.min(bytes.length, at + this.longest + 1);
      const isAll = isLast && end === bytes.length;
      const window = bytes.subarray(at, end);
      const found = recordIn(window, isAll);
      if (found === null && window.length <= this.longest) break;
      const line = this.#line;
      if (found === null || typeof found === "string") {
        this.#isSkipping = true;
        const fault = found ?? (window.includes(NEWLINE) ? "open-quote" : "too-long");
        yield { line, cells: [], bytes: window, isCut: false, fault };
      } else {
        const { cells, length, lines, isCut } = found;
        at += length;
        this.#line += lines;
        yield { line, cells, bytes: window.subarray(0, length), isCut, fault: null };
      }
    }
    this.#rest = bytes.slice(at);
  }
}

/** The cells of bytes that are one record, as {@link CsvRecord.bytes} has them; none where they are not. */
export function cellsOf(bytes: Uint8Array): readonly Uint8Array[] {
  const found = recordIn(bytes, true);
  return found === null || typeof found === "string" ? [] : found.cells;
}

interface Found {
  cells: Uint8Array[];
  /** With its line end. */
  length: number;
  lines: number;
  isCut: boolean;
}

/** @returns null where the record does not end in these bytes, and more may come. @param isAll whether nothing comes behind them */
function recordIn(bytes: Uint8Array, isAll: boolean): Found | null | CsvFault {
  const cells: Uint8Array[] = [];
  let lines = 1;
  let at = 0;
  /** Up to the next line end that may be the record's. */
  let line = lineFrom(bytes, 0);
  for (;;) {
    if (line.length === bytes.length && !isAll) return null;
    at = pastBlanks(line, at);
    if (line[at] === QUOTE) {
      const close = closeOf(bytes, at + 1);
      if (close < 0) {
        if (!isAll) return null;
        if (lines > 1 || line.length < bytes.length) return "open-quote";
      }
      const to = close < 0 ? bytes.length : close;
      cells.push(withoutDoubled(bytes.subarray(at + 1, to)));
      if (to > line.length) {
        for (let end = line.length; end >= 0 && end < to; end = bytes.indexOf(NEWLINE, end + 1)) lines += 1;
        line = lineFrom(bytes, to);
        if (line.length === bytes.length && !isAll) return null;
      }
      at = pastBlanks(line, to + 1);
      if (line[at] === RETURN && at + 1 === line.length) at += 1;
      if (at < line.length && line[at] !== COMMA) return "bad-quote";
    } else {
      const comma = line.indexOf(COMMA, at);
      let to = comma < 0 ? line.length : comma;
      const next = to;
      if (comma < 0 && to > at && line[to - 1] === RETURN) to -= 1;
      while (to > at && isBlank(line[to - 1])) to -= 1;
      cells.push(line.subarray(at, to));
      at = next;
    }
    if (at >= line.length) {
      const isCut = line.length === bytes.length;
      return { cells, length: isCut ? bytes.length : line.length + 1, lines, isCut };
    }
    at += 1;
  }
}

const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

function pastBlanks(line: Uint8Array, from: number): number {
  let at = from;
  while (isBlank(line[at])) at += 1;
  return at;
}

/** From the beginning up to the first line end at or behind a place. */
function lineFrom(bytes: Uint8Array, from: number): Uint8Array {
  const end = bytes.indexOf(NEWLINE, from);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** Where the quote is that ends a cell; -1 where there is none. */
function closeOf(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(QUOTE, from);
  while (at >= 0 && bytes[at + 1] === QUOTE) at = bytes.indexOf(QUOTE, at + 2);
  return at;
}

/** What a quoted cell holds: of two quotes, one. */
function withoutDoubled(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(QUOTE)) return bytes;
  let isSecond = false;
  return bytes.filter((byte) => {
    isSecond = byte === QUOTE && !isSecond;
    return byte !== QUOTE || isSecond;
  });
}
