import { usageOf, type Usage } from "./usage";

/** Pictures in one folder per label, as most collections of faces come: `train/happy/0001.png`. */

/** Kinds of pictures. Not every browser reads all of them: one that it does not is named, and not overlooked. */
const IMAGE = /\.(png|jpe?g|jfif|webp|bmp|gif|avif|tiff?|heic|heif|jxl|jp2|p[bgnp]m|tga)$/i;

/** Folders that systems and programs make beside the files of people. */
const SYSTEM = new Set([
  ...["__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"],
]);

export interface Place {
  /** The folder's name, which is the label. */
  word: string;
  /** null where no folder says. */
  usage: Usage;
  /** The folder above the label's, where that is not what says what it is for: whose picture it is, in data of many clients. */
  client: string | null;
}

const partsOf = (path: string): string[] => path.split(/[/\\]/).filter(Boolean);

/** Whether a file is a picture by its name. */
export const isPicture = (path: string): boolean => IMAGE.test(path);

/** Those of some files that are not hidden and lie in no hidden folder nor in one of a system; the folder around all of them may be. */
export function visible<T extends { path: string }>(files: readonly T[]): T[] {
  const tops = new Set(files.map(({ path }) => partsOf(path).slice(0, -1)[0] ?? ""));
  const shared = tops.size === 1 && !tops.has("") ? 1 : 0;
  const isHidden = (part: string): boolean => part.startsWith(".") || SYSTEM.has(part.toLowerCase());
  return files.filter(({ path }) => !partsOf(path).slice(shared).some(isHidden));
}

/**
 * What each picture shows and what it is for, by the folders that it lies in, and by those beside them: `train` is a part of a data set, and
 * in `bus`, `car`, `train` a label.
 * @param paths of all pictures of a data set, with slashes, or with the backslashes that some Windows programs write into zips
 */
export function placesOf(paths: readonly string[]): Place[] {
  const all = paths.map((path) => partsOf(path).slice(0, -1));
  const key = (parts: readonly string[]): string => parts.join("/");
  /**
   * Folders that hold a folder with pictures of its own whose name is no word for a part, at once or further down; and folders that hold
   * folders of pictures at all.
   */
  const [labelled, aboveLabels, outer] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const parts of all) {
    const isLabel = !isPart(parts.at(-1) ?? "");
    if (isLabel) labelled.add(key(parts.slice(0, -1)));
    for (let depth = 0; depth < parts.length; depth++) {
      outer.add(key(parts.slice(0, depth)));
      if (isLabel) aboveLabels.add(key(parts.slice(0, depth)));
    }
  }
  // One picture beside the folders of the labels makes no label of the folder around them all.
  const [root = ""] = all[0] ?? [];
  const hasRoot = outer.has(root) && all.every(([first]) => first === root);
  return all.map((parts) => {
    let above = parts.slice(0, -1);
    let word = parts.at(-1) ?? "";
    const saying = [...above];
    if (hasRoot && parts.length === 1) word = "";
    if (isPart(word) && !labelled.has(key(above))) {
      // The pictures of a part of a data set, without labels; or a label's pictures for one purpose.
      saying.push(word);
      const label = above.findLast((part) => !isPart(part)) ?? "";
      const isNone = outer.has(key(parts)) || aboveLabels.has(key(above.slice(0, above.lastIndexOf(label) + 1)));
      word = isNone ? "" : label;
      above = above.slice(0, Math.max(0, above.lastIndexOf(word)));
    }
    const usages = saying.map(usageOf);
    return {
      word,
      usage: usages.includes("test") ? "test" : usages.includes("train") ? "train" : null,
      client: above.findLast((part) => !isPart(part)) ?? null,
    };
  });
}

/** Whether a folder's name says what its pictures are for. */
const isPart = (name: string): boolean => usageOf(name) !== "unknown" && name !== "";
