import type { ModelSummary, TensorSpec } from "./model";
import {
  decodeHeader,
  decodeSafetensors,
  FormatError,
  headerLength,
  joinPieces,
  matchNames,
  tensorPieces,
  type DataType,
  type Header,
} from "./safetensors";

/**
 * A checkpoint: all weights of a model in one safetensors file, whose metadata names the codec. `float32` is exact. `int8`
 * keeps kernels as integers q with one scale for each output channel, `w = q * scale`, scale = max |w| / 127 (symmetric
 * per-channel quantization, Krishnamoorthi 2018, arXiv 1806.08342, section 3.1.1), and everything else as float32.
 * Decoding is exact, so that everybody who trains from an int8 checkpoint trains from the same numbers. Tensors are found by their names,
 * so that what other tools have written is read too, in whatever order they lay them out.
 */
export type CheckpointCodec = "float32" | "int8";

const isQuantized = ({ shape }: TensorSpec): boolean => shape.length > 1;
const channelsOf = ({ shape }: TensorSpec): number => shape.at(-1) ?? 1;
const scaleOf = ({ name }: TensorSpec): string => `${name}/scale`;

/** A checkpoint's file. @throws FormatError as {@link checkpointPieces} */
export function encodeCheckpoint(
  model: ModelSummary,
  weights: Float32Array,
  metadata: Record<string, string>,
  codec: CheckpointCodec,
): Uint8Array<ArrayBuffer> {
  return joinPieces(checkpointPieces(model, weights, metadata, codec));
}

/**
 * The pieces of a checkpoint's file, one after the other; those in float32 are views of the weights.
 * @throws FormatError `not-finite` when a weight is not, `wrong-length` when there are more or fewer than the model has.
 */
export function checkpointPieces(
  { tensors, parameters }: ModelSummary,
  weights: Float32Array,
  metadata: Record<string, string>,
  codec: CheckpointCodec,
): Uint8Array[] {
  if (weights.length !== parameters) {
    throw new FormatError("wrong-length", `The model has ${parameters} weights, not ${weights.length}.`);
  }
  const wide: { name: string; shape: readonly number[]; data: Float32Array }[] = [];
  const narrow: { name: string; shape: readonly number[]; data: Int8Array }[] = [];
  for (const tensor of tensors) {
    const values = weights.subarray(tensor.offset, tensor.offset + tensor.size);
    if (!values.every(Number.isFinite)) {
      throw new FormatError("not-finite", `${tensor.name} holds a number that is not finite.`);
    }
    if (codec === "float32" || !isQuantized(tensor)) {
      wide.push({ name: tensor.name, shape: tensor.shape, data: values });
      continue;
    }
    const channels = channelsOf(tensor);
    const scale = new Float32Array(channels);
    values.forEach((value, i) => {
      scale[i % channels] = Math.max(scale[i % channels] ?? 0, Math.abs(value) / 127);
    });
    const data = Int8Array.from(values, (value, i) => Math.round(value / (scale[i % channels] || 1)));
    wide.push({ name: scaleOf(tensor), shape: [channels], data: scale });
    narrow.push({ name: tensor.name, shape: tensor.shape, data });
  }
  return tensorPieces([...wide, ...narrow], { ...metadata, codec });
}

/**
 * Checks that a header is that of a checkpoint of these tensors.
 * @returns the checkpoint's codec
 * @throws FormatError when it is not, or the codec is unknown
 */
function matchCheckpoint(header: Header, tensors: readonly TensorSpec[]): CheckpointCodec {
  const codec = header.metadata["codec"] ?? "float32";
  if (codec !== "float32" && codec !== "int8") {
    throw new FormatError("bad-header", `The checkpoint's codec is ${codec}; float32 and int8 are known.`);
  }
  if (codec === "float32") {
    matchNames(header, tensors);
    return codec;
  }
  const expected: { name: string; shape: readonly number[]; dtype: DataType }[] = [
    ...tensors.map((tensor) =>
      isQuantized(tensor)
        ? { name: scaleOf(tensor), shape: [channelsOf(tensor)], dtype: "F32" as const }
        : { name: tensor.name, shape: tensor.shape, dtype: "F32" as const },
    ),
    ...tensors.filter(isQuantized).map(({ name, shape }) => ({ name, shape, dtype: "I8" as const })),
  ];
  matchNames(header, expected);
  return codec;
}

