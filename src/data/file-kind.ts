/** What a file is, by its first bytes: names lie. */
export type FileKind = "gzip" | "zip" | "idx" | "picture" | "text";

/** Bytes that {@link fileKind} wants to see. */
export const HEAD = 4096;

const PICTURES: readonly (readonly (number | null)[])[] = [
  [0x89, 0x50, 0x4e, 0x47], // PNG
  [0xff, 0xd8, 0xff], // JPEG
  [0x47, 0x49, 0x46, 0x38], // GIF
  [0x52, 0x49, 0x46, 0x46, null, null, null, null, 0x57, 0x45, 0x42, 0x50], // WebP
  [0x42, 0x4d], // BMP
  [null, null, null, null, 0x66, 0x74, 0x79, 0x70, 0x61, 0x76, 0x69], // AVIF
];

const begins = (head: Uint8Array, signature: readonly (number | null)[]): boolean =>
  signature.every((byte, i) => byte === null || head[i] === byte);

/** @param head the first bytes of a file. What is nothing else is called text, and its reader says what is wrong with it. */
export function fileKind(head: Uint8Array): FileKind {
  if (begins(head, [0x1f, 0x8b])) return "gzip";
  if (begins(head, [0x50, 0x4b, 0x03, 0x04]) || begins(head, [0x50, 0x4b, 0x05, 0x06])) return "zip";
  if (begins(head, [0, 0, 8]) && (head[3] ?? 0) >= 1 && (head[3] ?? 0) <= 4) return "idx";
  return PICTURES.some((signature) => begins(head, signature)) ? "picture" : "text";
}
