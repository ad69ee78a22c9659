import { hash32 } from "../../base/random";
import { defineCodec, stochasticRound } from "./codec";
import { decodeLargest, encodeLargest, keptOf } from "./sparse";

const LEVELS = 127;

/**
 * Top-k with error feedback: the largest numbers, each as an integer of eight bits that is rounded at random, on one scale =
 * max |x| / 127. (Aji and Heafield 2017, arXiv 1704.05021, for the choice; the momentum correction and warm-up of Deep Gradient
 * Compression, Lin et al. 2018, are not here.)
 */
export const topk = defineCodec({
  isSparse: true,
  isForDifferences: false,
  // A varint of g has at most 1 + g / 128 bytes, and all gaps together are less than the size.
  largest: ({ size }, share) => 8 + 2 * keptOf(size, share) + Math.ceil(size / 128),
  encode(out, values, { offset }, { share, seed }) {
    encodeLargest(out, values, share, {
      scale: (_, largest) => largest / LEVELS,
      entry(gap, value, index, scale) {
        out.varint(gap);
        out.uint8(stochasticRound(value / (scale || 1), LEVELS, hash32(seed, offset + index)) & 0xff);
      },
    });
  },
  decode: (tensor) =>
    decodeLargest(tensor, {
      hasByte: true,
      gap: (varint) => varint,
      value: (_, scale, byte) => ((byte << 24) >> 24) * scale,
    }),
});
