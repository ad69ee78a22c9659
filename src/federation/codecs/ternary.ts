import { defineCodec } from "./codec";
import { decodeLargest, encodeLargest, keptOf } from "./sparse";

/**
 * Sparse Ternary Compression (Sattler et al. 2019, arXiv 1903.02891, algorithm 1): the largest numbers, each as its sign times the mean
 * of their sizes, in a varint of twice its gap, plus one if it is negative. The entropy coding that follows takes the place of the
 * paper's Golomb code.
 */
export const ternary = defineCodec({
  isSparse: true,
  isForDifferences: false,
  largest: ({ size }, share) => 8 + 2 * keptOf(size, share) + Math.ceil(size / 64),
  encode(out, values, _, { share }) {
    encodeLargest(out, values, share, {
      scale: (mean) => mean,
      entry: (gap, value) => out.varint(2 * gap + (value < 0 ? 1 : 0)),
    });
  },
  decode: (tensor) =>
    decodeLargest(tensor, {
      hasByte: false,
      gap: (varint) => Math.floor(varint / 2),
      value: (varint, scale) => (varint % 2 === 0 ? scale : -scale),
    }),
});
