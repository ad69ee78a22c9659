/** What a file is, by its first bytes: names lie. `numbers` are an IDX file of other numbers than bytes, an `archive` what nobody here unpacks. */
export type FileKind = "gzip" | "zip" | "idx" | "numbers" | "archive" | "picture" | "text";

/** A file that may be read as often as it is wanted, from its beginning. */
export interface SourceFile {
  /** With the folders that it lies in. */
  path: string;
  /** As it lies there, packed or not. */
  bytes: number;
  open: () => AsyncIterable<Uint8Array>;
}

/** Bytes that {@link fileKind} wants to see. */
export const HEAD = 4096;

const PICTURES: readonly (readonly (number | null)[])[] = [
  [0x89, 0x50, 0x4e, 0x47], // PNG
  [0xff, 0xd8, 0xff], // JPEG
  [0x47, 0x49, 0x46, 0x38], // GIF
  [0x52, 0x49, 0x46, 0x46, null, null, null, null, 0x57, 0x45, 0x42, 0x50], // WebP
  [0x42, 0x4d], // BMP
  [null, null, null, null, 0x66, 0x74, 0x79, 0x70, 0x61, 0x76, 0x69], // AVIF
  [null, null, null, null, 0x66, 0x74, 0x79, 0x70, 0x68, 0x65, 0x69], // HEIC
  [0x49, 0x49, 0x2a, 0x00], // TIFF, and its other order of bytes
  [0x4d, 0x4d, 0x00, 0x2a],
];

const ARCHIVES: readonly (readonly number[])[] = [
  [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], // 7z
  [0x52, 0x61, 0x72, 0x21, 0x1a, 0x07], // RAR
  [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], // xz
  [0x42, 0x5a, 0x68], // bzip2
  [0x28, 0xb5, 0x2f, 0xfd], // zstd
];
/** Where a tar file says that it is one. */
const USTAR = { at: 257, text: [0x75, 0x73, 0x74, 0x61, 0x72] } as const;
/** Types of numbers in IDX files beside bytes: signed bytes, and of 2, 4 and 8 bytes. */
const OTHER_NUMBERS = [0x09, 0x0b, 0x0c, 0x0d, 0x0e];

const begins = (head: Uint8Array, signature: readonly (number | null)[]): boolean =>
  signature.every((byte, i) => byte === null || head[i] === byte);

/** @param head the first bytes of a file. What is nothing else is called text, and its reader says what is wrong with it. */
export function fileKind(head: Uint8Array): FileKind {
  if (begins(head, [0x1f, 0x8b])) return "gzip";
  if (begins(head, [0x50, 0x4b, 0x03, 0x04]) || begins(head, [0x50, 0x4b, 0x05, 0x06])) return "zip";
  const dimensions = head[3] ?? 0;
  if (begins(head, [0, 0]) && dimensions >= 1 && dimensions <= 4) {
    if (head[2] === 8) return "idx";
    if (OTHER_NUMBERS.includes(head[2] ?? 0)) return "numbers";
  }
  if (ARCHIVES.some((signature) => begins(head, signature)) || begins(head.subarray(USTAR.at), USTAR.text))
    return "archive";
  return PICTURES.some((signature) => begins(head, signature)) ? "picture" : "text";
}