/** `w = q * scale`, by output channel. */
function dequantize(quantized: Int8Array, scale: Float32Array, out: Float32Array): void {
  quantized.forEach((q, i) => {
    out[i] = q * (scale[i % scale.length] ?? NaN);
  });
}

/** Gives the next bytes of a file, exactly so many, aligned to four. @throws FormatError `truncated` where there are fewer */
export type ReadBytes = (count: number) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Reads a checkpoint tensor by tensor, so that it is never in memory as a whole: that of float32 holds one tensor at a time, that of
 * int8 the small ones, which come first in its file, and one large one. A file of another order than ours takes more.
 */
export class CheckpointReader {
  /** How many of the file's tensors were read. */
  #count = 0;
  /** What was read on the way to another. */
  readonly #waiting = new Map<string, Uint8Array<ArrayBuffer>>();

  private constructor(
    private readonly header: Header,
    private readonly codec: CheckpointCodec,
    private readonly model: ModelSummary,
    private readonly read: ReadBytes,
  ) {}

  /** Reads the header. @throws FormatError when it is none of a checkpoint of this model */
  static async open(read: ReadBytes, model: ModelSummary): Promise<CheckpointReader> {
    const length = await read(8);
    const header = decodeHeader(joinPieces([length, await read(headerLength(length) - 8)]));
    return new CheckpointReader(header, matchCheckpoint(header, model.tensors), model, read);
  }

  /**
   * The numbers of a tensor. Each is given once, and cheapest in the order in which the model has them.
   * @throws FormatError when the file ends before it; RangeError where it was given already, or the model has none of this name
   */
  async tensor(name: string): Promise<Float32Array<ArrayBuffer>> {
    const tensor = this.model.tensors.find((one) => one.name === name);
    if (!tensor) throw new RangeError(`The model has no tensor ${name}.`);
    if (this.codec === "float32" || !isQuantized(tensor)) return floatsOf(await this.#bytesOf(name));
    const scale = floatsOf(await this.#bytesOf(scaleOf(tensor)));
    const { buffer, byteOffset, length } = await this.#bytesOf(name);
    const out = new Float32Array(tensor.size);
    dequantize(new Int8Array(buffer, byteOffset, length), scale, out);
    return out;
  }

  async #bytesOf(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    if (waiting) return waiting;
    for (;;) {
      const entry = this.header.tensors[this.#count++];
      if (!entry) throw new RangeError(`${name} was given already.`);
      const bytes = await this.read(entry.end - entry.start);
      if (entry.name === name) return bytes;
      this.#waiting.set(entry.name, bytes);
    }
  }
}

const floatsOf = ({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> =>
  new Float32Array(buffer, byteOffset, length / 4);

/**
 * The weights of a checkpoint as one flat vector.
 * @throws FormatError when the file is not a whole checkpoint of this model, or its codec is unknown.
 */
export function decodeCheckpoint(
  file: Uint8Array<ArrayBuffer>,
  { tensors, parameters }: ModelSummary,
): Float32Array<ArrayBuffer> {
  const header = decodeHeader(file);
  const codec = matchCheckpoint(header, tensors);
  if (codec === "float32") return decodeSafetensors(file, tensors).data;
  if (file.length !== header.headerBytes + header.dataBytes) {
    throw new FormatError("wrong-length", `The checkpoint has ${file.length} bytes; its header announces others.`);
  }
  const bytes = new Map(
    header.tensors.map(({ name, start, end }) => [
      name,
      file.slice(header.headerBytes + start, header.headerBytes + end).buffer,
    ]),
  );
  const weights = new Float32Array(parameters);
  for (const tensor of tensors) {
    const out = weights.subarray(tensor.offset, tensor.offset + tensor.size);
    const stored = bytes.get(tensor.name) as ArrayBuffer;
    if (!isQuantized(tensor)) {
      out.set(new Float32Array(stored));
      continue;
    }
    dequantize(new Int8Array(stored), new Float32Array(bytes.get(scaleOf(tensor)) as ArrayBuffer), out);
  }
  return weights;
}
