import { hash32 } from "../../base/random";
import type { ModelSummary, TensorSpec } from "../../model/model";
import { FormatError } from "../../model/safetensors";

/**
 * Codecs of updates: what a delta becomes before it is sent, beside the entropy coding that follows. A payload holds the model's
 * tensors in their order, little-endian, so that it can be decoded as it streams in. Tensors of one dimension (biases, batch
 * normalization) are few and stay float32; a kernel becomes
 *
 * - `float32`: itself; `float16`: IEEE 754 binary16, rounded to the nearest.
 * - `int8`, `int4`: for each output channel a float32 scale = max |x| / 127 or / 7, then integers q (two to a byte, the first in
 *   the low half, for int4) that are rounded at random so that the expectation of q * scale is x (QSGD, Alistarh et al. 2017,
 *   arXiv 1610.02132, section 3.1).
 * - `topk`: the share of its numbers that are largest in size (Deep Gradient Compression, Lin et al. 2018, arXiv 1712.01887):
 *   their count as uint32, a float32 scale = max |x| / 127, then for each the gap to the one before as a varint (LEB128) and an
 *   int8 rounded at random.
 * - `ternary`: as many of its largest numbers, each as its sign times the mean of their sizes (Sparse Ternary Compression, Sattler
 *   et al. 2019, arXiv 1903.02891, algorithm 1): count, that mean as float32, then for each a varint of twice its gap, plus one if
 *   it is negative. The entropy coding that follows takes the place of the paper's Golomb code.
 *
 * What a codec loses, its sender keeps and adds to the next update (error feedback, Seide et al. 2014; Karimireddy et al. 2019,
 * arXiv 1901.09847, algorithm 2): see {@link compress}.
 */
export const CODECS = ["float32", "float16", "int8", "int4", "topk", "ternary"] as const;
export type Codec = (typeof CODECS)[number];

export interface CodecOptions {
  codec: Codec;
  /** Of topk and ternary: the share of a kernel's numbers that is kept, above 0 and at most 1. */
  share: number;
  /** Decides the rounding. */
  seed: number;
}

const isDense = ({ shape }: TensorSpec, codec: Codec): boolean => codec === "float32" || shape.length < 2;
/** Whether a codec sends the largest numbers of a kernel only. */
export const isSparse = (codec: Codec): boolean => codec === "topk" || codec === "ternary";
const channelsOf = ({ shape }: TensorSpec): number => shape.at(-1) ?? 1;
/** The largest integer of a codec. */
const LEVELS = { int8: 127, int4: 7, topk: 127 } as const;
/** Bytes of the longest gap that an index can have: five times seven bits. */
const VARINT = 5;

/** The bytes that a delta becomes. @throws FormatError `not-finite` */
export function encodeDelta(model: ModelSummary, delta: Float32Array, options: CodecOptions): Uint8Array<ArrayBuffer> {
  const { codec, seed } = options;
  const out = new Writer(largestPayload(model, options));
  for (const tensor of model.tensors) {
    const values = delta.subarray(tensor.offset, tensor.offset + tensor.size);
    for (const value of values) {
      if (!Number.isFinite(value))
        throw new FormatError("not-finite", `${tensor.name} holds a number that is not finite.`);
    }
    if (isDense(tensor, codec)) for (const value of values) out.float32(value);
    else if (codec === "float16") for (const value of values) out.uint16(toFloat16(value));
    else if (isSparse(codec)) encodeLargest(out, values, tensor, options);
    else {
      const levels = LEVELS[codec as "int8" | "int4"];
      const scale = scalesOf(values, channelsOf(tensor), levels);
      for (const one of scale) out.float32(one);
      const q = (i: number): number =>
        roundAtRandom((values[i] ?? 0) / (scale[i % scale.length] || 1), levels, hash32(seed, tensor.offset + i));
      if (codec === "int8") for (let i = 0; i < values.length; i++) out.uint8(q(i) & 0xff);
      else
        for (let i = 0; i < values.length; i += 2)
          out.uint8((q(i) & 0xf) | ((i + 1 < values.length ? q(i + 1) & 0xf : 0) << 4));
    }
  }
  return out.done();
}

