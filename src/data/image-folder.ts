import { EXPRESSIONS, type Expression } from "../model/expressions";

/** Pictures in one folder per label, as most collections of faces come: `train/happy/0001.png`. */

/** What the folders are called. */
const NAMES: Record<Expression, RegExp> = {
  angry: /^(angry|anger)$/,
  disgust: /^(disgust|disgusted)$/,
  fear: /^(fear|fearful|afraid)$/,
  happy: /^(happy|happiness|joy)$/,
  sad: /^(sad|sadness)$/,
  surprise: /^(surprise|surprised)$/,
  neutral: /^neutral$/,
};

const IMAGE = /\.(png|jpe?g|webp|bmp|gif|avif)$/i;
const TEST = /^(test|testing|val|valid|validation|publictest|privatetest)$/;
const TRAIN = /^(train|training)$/;

export interface Place {
  /** An index of EXPRESSIONS. */
  label: number;
  /** `Training`, `PublicTest`, or null where no folder says. */
  usage: string | null;
}

/**
 * What a picture shows, by the folder it lies in: an expression's name, or its number in FER2013.
 * @param path with slashes; null for what is no picture, or hidden
 * @returns "unknown" for a picture whose folder is no label
 */
export function placeOf(path: string): Place | "unknown" | null {
  const parts = path.toLowerCase().split("/").filter(Boolean);
  const name = parts.pop() ?? "";
  if (!IMAGE.test(name) || name.startsWith(".") || parts.includes("__macosx")) return null;
  const folder = parts.at(-1) ?? "";
  const named = EXPRESSIONS.findIndex((expression) => NAMES[expression].test(folder));
  const label = /^[0-6]$/.test(folder) ? Number(folder) : named;
  if (label < 0) return "unknown";
  const usage = parts.some((part) => TEST.test(part))
    ? "PublicTest"
    : parts.some((part) => TRAIN.test(part))
      ? "Training"
      : null;
  return { label, usage };
}
