import { allFinite, defineCodec, PART } from "./codec";

/** The numbers themselves. Every machine that runs this is little-endian, as the file is. */
export const float32 = defineCodec({
  isSparse: false,
  // The whole checkpoint is no longer.
  isForDifferences: false,
  largest: ({ size }) => size * 4,
  encode(out, values) {
    for (const value of values) out.float32(value);
  },
  *decode({ name, offset, size }) {
    for (let from = 0; from < size; from += PART) {
      const values = new Float32Array(Math.min(PART, size - from));
      new Uint8Array(values.buffer).set(yield values.byteLength);
      allFinite(values, name);
      yield { start: offset + from, values };
    }
  },
});