/** Bytes of the longest payload that a model's delta can become. */
export function largestPayload(
  { tensors }: ModelSummary,
  { codec, share }: Pick<CodecOptions, "codec" | "share">,
): number {
  return tensors.reduce((sum, tensor) => {
    const { size } = tensor;
    if (isDense(tensor, codec)) return sum + size * 4;
    if (codec === "float16") return sum + size * 2;
    // A varint of g has at most 1 + g / 128 bytes, and all gaps together are less than the size.
    if (codec === "topk") return sum + 8 + 2 * keptOf(size, share) + Math.ceil(size / 128);
    if (codec === "ternary") return sum + 8 + 2 * keptOf(size, share) + Math.ceil(size / 64);
    return sum + channelsOf(tensor) * 4 + Math.ceil(size / (codec === "int4" ? 2 : 1));
  }, 0);
}

/** How many numbers of a tensor a sparse codec keeps. */
const keptOf = (size: number, share: number): number => Math.max(1, Math.min(size, Math.round(size * share)));

/** Largest size of each channel, as a share of the codec's largest integer. Channels are the last dimension. */
function scalesOf(values: Float32Array, channels: number, levels: number): Float32Array {
  const scale = new Float32Array(channels);
  for (let i = 0; i < values.length; i++) {
    const c = i % channels;
    scale[c] = Math.max(scale[c] as number, Math.abs(values[i] as number) / levels);
  }
  return scale;
}

/** The integer below or above, so that the mean over all draws is x. @param most of the codec @param draw uniform in 0..2^32 - 1 */
const roundAtRandom = (x: number, most: number, draw: number): number => {
  const below = Math.floor(x);
  // A scale is rounded to float32, which may leave x a hair above the largest integer: of four bits, the next one is its opposite.
  return Math.max(-most, Math.min(most, below + (draw < (x - below) * 2 ** 32 ? 1 : 0)));
};

function encodeLargest(
  out: Writer,
  values: Float32Array,
  { offset }: TensorSpec,
  { codec, share, seed }: CodecOptions,
): void {
  const count = keptOf(values.length, share);
  const threshold = kthLargest(values, count);
  // Of numbers as large as the threshold only so many as are wanted.
  let [above, sum, largest] = [0, 0, 0];
  for (const value of values) {
    const size = Math.abs(value);
    if (size <= threshold) continue;
    above += 1;
    sum += size;
    largest = Math.max(largest, size);
  }
  let ties = count - above;
  const mean = (sum + ties * threshold) / count;
  const scale = Math.fround(codec === "ternary" ? mean : Math.max(largest, threshold) / LEVELS.topk);
  out.uint32(count);
  out.float32(scale);
  let last = -1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const size = Math.abs(value);
    if (size < threshold || (size === threshold && ties-- <= 0)) continue;
    const gap = i - last - 1;
    last = i;
    if (codec === "ternary") out.varint(2 * gap + (value < 0 ? 1 : 0));
    else {
      out.varint(gap);
      out.uint8(roundAtRandom(value / (scale || 1), LEVELS.topk, hash32(seed, offset + i)) & 0xff);
    }
  }
}

