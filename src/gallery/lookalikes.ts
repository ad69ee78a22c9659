import { FACE_SIZE } from "../model/expressions";

/** A picture's fingerprint: 64 bits in two words. */
export type Fingerprint = readonly [number, number];

const WIDTH = 9;
const HEIGHT = 8;

/**
 * Difference hash: the picture is shrunk to 9 x 8 means, and each bit says whether one is brighter than its right neighbour
 * (N. Krawetz, "Kind of like that", 2013). Alike pictures differ in few bits.
 */
export function fingerprintOf(pixels: Uint8Array): Fingerprint {
  const sums = new Float64Array(WIDTH * HEIGHT);
  const counts = new Float64Array(WIDTH * HEIGHT);
  for (let i = 0; i < pixels.length; i++) {
    const cell =
      Math.floor((Math.floor(i / FACE_SIZE) * HEIGHT) / FACE_SIZE) * WIDTH +
      Math.floor(((i % FACE_SIZE) * WIDTH) / FACE_SIZE);
    sums[cell] = (sums[cell] ?? 0) + (pixels[i] ?? 0);
    counts[cell] = (counts[cell] ?? 0) + 1;
  }
  const words: [number, number] = [0, 0];
  for (let bit = 0; bit < 64; bit++) {
    const at = (bit >> 3) * WIDTH + (bit & 7);
    const mean = (cell: number): number => (sums[cell] ?? 0) / (counts[cell] || 1);
    if (mean(at) > mean(at + 1)) words[bit >> 5] = (words[bit >> 5] ?? 0) | (1 << (bit & 31));
  }
  return words;
}

function bitsOf(word: number): number {
  let rest = word - ((word >>> 1) & 0x55555555);
  rest = (rest & 0x33333333) + ((rest >>> 2) & 0x33333333);
  return (((rest + (rest >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** In how many bits two fingerprints differ. */
export const distance = (a: Fingerprint, b: Fingerprint): number => bitsOf(a[0] ^ b[0]) + bitsOf(a[1] ^ b[1]);

/** Up to so many different bits two pictures are almost the same. */
const ALIKE = 4;

/** The ids of the faces that look almost like one that was kept before them. */
export function lookalikes(faces: readonly { id: number; pixels: Uint8Array }[]): Set<number> {
  const known: Fingerprint[] = [];
  const found = new Set<number>();
  for (const { id, pixels } of faces.toSorted((a, b) => a.id - b.id)) {
    const fingerprint = fingerprintOf(pixels);
    if (known.some((one) => distance(one, fingerprint) <= ALIKE)) found.add(id);
    else known.push(fingerprint);
  }
  return found;
}
