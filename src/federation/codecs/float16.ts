import { defineCodec, finite, PART, viewOf } from "./codec";

/** IEEE 754 binary16, rounded to the nearest. */
export const float16 = defineCodec({
  isSparse: false,
  isForDifferences: true,
  largest: ({ size }) => size * 2,
  encode(out, values) {
    for (const value of values) out.uint16(toFloat16(value));
  },
  *decode({ name, offset, size }) {
    for (let from = 0; from < size; from += PART) {
      const count = Math.min(PART, size - from);
      const view = viewOf(yield count * 2);
      const values = new Float32Array(count);
      for (let i = 0; i < count; i++) values[i] = finite(fromFloat16(view.getUint16(i * 2, true)), name);
      yield { start: offset + from, values };
    }
  },
});

/** binary16 of a number, to the nearest, ties to even; what is too large becomes the largest finite one. */
export function toFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.min(Math.abs(value), 65_504);
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24); // Subnormal; 1024 is the smallest normal.
  const exponent = Math.floor(Math.log2(size));
  const mantissa = roundToEven((size / 2 ** exponent - 1) * 1024);
  return sign | (((exponent + 15) << 10) + mantissa);
}

function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** The number that 16 bits of binary16 mean. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}
