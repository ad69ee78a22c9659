import { FormatError } from "../../model/safetensors";
import { scaleAt, viewOf, type Codec, type Decoding, type Writer } from "./codec";

/**
 * Codecs of a kernel's largest numbers: their count as uint32, a float32 scale, then for each how many numbers lie between it and the
 * one before, as a varint, and what else the codec says of it. What is not sent is sent later: error feedback is the sender's.
 */

/** Bytes of the longest gap that an index can have: five times seven bits. */
const VARINT = 5;

/** How many numbers of a tensor are kept. */
export const keptOf = (size: number, share: number): number => Math.max(1, Math.min(size, Math.round(size * share)));

/** What one codec makes of its scale, a gap and a value. */
interface SparseWriter {
  /** @param mean of the sizes that are kept @param largest of them */
  scale: (mean: number, largest: number) => number;
  entry: (gap: number, value: number, index: number, scale: number) => void;
}

/** Writes the largest of some numbers, and of those as large as the smallest of them only so many as are wanted. */
export function encodeLargest(out: Writer, values: Float32Array, share: number, codec: SparseWriter): void {
  const count = keptOf(values.length, share);
  const threshold = kthLargest(values, count);
  let above = 0;
  let sum = 0;
  let largest = threshold;
  for (const value of values) {
    const size = Math.abs(value);
    if (size <= threshold) continue;
    above += 1;
    sum += size;
    largest = Math.max(largest, size);
  }
  let ties = count - above;
  const scale = Math.fround(codec.scale((sum + ties * threshold) / count, largest));
  out.uint32(count);
  out.float32(scale);
  let last = -1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    const size = Math.abs(value);
    if (size < threshold || (size === threshold && ties-- <= 0)) continue;
    codec.entry(i - last - 1, value, i, scale);
    last = i;
  }
}

/** The k-th largest size among the values: quickselect (Hoare 1961) on a copy. */
function kthLargest(values: Float32Array, k: number): number {
  const sizes = values.map(Math.abs);
  const at = (i: number): number => sizes[i] ?? 0;
  let low = 0;
  let high = sizes.length - 1;
  const wanted = sizes.length - k;
  while (low < high) {
    const pivot = at((low + high) >> 1);
    let i = low;
    let j = high;
    while (i <= j) {
      while (at(i) < pivot) i += 1;
      while (at(j) > pivot) j -= 1;
      if (i > j) break;
      const smaller = at(j);
      sizes[j] = at(i);
      sizes[i] = smaller;
      i += 1;
      j -= 1;
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return at(wanted);
}

/** What one codec reads of an entry: a varint, and behind it a byte where there is one. */
interface SparseReader {
  hasByte: boolean;
  gap: (varint: number) => number;
  value: (varint: number, scale: number, byte: number) => number;
}

export function* decodeLargest(tensor: Parameters<Codec["decode"]>[0], codec: SparseReader): Decoding {
  const { name, offset, size } = tensor;
  const view = viewOf(yield 8);
  const count = view.getUint32(0, true);
  const scale = scaleAt(view, 4, name);
  if (count > size) throw new FormatError("bad-index", `${name} has ${size} numbers; ${count} are announced.`);
  const values = new Float32Array(size);
  let at = -1;
  for (let i = 0; i < count; i++) {
    const number = yield* readVarint(name);
    at += 1 + codec.gap(number);
    if (at >= size) throw new FormatError("bad-index", `${name} has ${size} numbers; index ${at} is named.`);
    const [byte = 0] = codec.hasByte ? yield 1 : [];
    values[at] = codec.value(number, scale, byte);
  }
  yield { start: offset, values };
}

function* readVarint(tensor: string): Generator<number, number, Uint8Array> {
  let number = 0;
  for (let shift = 0; shift < 7 * VARINT; shift += 7) {
    const [byte = 0] = yield 1;
    number += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return number;
  }
  throw new FormatError("bad-index", `${tensor}: a gap has more than ${VARINT} bytes.`);
}
