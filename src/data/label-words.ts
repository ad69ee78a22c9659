import { EXPRESSIONS, type Expression } from "../model/expressions";

/** What a data set calls its labels: words that we know, FER2013's numbers, or what somebody says that they mean. */

/** What each expression is called, in folders and in columns. */
const NAMES: Record<Expression, RegExp> = {
  angry: /^(angry|anger)$/,
  disgust: /^(disgust|disgusted)$/,
  fear: /^(fear|fearful|afraid)$/,
  happy: /^(happy|happiness|joy)$/,
  sad: /^(sad|sadness)$/,
  surprise: /^(surprise|surprised)$/,
  neutral: /^neutral$/,
};

/** Letters of a label, and of what says whose an example is. */
export const MOST_LETTERS = 100;
/** Words that are remembered: a data set with more kinds of labels than this has none that we could ask for. */
const MOST_WORDS = 64;
/** Share of the examples whose number is beyond FER2013's: below it they are slips, above it the numbers mean something else. */
const SLIPS = 0.02;

/** What the words of a data set mean: an index of EXPRESSIONS, or null for what is left out. */
export type LabelMapping = Readonly<Record<string, number | null>>;

export interface LabelWord {
  word: string;
  /** What it is taken for; null where it is left out. */
  label: number | null;
  /** Examples that have it. */
  count: number;
}

const isNumber = (word: string): boolean => /^\d{1,3}$/.test(word);
/** Also as a table has it that was made of floating-point numbers. */
const isNumeric = (word: string): boolean => /^-?\d{1,9}(?:\.\d{1,9})?$/.test(word);

/** Reads the labels of one data set, and remembers which words there were. */
export class LabelWords {
  readonly #counts = new Map<string, number>();

  /** @param given what somebody has said; null: the words mean what we know of them */
  constructor(readonly given: LabelMapping | null = null) {}

  /** The label of a word, as an index of EXPRESSIONS; null: it is left out, or nobody knows it. */
  read(raw: string): number | null {
    const word = raw.trim().toLowerCase();
    if (word.length > MOST_LETTERS) return null;
    const before = this.#counts.get(word);
    if (before !== undefined || this.#counts.size < MOST_WORDS) this.#counts.set(word, (before ?? 0) + 1);
    return this.#meaning(word);
  }

  /** Takes back what {@link read} has counted, of an example that cannot be used for another reason. */
  drop(raw: string): void {
    const word = raw.trim().toLowerCase();
    const count = this.#counts.get(word);
    if (count !== undefined) this.#counts.set(word, count - 1);
  }

  /** Why {@link read} gives nothing for a label in a table. */
  why(raw: string): string {
    return this.isKnown(raw)
      ? `The emotion "${raw}" is left out, as was asked.`
      : `The emotion is a number from 0 to ${EXPRESSIONS.length - 1} or its name, not "${raw.slice(0, 20)}".`;
  }

  /** Whether a word has a meaning, or was said to be left out. */
  isKnown(raw: string): boolean {
    const word = raw.trim().toLowerCase();
    return this.#meaning(word) !== null || (this.given !== null && Object.hasOwn(this.given, word));
  }

  /** Every word so far with what it is taken for, numbers in their order before names. */
  get table(): LabelWord[] {
    return [...this.#counts]
      .map(([word, count]) => ({ word, label: this.#meaning(word), count }))
      .sort((a, b) => compareWords(a.word, b.word));
  }

  /**
   * Whether the numbers are another collection's: RAF-DB, for one, counts from 1 to 7, in another order than FER2013, and nothing in
   * the numbers says which. They are then asked for, never guessed.
   */
  get isQuestion(): boolean {
    if (this.given) return false;
    const numbers = this.table.filter(({ word }) => isNumber(word));
    const count = (rows: readonly LabelWord[]): number => rows.reduce((sum, row) => sum + row.count, 0);
    const has = (number: number): boolean => numbers.some(({ word }) => Number(word) === number);
    const beyond = numbers.filter(({ label }) => label === null);
    if (beyond.length > 0) return !has(0) || count(beyond) > SLIPS * count(numbers);
    return !has(0) && [1, 2, 3, 4, 5, 6].every(has);
  }

  #meaning(word: string): number | null {
    if (this.given) return (Object.hasOwn(this.given, word) ? this.given[word] : null) ?? null;
    if (/^[0-6]$/.test(word)) return Number(word);
    const named = EXPRESSIONS.findIndex((expression) => NAMES[expression].test(word));
    return named < 0 ? null : named;
  }
}

/** Puts numbers in their order before names. */
export function compareWords(a: string, b: string): number {
  if (isNumeric(a) !== isNumeric(b)) return isNumeric(a) ? -1 : 1;
  const byNumber = isNumeric(a) ? Number(a) - Number(b) : 0;
  return byNumber || Number(a > b) - Number(a < b);
}
