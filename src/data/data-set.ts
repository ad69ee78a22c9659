import { concatUint8Arrays } from "uint8array-extras";
import { gunzipped, PackedError } from "../base/gzip";
import { isFaceCsv, isPictureCsv } from "./fer-csv";
import { fileKind, HEAD, type FileKind, type SourceFile } from "./file-kind";
import { IdxError, idxShape, pairIdx, type IdxPair, type OpenIdx } from "./idx";
import { isPicture, placesOf, visible, type Place } from "./image-folder";
import { LEAST_LABELS } from "./own-labels";
import { splitAnew } from "./usage";

/** Which of the files of a folder or a zip are the data set: one rule for the page and the command line. */

/** What a file is. */
export interface Looked<F extends SourceFile> {
  file: F;
  /** Of what is packed what is in it; null where that does not unpack. */
  kind: FileKind | null;
  isPacked: boolean;
  /** Its first bytes, unpacked. */
  head: Uint8Array;
}

/** Nothing in some files is a data set, or more than one thing is. */
export class DataSetError extends Error {
  override readonly name = "DataSetError";
}

/** What some files hold; `others` are pictures that lie beside it and are no part of it. */
export type DataSet<F extends SourceFile, P extends { path: string }> =
  | { as: "pictures"; pictures: { file: P; place: Place }[] }
  | { as: "idx"; pairs: IdxPair<F & OpenIdx>[]; others: P[] }
  | { as: "csv" | "zip"; file: Looked<F>; others: P[] };

/** Files that are looked into, the largest first: data sets are large. */
const MOST = 1000;
/** Of those beside a whole collection of pictures. */
const MOST_BESIDE = 100;

async function headOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  let head = new Uint8Array(0);
  for await (const piece of pieces) {
    head = concatUint8Arrays([head, piece.subarray(0, HEAD)]);
    if (head.length >= HEAD) break;
  }
  return head.subarray(0, HEAD);
}

/** What a file holds, unpacked where it is packed. @throws PackedError, with its name */
export async function* plainOf({ file, isPacked }: Looked<SourceFile>): AsyncGenerator<Uint8Array> {
  try {
    yield* isPacked ? gunzipped(file.open()) : file.open();
  } catch (error) {
    throw error instanceof PackedError ? new PackedError(`${file.path} cannot be unpacked: it is damaged.`) : error;
  }
}

/** Looks at the beginning of a file. */
export async function lookInto<F extends SourceFile>(file: F): Promise<Looked<F>> {
  const head = await headOf(file.open());
  const kind = fileKind(head);
  if (kind !== "gzip") return { file, kind, isPacked: false, head };
  try {
    const plain = await headOf(gunzipped(file.open()));
    return { file, kind: fileKind(plain), isPacked: true, head: plain };
  } catch (error) {
    if (!(error instanceof PackedError)) throw error;
    return { file, kind: null, isPacked: true, head: new Uint8Array(0) };
  }
}

/** Why a file cannot be read, by what it is; undefined where it may be. */
export function whyNotRead({ file: { path }, kind, head, isPacked }: Looked<SourceFile>): string | undefined {
  if (kind === null) return `${path} cannot be unpacked: it is damaged.`;
  if (kind === "archive") return `${path} is a tar file or another archive: unpack it, and take the folder.`;
  if (kind === "idx" && idxShape(head) === null) return `${path} ends in its header: it is a damaged IDX file.`;
  if (kind === "zip" && isPacked) return `${path} is packed twice: unpack it once.`;
  if (kind !== "numbers") return undefined;
  const type = (head[2] ?? 0).toString(16).padStart(2, "0");
  return `${path} is an IDX file of other numbers than bytes (type 0x${type}): bytes, 0x08, are taken.`;
}

/**
 * Finds the data set among files by what they hold: pictures in one folder for each label, pairs of IDX files, or the one CSV of pictures. What
 * is hidden, and a file twice, do not count.
 * @param all of a folder or zip, pictures in the order in which they are to be read; of pictures only the path is looked at
 * @param isLabel whether a folder's name is a label's
 * @param areFaces whether a CSV of faces comes before one of other pictures
 * @throws DataSetError, IdxError; whatever opening a file throws
 */