/** The k-th largest size among the values: quickselect (Hoare 1961) on a copy. */
function kthLargest(values: Float32Array, k: number): number {
  const sizes = values.map(Math.abs);
  let [low, high] = [0, sizes.length - 1];
  const wanted = sizes.length - k;
  while (low < high) {
    const pivot = sizes[(low + high) >> 1] as number;
    let [i, j] = [low, high];
    while (i <= j) {
      while ((sizes[i] as number) < pivot) i += 1;
      while ((sizes[j] as number) > pivot) j -= 1;
      if (i <= j) {
        [sizes[i], sizes[j]] = [sizes[j] as number, sizes[i] as number];
        i += 1;
        j -= 1;
      }
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return sizes[wanted] as number;
}

/** Some numbers of a delta, from index `start` of the flat vector on. */
export interface DecodedPart {
  start: number;
  values: Float32Array<ArrayBuffer>;
}

/** Bytes of float32 numbers, or fewer, that are decoded at once. */
const PART = 1 << 16;

/**
 * Decodes a payload as it comes. It holds at most one part of a dense tensor, or the indices of one sparse tensor and that
 * tensor itself.
 */
export class DeltaDecoder {
  #bytes = new Uint8Array(0);
  /** How many bytes of those that are wanted have come. */
  #held = 0;
  #work: Generator<number | DecodedPart, void, Uint8Array>;
  #wanted = 0;
  #done = false;

  constructor(
    readonly model: ModelSummary,
    readonly codec: Codec,
  ) {
    this.#work = this.#decode();
    this.#step(new Uint8Array(0), []);
  }

  /** The numbers that are complete with some more bytes, in their order. @throws FormatError */
  push(bytes: Uint8Array): DecodedPart[] {
    const parts: DecodedPart[] = [];
    for (let at = 0; at < bytes.length;) {
      if (this.#done) throw new FormatError("wrong-length", `${bytes.length - at} bytes follow the last tensor.`);
      const piece = bytes.subarray(at, at + this.#wanted - this.#held);
      at += piece.length;
      if (piece.length === this.#wanted) this.#step(piece, parts);
      else this.#hold(piece, parts);
    }
    return parts;
  }

  /** Joins a piece to what was held back of those before it, and runs on with all of it once that is as much as was wanted. */
  #hold(piece: Uint8Array, parts: DecodedPart[]): void {
    if (this.#held === 0) this.#bytes = new Uint8Array(this.#wanted);
    this.#bytes.set(piece, this.#held);
    this.#held += piece.length;
    if (this.#held < this.#wanted) return;
    this.#held = 0;
    this.#step(this.#bytes, parts);
  }

  /** @throws FormatError `truncated` unless everything has come */
  finish(): void {
    if (!this.#done) throw new FormatError("truncated", "The update ends before its last tensor.");
  }

  /** Runs on with the bytes that were wanted, until others are. */
  #step(piece: Uint8Array, parts: DecodedPart[]): void {
    for (let result = this.#work.next(piece); ; result = this.#work.next(piece)) {
      if (result.done) {
        this.#done = true;
        return;
      }
      if (typeof result.value === "number") {
        this.#wanted = result.value;
        return;
      }
      parts.push(result.value);
    }
  }

  /** Yields how many bytes it wants next, which it then is given, and parts. */
  *#decode(): Generator<number | DecodedPart, void, Uint8Array> {
    for (const tensor of this.model.tensors) {
      const { codec } = this;
      if (isDense(tensor, codec)) yield* this.#dense(tensor);
      else if (codec === "float16") {
        yield* this.#plain(tensor, 2, (view, at) => fromFloat16(view.getUint16(at, true)));
      } else if (isSparse(codec)) yield* this.#sparse(tensor, codec === "ternary");
      else yield* this.#quantized(tensor, codec === "int4");
    }
  }

  *#dense({ name, offset, size }: TensorSpec): Generator<number | DecodedPart, void, Uint8Array> {
    for (let from = 0; from < size; from += PART) {
      const values = new Float32Array(Math.min(PART, size - from));
      // Every machine that runs this is little-endian, as the file is.
      new Uint8Array(values.buffer).set(yield values.byteLength);
      // Zero times what is not finite is not a number, and stays none: one pass without a question at each number.
      let zero = 0;
      for (let i = 0; i < values.length; i++) zero += (values[i] as number) * 0;
      if (zero !== 0) throw new FormatError("not-finite", `${name} holds a number that is not finite.`);
      yield { start: offset + from, values };
    }
  }

  *#plain(
    { name, offset, size }: TensorSpec,
    width: number,
    read: (view: DataView, at: number) => number,
  ): Generator<number | DecodedPart, void, Uint8Array> {
    for (let from = 0; from < size; from += PART) {
      const count = Math.min(PART, size - from);
      const view = viewOf(yield count * width);
      const values = new Float32Array(count);
      for (let i = 0; i < count; i++) values[i] = finite(read(view, i * width), name);
      yield { start: offset + from, values };
    }
  }

  *#quantized(tensor: TensorSpec, half: boolean): Generator<number | DecodedPart, void, Uint8Array> {
    const { name, offset, size } = tensor;
    const channels = channelsOf(tensor);
    const view = viewOf(yield channels * 4);
    const scale = Float32Array.from({ length: channels }, (_, c) => scaleOf(view, c * 4, name));
    for (let from = 0; from < size; from += PART) {
      const count = Math.min(PART, size - from);
      const bytes = yield half ? Math.ceil(count / 2) : count;
      const values = new Float32Array(count);
      let channel = from % channels;
      for (let i = 0; i < count; i++) {
        const byte = (half ? bytes[i >> 1] : bytes[i]) as number;
        // The sign: up to the top of 32 bits, and down again.
        const q = half ? (i % 2 === 0 ? byte << 28 : byte << 24) >> 28 : (byte << 24) >> 24;
        values[i] = q * (scale[channel] as number);
        if (++channel === channels) channel = 0;
      }
      yield { start: offset + from, values };
    }
  }

  *#sparse({ name, offset, size }: TensorSpec, ternary: boolean): Generator<number | DecodedPart, void, Uint8Array> {
    const view = viewOf(yield 8);
    const count = view.getUint32(0, true);
    const scale = scaleOf(view, 4, name);
    if (count > size) throw new FormatError("bad-index", `${name} has ${size} numbers; ${count} are announced.`);
    const values = new Float32Array(size);
    let at = -1;
    for (let i = 0; i < count; i++) {
      let number = 0;
      for (let shift = 0; ; shift += 7) {
        const [byte = 0] = yield 1;
        number += (byte & 0x7f) * 2 ** shift;
        if (byte < 0x80) break;
        if (shift >= 7 * (VARINT - 1))
          throw new FormatError("bad-index", `${name}: a gap has more than ${VARINT} bytes.`);
      }
      at += 1 + (ternary ? Math.floor(number / 2) : number);
      if (at >= size) throw new FormatError("bad-index", `${name} has ${size} numbers; index ${at} is named.`);
      if (ternary) values[at] = number % 2 === 0 ? scale : -scale;
      else {
        const [byte = 0] = yield 1;
        values[at] = ((byte << 24) >> 24) * scale;
      }
    }
    yield { start: offset, values };
  }
}

/** What one sender makes of its delta: the bytes to send, what they decode to, and what is left to be sent later. */
export interface Compressed {
  payload: Uint8Array<ArrayBuffer>;
  decoded: Float32Array<ArrayBuffer>;
  residual: Float32Array<ArrayBuffer>;
}

/** Encodes a delta with what earlier ones have lost. @throws FormatError `not-finite` */
export function compress(
  model: ModelSummary,
  delta: Float32Array,
  residual: Float32Array | undefined,
  options: CodecOptions,
): Compressed {
  const wanted = residual ? delta.map((value, i) => value + (residual[i] as number)) : delta;
  const payload = encodeDelta(model, wanted, options);
  const decoded = decodeDelta(model, payload, options.codec);
  return { payload, decoded, residual: wanted.map((value, i) => value - (decoded[i] as number)) };
}

/** A whole delta from its payload. @throws FormatError */
export function decodeDelta(model: ModelSummary, payload: Uint8Array, codec: Codec): Float32Array<ArrayBuffer> {
  const delta = new Float32Array(model.parameters);
  const decoder = new DeltaDecoder(model, codec);
  for (const { start, values } of decoder.push(payload)) delta.set(values, start);
  decoder.finish();
  return delta;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function finite(value: number, name: string): number {
  if (!Number.isFinite(value)) throw new FormatError("not-finite", `${name} holds a number that is not finite.`);
  return value;
}

/** A scale with which every integer stays finite. */
function scaleOf(view: DataView, at: number, name: string): number {
  const scale = view.getFloat32(at, true);
  finite(Math.fround(scale * 128), name);
  return scale;
}

/** binary16 of a number, to the nearest, ties to even; what is too large becomes the largest finite one. */
export function toFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.min(Math.abs(value), 65_504);
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24); // Subnormal; 1024 is the smallest normal.
  const exponent = Math.floor(Math.log2(size));
  const mantissa = roundToEven((size / 2 ** exponent - 1) * 1024);
  return sign | (((exponent + 15) << 10) + mantissa);
}

const roundToEven = (x: number): number => {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
};

/** The number that 16 bits of binary16 mean. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Bytes that are written one after the other. */
class Writer {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  uint8(value: number): void {
    this.#bytes[this.#at++] = value;
  }

  uint16(value: number): void {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  uint32(value: number): void {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  float32(value: number): void {
    this.#view.setFloat32(this.#at, value, true);
    this.#at += 4;
  }

  varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.uint8((rest & 0x7f) | 0x80);
    this.uint8(rest);
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }
}
