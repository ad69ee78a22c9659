import type { TensorSpec } from "../../model/model";
import { FormatError } from "../../model/safetensors";

/**
 * What a kernel of a delta becomes before it is sent, beside the entropy coding that follows. Each codec is a file here that says all
 * of it, and a line in registry.ts.
 */
export interface Codec {
  /** Whether only a share of a kernel's numbers is sent, which the round's `topShare` says. */
  readonly isSparse: boolean;
  /** Whether a checkpoint may be published as its difference to the base in this codec. */
  readonly isForDifferences: boolean;
  /** Its largest integer, of one whose integers may be masked and summed (secagg/ring.ts). */
  readonly ringLevels?: number;
  /** Bytes of the longest that a tensor can become. @param share of its numbers that is sent */
  largest(tensor: TensorSpec, share: number): number;
  /** Writes a tensor's finite numbers. */
  encode(out: Writer, values: Float32Array, tensor: TensorSpec, options: EncodeOptions): void;
  /** Yields how many bytes it wants next, which it then is given, and the numbers that they are. @throws FormatError */
  decode(tensor: TensorSpec): Decoding;
}

/** Keeps what a codec says of itself as literal types, by which the registry knows who can do what. */
export const defineCodec = <const C extends Codec>(codec: C): C => codec;

export interface EncodeOptions {
  /** The share of a kernel's numbers that is kept, above 0 and at most 1. */
  share: number;
  /** Decides the rounding. */
  seed: number;
}

/** Some numbers of a delta, from index `start` of the flat vector on. */
export interface DecodedPart {
  start: number;
  values: Float32Array<ArrayBuffer>;
}
export type Decoding = Generator<number | DecodedPart, void, Uint8Array>;

/** Numbers of a dense tensor, or fewer, that are decoded at once. */
export const PART = 1 << 16;

/** Output channels: the last dimension. */
export const channelsOf = ({ shape }: TensorSpec): number => shape.at(-1) ?? 1;

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @throws FormatError `not-finite` */
export function finite(value: number, tensor: string): number {
  if (!Number.isFinite(value)) throw new FormatError("not-finite", `${tensor} holds a number that is not finite.`);
  return value;
}

/** Refuses numbers that are not all finite. @throws FormatError `not-finite` */
export function allFinite(values: Float32Array, tensor: string): void {
  // Zero times what is not finite is not a number, and stays none: one pass without a question at each number.
  let zero = 0;
  for (let i = 0; i < values.length; i++) zero += (values[i] ?? 0) * 0;
  if (zero !== 0) throw new FormatError("not-finite", `${tensor} holds a number that is not finite.`);
}

/** A float32 scale with which every integer of eight bits stays finite. @throws FormatError `not-finite` */
export function scaleAt(view: DataView, at: number, tensor: string): number {
  const scale = view.getFloat32(at, true);
  finite(Math.fround(scale * 128), tensor);
  return scale;
}

/**
 * Stochastic rounding: the integer below or above, so that the mean over all draws is x.
 * @param most the codec's largest integer
 * @param draw uniform in 0..2^32 - 1
 */
export function stochasticRound(x: number, most: number, draw: number): number {
  const below = Math.floor(x);
  // A scale is rounded to float32, which may leave x a hair above the largest integer: of four bits, the next one is its opposite.
  return Math.max(-most, Math.min(most, below + (draw < (x - below) * 2 ** 32 ? 1 : 0)));
}

/** Bytes that are written one after the other, little-endian. */
export class Writer {
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

  /** A whole number in groups of seven bits, the lowest first (LEB128). */
  varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.uint8((rest & 0x7f) | 0x80);
    this.uint8(rest);
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }
}
