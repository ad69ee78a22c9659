import { concatUint8Arrays } from "uint8array-extras";
import type { SourceFile } from "./file-kind";
import type { PictureShape } from "./own-labels";
import { usageOf, type Usage } from "./usage";

/** The IDX files of MNIST (http://yann.lecun.com/exdb/mnist) and those like it: a big-endian header, then one byte a number. */

/** A file that is not the IDX file that it should be. */
export class IdxError extends Error {
  override readonly name = "IdxError";
}

/** Dimensions of labels, of pictures in grey, and of pictures with channels. */
const [LABELS, GREY, CHANNELS] = [1, 3, 4];
/** Bytes of the longest header. */
export const IDX_HEAD = 4 + 4 * CHANNELS;

/**
 * What an IDX file of bytes says of itself: the size of each dimension, the first of which counts the items.
 * @param head its first bytes
 * @returns null where it is none, or where not all of its header is there
 */
export function idxShape(head: Uint8Array): number[] | null {
  const [zero, alsoZero, type, dimensions = 0] = head;
  if (zero !== 0 || alsoZero !== 0 || type !== 8 || dimensions < LABELS || dimensions > CHANNELS) return null;
  if (head.length < 4 + 4 * dimensions) return null;
  const view = new DataView(head.buffer, head.byteOffset);
  return Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
}

/** Reads an IDX file piece by piece, item by item. Holds at most one item beside the piece that it is given. */
export class IdxReader {
  #shape: number[] | undefined;
  #rest = new Uint8Array(0);
  #read = 0;

  /** Undefined before its header is there. */
  get shape(): readonly number[] | undefined {
    return this.#shape;
  }

