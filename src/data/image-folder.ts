import { usageOf, type Usage } from "./usage";

/** Pictures in one folder per label, as most collections of faces come: `train/happy/0001.png`. */

const IMAGE = /\.(png|jpe?g|webp|bmp|gif|avif)$/i;

export interface Place {
  /** The folder's name, which is the label. */
  word: string;
  /** null where no folder says. */
  usage: Usage;
  /** The folder above the label's, where that is not what says what it is for: whose picture it is, in data of many clients. */
  client: string | null;
}

/**
 * What a picture shows and what it is for, by the folders that it lies in.
 * @param path with slashes, or with the backslashes that some Windows programs write into zips; null for what is no picture, or hidden
 */
export function placeOf(path: string): Place | null {
  const parts = path.split(/[/\\]/).filter(Boolean);
  const name = parts.pop() ?? "";
  if (!IMAGE.test(name) || name.startsWith(".") || parts.includes("__MACOSX")) return null;
  const usages = parts.map(usageOf).filter((usage) => usage !== "unknown");
  const above = parts.slice(0, -1).filter((part) => usageOf(part) === "unknown");
  return {
    client: above.at(-1) ?? null,
    word: parts.at(-1) ?? "",
    usage: usages.includes("test") ? "test" : usages.includes("train") ? "train" : null,
  };
}