export async function findDataSet<F extends SourceFile, P extends { path: string }>(
  all: readonly (F | P)[],
  { isLabel, areFaces }: { isLabel: (word: string) => boolean; areFaces: boolean },
): Promise<DataSet<F, P>> {
  const files = visible(all);
  const pictures = files.filter((file): file is P => isPicture(file.path));
  const places = splitAnew(placesOf(pictures.map(({ path }) => path)), ({ word }) => isLabel(word));
  const hasLabels = new Set(places.map(({ word }) => word).filter(isLabel)).size >= LEAST_LABELS;
  const rest = files.filter((file): file is F => !isPicture(file.path));
  const looked: Looked<F>[] = [];
  for (const file of largest(rest, hasLabels ? MOST_BESIDE : MOST)) looked.push(await lookInto(file));
  const inOrder = looked.sort((a, b) => Number(a.file.path > b.file.path) - Number(a.file.path < b.file.path));

  const broken = inOrder.map(whyNotRead).find((problem) => problem !== undefined);
  const idx = once(inOrder.filter(({ kind }) => kind === "idx"));
  const csvs = csvsOf(inOrder, areFaces);
  const found = [...idx, ...csvs];
  const asPictures = {
    as: "pictures" as const,
    pictures: pictures.map((file, i) => ({ file, place: places[i] as Place })),
  };
  if (found.length === 0 && pictures.length > 0) return asPictures;
  if (found.length > 0 && (hasLabels || (idx.length > 0 && csvs.length > 0))) {
    const [one] = found as [Looked<F>];
    const what = hasLabels ? "pictures in folders of their labels" : "IDX files";
    throw new DataSetError(`It holds ${what}, and ${(csvs[0] ?? one).file.path} beside them: choose one of the two.`);
  }
  if (idx.length > 0) {
    try {
      return { as: "idx", pairs: splitAnew(pairIdx(idx.map(opened))), others: pictures };
    } catch (error) {
      // A half that cannot be read is no half that is not there.
      throw error instanceof IdxError && broken !== undefined ? new DataSetError(broken) : error;
    }
  }
  // Of what only its name says that it is one, its reader says what is wrong.
  const named = inOrder.filter(({ file, kind }) => kind === "text" && /\.[ct]sv(?:\.gz)?$/i.test(file.path));
  // Documents and programs are zips, too.
  const zips = inOrder.filter(({ file, kind, isPacked }) => {
    return kind === "zip" && !isPacked && /(?:\.zip|(?:^|[/\\])[^./\\]*)$/i.test(file.path);
  });
  const candidates = [csvs, zips, once(named)].find((some) => some.length > 0) ?? [];
  const [only, ...more] = candidates;
  if (more.length > 0) {
    throw new DataSetError(`It holds several data sets: choose one of ${listed(candidates)}.`);
  }
  if (only) return { as: only.kind === "zip" ? "zip" : "csv", file: only, others: pictures };
  throw new DataSetError(broken ?? "It holds no picture in a folder of its label, and no CSV of pictures.");
}

const largest = <F extends SourceFile>(files: readonly F[], most: number): F[] =>
  files.toSorted((a, b) => b.bytes - a.bytes).slice(0, most);

const listed = (some: readonly Looked<SourceFile>[]): string =>
  some
    .slice(0, 6)
    .map(({ file: { path } }) => path)
    .join(", ");

function csvsOf<F extends SourceFile>(looked: readonly Looked<F>[], areFaces: boolean): Looked<F>[] {
  const texts = looked.filter(({ kind }) => kind === "text");
  const faces = areFaces ? texts.filter(({ head }) => isFaceCsv(head)) : [];
  return once(faces.length > 0 ? faces : texts.filter(({ head }) => isPictureCsv(head)));
}

const opened = <F extends SourceFile>(looked: Looked<F>): F & OpenIdx => ({
  ...looked.file,
  shape: idxShape(looked.head) ?? [],
  open: () => plainOf(looked),
});

/** Without those that lie there twice, packed and unpacked, or in a folder of their own name: as they are called, and as they begin. */
function once<F extends SourceFile>(looked: readonly Looked<F>[]): Looked<F>[] {
  const nameOf = ({ file: { path } }: Looked<F>): string =>
    (path.split(/[/\\]/).at(-1) ?? "").replace(/\.gz$/i, "").replace(/[.-]/g, "-").toLowerCase();
  const isSame = (a: Looked<F>, b: Looked<F>): boolean =>
    nameOf(a) === nameOf(b) && a.head.length === b.head.length && a.head.every((byte, i) => byte === b.head[i]);
  const kept: Looked<F>[] = [];
  const [packed, deep] = [(one: Looked<F>) => Number(one.isPacked), (one: Looked<F>) => one.file.path.length];
  for (const one of looked.toSorted((a, b) => packed(a) - packed(b) || deep(a) - deep(b))) {
    if (!kept.some((other) => isSame(one, other))) kept.push(one);
  }
  return looked.filter((one) => kept.includes(one));
}