  /** The items that are complete with some more bytes: views, to be copied by whoever keeps them. @throws IdxError */
  *push(piece: Uint8Array): Generator<Uint8Array> {
    let bytes = this.#rest.length > 0 ? concatUint8Arrays([this.#rest, piece]) : piece;
    this.#rest = new Uint8Array(0);
    if (!this.#shape) {
      const shape = idxShape(bytes);
      if (!shape) {
        if (bytes.length >= IDX_HEAD || !couldBegin(bytes)) throw noIdx();
        this.#rest = bytes.slice();
        return;
      }
      this.#shape = shape;
      bytes = bytes.subarray(4 + 4 * shape.length);
    }
    const [count = 0, ...sizes] = this.#shape;
    const size = sizes.reduce((a, b) => a * b, 1);
    if (size === 0) throw new IdxError(`Its items are ${sizes.join(" x ")}, which is nothing.`);
    let at = 0;
    for (; at + size <= bytes.length; at += size) {
      if (this.#read === count) break;
      this.#read += 1;
      yield bytes.subarray(at, at + size);
    }
    if (this.#read === count && at < bytes.length) {
      throw new IdxError(`It goes on after the ${count} items that its header announces.`);
    }
    this.#rest = bytes.slice(at);
  }

  /** @throws IdxError where something is missing */
  finish(): void {
    if (!this.#shape) throw noIdx();
    const [count = 0] = this.#shape;
    if (this.#read < count) throw new IdxError(`It ends after ${this.#read} of ${count} items.`);
  }
}

const noIdx = (): IdxError =>
  new IdxError("This is not an IDX file of bytes: it must begin with 0, 0, 8 and its number of dimensions.");

const couldBegin = (bytes: Uint8Array): boolean => [0, 0, 8].every((byte, i) => (bytes[i] ?? byte) === byte);

/**
 * @param file whole
 * @returns the bytes behind the header, and the size of each dimension, the first of which counts the items
 * @throws IdxError
 */
export function decodeIdx(file: Uint8Array): { data: Uint8Array; shape: number[] } {
  const shape = idxShape(file);
  if (!shape)
    throw file.length < IDX_HEAD && couldBegin(file) ? new IdxError("The IDX file ends in its header.") : noIdx();
  const head = 4 + 4 * shape.length;
  const size = shape.reduce((a, b) => a * b, 1);
  if (file.length - head !== size) {
    throw new IdxError(
      `The IDX file should hold ${size} numbers (${shape.join(" x ")}); it holds ${file.length - head}.`,
    );
  }
  return { data: file.subarray(head), shape };
}

/** Whether a file is called as MNIST's are, packed or not; only its content says whether it is an IDX file. */
export const isIdxName = (path: string): boolean =>
  /(?:idx[1-4]|ubyte)/i.test(nameOf(path)) && !path.includes("__MACOSX");

/** An IDX file among others. */
export interface IdxFile {
  path: string;
  shape: readonly number[];
}

/** Pictures, and the file with their labels. */
export interface IdxPair<F extends IdxFile> {
  pictures: F;
  labels: F;
  shape: PictureShape;
  usage: Usage;
}

/** A picture's shape; null of a file that holds none. @throws IdxError of pictures with other channels than these programs know */
function pictureShape({ path, shape }: IdxFile): PictureShape | null {
  const [, height = 0, width = 0, channels = 1] = shape;
  if (shape.length < GREY) return null;
  if (channels !== 1 && channels !== 3) {
    throw new IdxError(
      `${path} holds pictures of ${channels} channels: 1, grey, and 3, red, green and blue, are taken.`,
    );
  }
  return { height, width, channels };
}

const nameOf = (path: string): string => path.split(/[/\\]/).at(-1) ?? "";

/** The words of a file's name that do not say that it holds pictures, or labels, in IDX: of `x_train.idx` and `y_train.idx` the same. */
const wordsOf = (path: string): string[] =>
  nameOf(path)
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(
      (word) =>
        word !== "" && !/^(?:images?|pictures?|labels?|targets?|x|y|data|idx\d?|ubyte|bin|dat|raw|gz)$/.test(word),
    );

/** What a file is for, by its name: MNIST calls its test t10k. */
function usageIn(words: readonly string[]): Usage {
  const said = words.map((word) => (word === "t10k" ? "test" : usageOf(word)));
  return said.includes("test") ? "test" : said.includes("train") ? "train" : null;
}

/**
 * Which labels belong to which pictures. What a file holds says its header; of several, files belong together whose names say the same but
 * for what they hold, and which have as many items.
 * @param files with IDX headers, of one folder or zip
 * @returns at least one pair; all of one size, and of one data set: that for training, that for a test, or one that does not say
 * @throws IdxError, naming what lacks its other half, and what there are of several data sets
 */
export function pairIdx<F extends IdxFile>(files: readonly F[]): IdxPair<F>[] {
  const pictures = files.filter((file) => pictureShape(file) !== null);
  const labels = files.filter(({ shape }) => shape.length === LABELS);
  const isAlone = pictures.length === 1 && labels.length === 1;
  const keyOf = ({ path }: F): string => wordsOf(path).join("-");
  const pairs = pictures.map((one): IdxPair<F> => {
    const found = isAlone ? labels : labels.filter((other) => keyOf(other) === keyOf(one));
    const [only, another] = found;
    if (!only) throw new IdxError(`${one.path} holds pictures, and no file of its name holds their labels.`);
    if (another) throw new IdxError(`${one.path} has two files of labels: ${only.path} and ${another.path}.`);
    if (only.shape[0] !== one.shape[0]) {
      throw new IdxError(
        `${one.path} has ${one.shape[0]} pictures, and ${only.path} ${only.shape[0]} labels: they do not belong together.`,
      );
    }
    const shape = pictureShape(one) as PictureShape;
    return { pictures: one, labels: only, shape, usage: usageIn(wordsOf(one.path)) };
  });
  const [first] = pairs;
  if (!first) throw new IdxError("There are IDX files, and none of them holds pictures.");
  const lost = labels.find((one) => !pairs.some((pair) => pair.labels === one));
  if (lost) throw new IdxError(`${lost.path} holds labels, and no file of its name holds their pictures.`);
  /** What a data set is called, whatever its parts are for. */
  const setOf = ({ pictures: { path } }: IdxPair<F>): string =>
    wordsOf(path)
      .filter((word) => usageIn([word]) === null)
      .join("-");
  const again = pairs.find((pair) => pair !== first && (setOf(pair) !== setOf(first) || pair.usage === first.usage));
  if (again) {
    throw new IdxError(
      `There are several data sets: choose one, of ${first.pictures.path} and ${again.pictures.path}, with its labels.`,
    );
  }
  const other = pairs.find(({ shape }) => JSON.stringify(shape) !== JSON.stringify(first.shape));
  if (other) {
    throw new IdxError(
      `${first.pictures.path} and ${other.pictures.path} have pictures of different sizes, ${sizes(first)} and ${sizes(other)}.`,
    );
  }
  return pairs;
}

const sizes = ({ shape: { height, width, channels } }: { shape: PictureShape }): string =>
  `${width} x ${height}${channels === 3 ? " in colour" : ""}`;

/** A source that is an IDX file. */
export type OpenIdx = SourceFile & IdxFile;

/** The pictures of a pair with their labels, in their order. @throws IdxError */
export async function* idxSamples({
  pictures,
  labels,
}: IdxPair<OpenIdx>): AsyncGenerator<{ label: number; pixels: Uint8Array<ArrayBuffer> }> {
  const all: number[] = [];
  for await (const [label = 0] of itemsOf(labels)) all.push(label);
  let i = 0;
  for await (const item of itemsOf(pictures)) yield { label: all[i++] ?? NaN, pixels: Uint8Array.from(item) };
}

async function* itemsOf({ path, open }: OpenIdx): AsyncGenerator<Uint8Array> {
  const reader = new IdxReader();
  try {
    for await (const piece of open()) yield* reader.push(piece);
    reader.finish();
  } catch (error) {
    throw error instanceof IdxError ? new IdxError(`${path}: ${error.message}`) : error;
  }
}
