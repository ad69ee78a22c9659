import type { ModelSummary, TensorSpec } from "../../model/model";
import { FormatError } from "../../model/safetensors";
import { allFinite, Writer, type Codec, type DecodedPart, type Decoding, type EncodeOptions } from "./codec";
import { float32 } from "./float32";
import { CODECS, type CodecName } from "./registry";

/**
 * A delta as bytes. A payload holds the model's tensors in their order, little-endian, so that it can be decoded as it streams in.
 * Tensors of one dimension (biases, batch normalization) are few and stay float32; the kernels are for the codec.
 *
 * What a codec loses, its sender keeps and adds to the next update (error feedback, Seide et al. 2014; Karimireddy et al. 2019,
 * arXiv 1901.09847, algorithm 2): see {@link compress}.
 */
export interface CodecOptions extends EncodeOptions {
  codec: CodecName;
}

const codecOf = ({ shape }: TensorSpec, name: CodecName): Codec => (shape.length < 2 ? float32 : CODECS[name]);

/** The bytes that a delta becomes. @throws FormatError `not-finite` */
export function encodeDelta(model: ModelSummary, delta: Float32Array, options: CodecOptions): Uint8Array<ArrayBuffer> {
  const out = new Writer(largestPayload(model, options));
  for (const tensor of model.tensors) {
    const values = delta.subarray(tensor.offset, tensor.offset + tensor.size);
    allFinite(values, tensor.name);
    codecOf(tensor, options.codec).encode(out, values, tensor, options);
  }
  return out.done();
}

/** Bytes of the longest payload that a model's delta can become. */
export const largestPayload = (
  { tensors }: ModelSummary,
  { codec, share }: Pick<CodecOptions, "codec" | "share">,
): number => tensors.reduce((sum, tensor) => sum + codecOf(tensor, codec).largest(tensor, share), 0);

/**
 * Decodes a payload as it comes. It holds at most one part of a dense tensor, or the indices of one sparse tensor and that
 * tensor itself.
 */
export class DeltaDecoder {
  #bytes = new Uint8Array(0);
  /** How many bytes of those that are wanted have come. */
  #held = 0;
  #work: Decoding;
  #wanted = 0;
  #done = false;

  constructor(
    readonly model: ModelSummary,
    readonly codec: CodecName,
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

  *#decode(): Decoding {
    for (const tensor of this.model.tensors) yield* codecOf(tensor, this.codec).decode(tensor);
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
  const wanted = residual ? delta.map((value, i) => value + (residual[i] ?? 0)) : delta;
  const payload = encodeDelta(model, wanted, options);
  const decoded = decodeDelta(model, payload, options.codec);
  return { payload, decoded, residual: wanted.map((value, i) => value - (decoded[i] ?? 0)) };
}

/** A whole delta from its payload. @throws FormatError */
export function decodeDelta(model: ModelSummary, payload: Uint8Array, codec: CodecName): Float32Array<ArrayBuffer> {
  const delta = new Float32Array(model.parameters);
  const decoder = new DeltaDecoder(model, codec);
  for (const { start, values } of decoder.push(payload)) delta.set(values, start);
  decoder.finish();
  return delta;
}
