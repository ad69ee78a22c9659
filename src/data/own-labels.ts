import { FACE_SIZE } from "../model/expressions";
import { compareWords, MOST_LETTERS } from "./label-words";

/** The labels of a data set that is of somebody's own: whatever words it has, each its own label unless somebody says otherwise. */

/** What is told apart in pictures, and how large they are. */
export interface PictureKind {
  /** In the order of a network's classes. */
  labels: readonly string[];
  input: PictureShape;
}

/** Height and width in pixels, and the numbers of each: a grey level, or red, green and blue. */
export interface PictureShape {
  height: number;
  width: number;
  channels: number;
}

/** As all tasks of faces have them. */
export const FACE: PictureShape = { height: FACE_SIZE, width: FACE_SIZE, channels: 1 };

/** As many as the lab tells apart, where a label is one byte of a picture. */
export const MOST_LABELS = 256;
/** As many as a task may have. */
export const MOST_TASK_LABELS = 64;
export const LEAST_LABELS = 2;
/** Words that are remembered, of which somebody may take some, or several as one label. */
export const MOST_WORDS = 4 * MOST_LABELS;
/** Pixels of a side. */
export const SIDE = { least: 8, most: 96 } as const;

/** A word as it is told from others: the same letters, however they are composed (Unicode's NFC). */
const wordOf = (raw: string): string => raw.trim().normalize("NFC");

/**
 * What each word of a data set is called; words that are not among them are left out. Several may be called the same. Words are told apart
 * by their case, as folders and every other tool do.
 */
export type LabelNames = ReadonlyMap<string, string>;

export interface OwnWord {
  word: string;
  /** What it is taken for; null where it is left out. */
  name: string | null;
  /** Examples that were taken with it, or left out for it. */
  count: number;
}

/** What is wrong with what somebody says of their data, or has to be said of them yet. */
export class OwnDataError extends Error {
  override readonly name = "OwnDataError";
  constructor(
    message: string,
    /** What has to be said; null where saying something does not help. */
    readonly asks: "column" | "size" | null = null,
  ) {
    super(message);
  }
}

/** Reads the labels of one data set, and remembers which words there were. */
export class OwnLabels {
  readonly #counts = new Map<string, number>();
  /** Names, each at the number that {@link read} gives for it. */
  readonly #names: string[];
  #isTooMany = false;
  readonly given: LabelNames | null;

  /**
   * @param given what somebody has said; null: every word is a label
   * @param fixed the labels that there are, as a task has them, whether or not the data have examples of each
   */
  constructor(
    given: LabelNames | null = null,
    readonly fixed: readonly string[] | null = null,
  ) {
    this.given = given && new Map([...given].map(([word, name]) => [wordOf(word), wordOf(name)]));
    this.#names = [...(fixed ?? new Set(this.given?.values()))];
  }

  /** Every label so far, at its number. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Whether there are more words than are remembered: then they are hardly labels. */
  get isTooMany(): boolean {
    return this.#isTooMany;
  }

  /** The number of a word's label, which {@link finish} puts in order; null: it is left out. Counts an example of it. */
  read(raw: string): number | null {
    const word = wordOf(raw);
    if (word.length > MOST_LETTERS) return null;
    const before = this.#counts.get(word);
    const name = this.#nameOf(word);
    if (before === undefined && this.#counts.size >= MOST_WORDS) {
      // What is left out anyway needs no place; of what somebody has named there is an end.
      if (name === null) return null;
      if (!this.given && !this.fixed) {
        this.#isTooMany = true;
        return null;
      }
    }
    this.#counts.set(word, (before ?? 0) + 1);
    if (name === null) return null;
    const known = this.#names.indexOf(name);
    return known >= 0 ? known : this.#names.push(name) - 1;
  }

  /** Takes back what {@link read} has counted, of an example that cannot be used for another reason. */
  drop(raw: string): void {
    const word = wordOf(raw);
    const count = this.#counts.get(word);
    if (count !== undefined) this.#counts.set(word, count - 1);
  }

  /** Why {@link read} gives nothing for a word. */
  why(raw: string): string {
    const word = wordOf(raw);
    if (word === "") return "it has no label";
    if (word.length > MOST_LETTERS) return `the label "${word.slice(0, 20)}..." has over ${MOST_LETTERS} letters`;
    if (this.fixed) return `the label "${word}" is none of ${this.fixed.join(", ")}`;
    if (this.given) return `the label "${word}" is left out, as was asked`;
    return `the label "${word}" is one too many: at most ${MOST_WORDS} are told apart`;
  }

