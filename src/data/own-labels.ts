import { FACE_SIZE } from "../model/expressions";
import { compareWords } from "./label-words";

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

/** As many as a task may have. */
export const MOST_LABELS = 64;
export const LEAST_LABELS = 2;
/** Pixels of a side. */
export const SIDE = { least: 8, most: 96 } as const;

/** What each word of a data set is called; words that are not among them are left out. Several may be called the same. */
export type LabelNames = ReadonlyMap<string, string>;

export interface OwnWord {
  word: string;
  /** What it is taken for; null where it is left out. */
  name: string | null;
  /** Examples that have it. */
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

  /**
   * @param given what somebody has said; null: every word is a label
   * @param fixed the labels that there are, as a task has them, whether or not the data have examples of each
   */
  constructor(
    readonly given: LabelNames | null = null,
    readonly fixed: readonly string[] | null = null,
  ) {
    this.#names = [...(fixed ?? new Set(given?.values()))];
  }

  /** Every label so far, at its number. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** The number of a word's label, which {@link finish} puts in order; null: it is left out. */
  read(raw: string): number | null {
    const word = raw.trim().toLowerCase();
    const name = this.#nameOf(word);
    // Nobody can say anything about more words than these.
    if (!this.#counts.has(word) && this.#counts.size >= 4 * MOST_LABELS) return null;
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1);
    if (name === null) return null;
    const known = this.#names.indexOf(name);
    return known >= 0 ? known : this.#names.length < MOST_LABELS ? this.#names.push(name) - 1 : null;
  }

  /** Why {@link read} gives nothing for a word. */
  why(raw: string): string {
    const word = raw.trim().toLowerCase();
    if (word === "") return "it has no label";
    if (this.given) return `the label "${word}" is left out, as was asked`;
    if (this.fixed) return `the label "${word}" is none of ${this.fixed.join(", ")}`;
    return `the label "${word}" is one too many: at most ${MOST_LABELS} are taken`;
  }

  /** Every word so far with what it is taken for, numbers in their order before names. */
  get table(): OwnWord[] {
    return [...this.#counts]
      .map(([word, count]) => ({ word, name: this.#nameOf(word), count }))
      .sort((a, b) => compareWords(a.word, b.word));
  }

  /**
   * The labels, in the order in which somebody has said them, or else numbers in their order before names; and the place of each number
   * that {@link read} gave.
   * @throws OwnDataError where there are too few
   */
  finish(): { labels: string[]; places: number[] } {
    if (this.fixed) return { labels: [...this.fixed], places: [...this.fixed.keys()] };
    const used = new Set(this.table.map(({ name }) => name));
    const missing = this.#names.filter((name) => !used.has(name));
    if (missing.length > 0) {
      throw new OwnDataError(`There is no example of ${missing.join(", ")}. There are: ${this.#wordsInShort()}.`);
    }
    const labels = this.given ? [...this.#names] : this.#names.toSorted(compareWords);
    if (labels.length < LEAST_LABELS) {
      throw new OwnDataError(
        `At least two labels are needed to tell apart; there are: ${this.#wordsInShort() || "none"}.`,
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
    if (this.given) return this.given.get(word) ?? null;
    if (this.fixed) return this.fixed.includes(word) ? word : null;
    return word === "" ? null : word.slice(0, 60);
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

/** Whether red, green and blue of any pixel differ. @param pixels red, green, blue, one pixel after the other */
export function hasColour(pixels: Uint8Array): boolean {
  for (let i = 0; i < pixels.length; i += 3) {
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return true;
  }
  return false;
}
