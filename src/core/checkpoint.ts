import type { ModelSummary, TensorSpec } from "./model";
import {
  decodeHeader,
  decodeSafetensors,
  FormatError,
  joinPieces,
  matchTensors,
  tensorPieces,
  type DataType,
} from "./safetensors";

/**
 * A checkpoint: all weights of a model in one safetensors file, whose metadata names the codec. `float32` is exact. `int8`
 * keeps kernels as integers q with one scale for each output channel, `w = q * scale`, scale = max |w| / 127 (symmetric
 * per-channel quantization, Krishnamoorthi 2018, arXiv 1806.08342, section 3.1.1), and everything else as float32.
 * Decoding is exact, so that everybody who trains from an int8 checkpoint trains from the same numbers.
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
 * The weights of a checkpoint as one flat vector.
 * @throws FormatError when the file is not a whole checkpoint of this model, or its codec is unknown.
 */
export function decodeCheckpoint(
  file: Uint8Array<ArrayBuffer>,
  { tensors, parameters }: ModelSummary,
): Float32Array<ArrayBuffer> {
  const header = decodeHeader(file);
  const codec = header.metadata["codec"] ?? "float32";
  if (codec === "float32") return decodeSafetensors(file, tensors).data;
  if (codec !== "int8") {
    throw new FormatError("bad-header", `The checkpoint's codec is ${codec}; float32 and int8 are known.`);
  }
  const expected: { name: string; shape: readonly number[]; dtype: DataType }[] = [
    ...tensors.map((tensor) =>
      isQuantized(tensor)
        ? { name: scaleOf(tensor), shape: [channelsOf(tensor)], dtype: "F32" as const }
        : { name: tensor.name, shape: tensor.shape, dtype: "F32" as const },
    ),
    ...tensors.filter(isQuantized).map(({ name, shape }) => ({ name, shape, dtype: "I8" as const })),
  ];
  matchTensors(header, expected);
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
    const scale = new Float32Array(bytes.get(scaleOf(tensor)) as ArrayBuffer);
    new Int8Array(stored).forEach((q, i) => {
      out[i] = q * (scale[i % scale.length] ?? NaN);
    });
  }
  return weights;
}