  /** Every word so far with what it is taken for, numbers in their order before names; what has no example left is taken for nothing. */
  get table(): OwnWord[] {
    return [...this.#counts]
      .map(([word, count]) => ({ word, name: count > 0 ? this.#nameOf(word) : null, count }))
      .sort((a, b) => compareWords(a.word, b.word));
  }

  /** Words that are taken for different labels though they differ in nothing but their case, each with its likes. */
  get alike(): string[][] {
    const groups = new Map<string, OwnWord[]>();
    for (const one of this.table) {
      if (one.name === null) continue;
      const key = one.name.toLowerCase();
      groups.set(key, [...(groups.get(key) ?? []), one]);
    }
    return [...groups.values()]
      .filter((group) => new Set(group.map(({ name }) => name)).size > 1)
      .map((group) => group.map(({ word }) => word));
  }

  /**
   * The labels, in the order in which somebody has said them, or else numbers in their order before names; and the place of each number
   * that {@link read} gave, -1 of one without an example.
   * @throws OwnDataError where there are too few, or too many
   */
  finish(): { labels: string[]; places: number[] } {
    if (this.fixed) return { labels: [...this.fixed], places: [...this.fixed.keys()] };
    const used = new Set(this.table.map(({ name }) => name));
    const missing = this.given ? this.#names.filter((name) => !used.has(name)) : [];
    if (missing.length > 0) {
      throw new OwnDataError(`There is no example of ${missing.join(", ")}. There are: ${this.#wordsInShort()}.`);
    }
    const taken = this.#names.filter((name) => used.has(name));
    const labels = this.given ? taken : taken.toSorted(compareWords);
    if (labels.length < LEAST_LABELS) {
      throw new OwnDataError(
        `At least two labels are needed to tell apart; there are: ${this.#wordsInShort() || "none"}.`,
      );
    }
    if (this.#isTooMany || labels.length > MOST_LABELS) {
      throw new OwnDataError(
        `There are ${this.#isTooMany ? `over ${MOST_WORDS}` : labels.length} labels, and at most ${MOST_LABELS} can be told apart: say ` +
          `which are taken. They begin with ${this.#wordsInShort()}.`,
      );
    }
    return { labels, places: this.#names.map((name) => labels.indexOf(name)) };
  }

  #wordsInShort(): string {
    return this.table
      .slice(0, 20)
      .map(({ word, count }) => `${word || "(none)"} (${count})`)
      .join(", ");
  }

  #nameOf(word: string): string | null {
    const name = this.given ? this.given.get(word) : word;
    if (!this.fixed) return name || null;
    // Names of a task are in small letters all.
    return [name, name?.toLowerCase()].find((one) => one !== undefined && this.fixed?.includes(one)) ?? null;
  }
}

/** How many numbers one picture has. */
export const sizeOf = ({ height, width, channels }: PictureShape): number => height * width * channels;

/** Why pictures cannot be of a size, in words; undefined where they can. */
export function whyNoSize({ height, width }: Pick<PictureShape, "height" | "width">): string | undefined {
  const fits = [height, width].every((side) => Number.isInteger(side) && side >= SIDE.least && side <= SIDE.most);
  if (fits) return undefined;
  return `Pictures of ${width} x ${height} pixels are not taken: each side has ${SIDE.least} to ${SIDE.most}.`;
}

/**
 * What a picture of so many numbers is where nobody says: a square in grey, or one in colour; null where it is neither.
 * @param said what somebody has said of it; its channels follow from the number
 */
export function shapeOfNumbers(
  count: number,
  said: Pick<PictureShape, "height" | "width"> | null,
): PictureShape | null {
  for (const channels of [1, 3] as const) {
    const side = Math.sqrt(count / channels);
    const { height, width } = said ?? { height: side, width: side };
    if (height * width * channels === count && Number.isInteger(height)) return { height, width, channels };
  }
  return null;
}

/**
 * Everything that a picture of so many numbers can be: squares first, grey before colour, then the others, the nearer to a square the
 * earlier, and what is wider than high before what is higher than wide.
 */
export function shapesOfNumbers(count: number): PictureShape[] {
  const shapes: PictureShape[] = [];
  for (const channels of [1, 3] as const) {
    for (let height: number = SIDE.least; height <= SIDE.most; height++) {
      const shape = { height, width: count / channels / height, channels };
      if (whyNoSize(shape) === undefined) shapes.push(shape);
    }
  }
  const length = ({ height, width }: PictureShape): number => Math.max(height, width) / Math.min(height, width);
  return shapes.sort((a, b) => length(a) - length(b) || a.channels - b.channels || b.width - a.width);
}

/** Sizes, in words. @param most the rest is not told */
export function shapesInWords(shapes: readonly PictureShape[], most = 6): string {
  const said = shapes
    .slice(0, most)
    .map(({ width, height, channels }) => `${width} x ${height} in ${channels === 1 ? "grey" : "colour"}`);
  return said.length > 1 ? `${said.slice(0, -1).join(", ")} or ${said.at(-1)}` : said.join();
}

/** Whether red, green and blue of any pixel differ. @param pixels red, green, blue, one pixel after the other */
export function hasColour(pixels: Uint8Array): boolean {
  for (let i = 0; i < pixels.length; i += 3) {
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return true;
  }
  return false;
}
