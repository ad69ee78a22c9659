import * as v from "valibot";

/**
 * The safetensors format (huggingface.co/docs/safetensors): 8 bytes with the header's length as a little-endian
 * integer, a JSON header, then the raw little-endian data. Only float32 tensors are used here.
 */

/** A file that is not what it says it is. `code` is stable; the message says what was wrong. */
export class FormatError extends Error {
  override readonly name = "FormatError";
  constructor(
    readonly code: "truncated" | "header-too-large" | "bad-header" | "wrong-shape" | "wrong-length" | "not-finite",
    message: string,
  ) {
    super(message);
  }
}

/** One tensor of a file: where its float32 data lies, in bytes after the header. */
export interface TensorEntry {
  name: string;
  shape: readonly number[];
  start: number;
  end: number;
}

export interface Header {
  metadata: Record<string, string>;
  /** In the order of their data. */
  tensors: TensorEntry[];
  /** Bytes before the data: 8 and the JSON. */
  headerBytes: number;
  /** Bytes of data that the header announces. */
  dataBytes: number;
}

/** The longest JSON header that is read, in bytes. */
export const MAX_HEADER_BYTES = 65_536;

const size = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 40));
const entrySchema = v.strictObject({
  dtype: v.literal("F32"),
  shape: v.array(size),
  data_offsets: v.tuple([size, size]),
});
const headerSchema = v.objectWithRest({ __metadata__: v.optional(v.record(v.string(), v.string()), {}) }, entrySchema);

/** Writes tensors that lie one after the other in `data` as one safetensors file. */
export function encodeSafetensors(
  tensors: readonly { name: string; shape: readonly number[]; size: number }[],
  data: Float32Array,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const tensor of tensors) {
    header[tensor.name] = {
      dtype: "F32",
      shape: tensor.shape,
      data_offsets: [offset, offset + tensor.size * 4],
    };
    offset += tensor.size * 4;
  }
  if (offset !== data.length * 4) {
    throw new FormatError("wrong-length", `The tensors need ${offset / 4} numbers, but ${data.length} were given.`);
  }
  let json = new TextEncoder().encode(JSON.stringify(header));
  // Padded with spaces to a multiple of eight, as the format recommends, so that the data can be viewed in place.
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  json = padded;
  const file = new Uint8Array(8 + json.length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 8 + json.length);
  return file;
}

/**
 * Length of the whole header (8 and the JSON) as announced by a file's first 8 bytes.
 * @throws FormatError `truncated` with fewer than 8 bytes, `header-too-large` over {@link MAX_HEADER_BYTES}.
 */
export function headerLength(bytes: Uint8Array): number {
  if (bytes.length < 8) throw new FormatError("truncated", "The file ends before its header's length.");
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new FormatError(
      "header-too-large",
      `The header says it has ${length} bytes; ${MAX_HEADER_BYTES} are allowed.`,
    );
  }
  return 8 + Number(length);
}

/**
 * Reads the header from the start of a file.
 * @throws FormatError when it is cut off, is not JSON of the format, or its tensors leave gaps, overlap or disagree
 * with their shapes.
 */
export function decodeHeader(bytes: Uint8Array): Header {
  const headerBytes = headerLength(bytes);
  if (bytes.length < headerBytes) throw new FormatError("truncated", "The file ends inside its header.");
  let json: unknown;
  try {
    json = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes.subarray(8, headerBytes)),
    );
  } catch {
    throw new FormatError("bad-header", "The header is not JSON.");
  }
  const parsed = v.safeParse(headerSchema, json);
  if (!parsed.success) {
    throw new FormatError("bad-header", `The header is not safetensors: ${v.summarize(parsed.issues)}`);
  }
  const { __metadata__: metadata, ...entries } = parsed.output;
  const tensors = Object.entries(entries as Record<string, v.InferOutput<typeof entrySchema>>)
    .map(
      ([
        name,
        {
          shape,
          data_offsets: [start, end],
        },
      ]) => ({ name, shape, start, end }),
    )
    .sort((a, b) => a.start - b.start);
  let dataBytes = 0;
  for (const { name, shape, start, end } of tensors) {
    const expected = shape.reduce((a, b) => a * b, 4);
    if (start !== dataBytes || end - start !== expected) {
      throw new FormatError(
        "bad-header",
        `Tensor ${name} lies at ${start}..${end}; ${dataBytes}..${dataBytes + expected} was expected.`,
      );
    }
    dataBytes = end;
  }
  return { metadata, tensors, headerBytes, dataBytes };
}

/**
 * Checks that a header lists exactly the tensors of a model, in its order.
 * @throws FormatError `wrong-shape`, naming the first tensor that differs.
 */
export function matchTensors(header: Header, expected: readonly { name: string; shape: readonly number[] }[]): void {
  if (header.tensors.length !== expected.length) {
    throw new FormatError(
      "wrong-shape",
      `The file holds ${header.tensors.length} tensors; the model has ${expected.length}.`,
    );
  }
  expected.forEach((tensor, i) => {
    const found = header.tensors[i];
    if (found?.name !== tensor.name || found.shape.join() !== tensor.shape.join()) {
      throw new FormatError(
        "wrong-shape",
        `Tensor ${i} is ${found?.name} [${found?.shape.join(", ")}]; ${tensor.name} [${tensor.shape.join(", ")}] was expected.`,
      );
    }
  });
}

/**
 * Reads a whole file: its metadata, and its numbers as one flat vector (a view when the bytes are aligned).
 * @throws FormatError as {@link decodeHeader} and {@link matchTensors} do, and `wrong-length` for missing or extra bytes.
 */
export function decodeSafetensors(
  file: Uint8Array<ArrayBuffer>,
  expected: readonly { name: string; shape: readonly number[] }[],
): { metadata: Record<string, string>; data: Float32Array<ArrayBuffer> } {
  const header = decodeHeader(file);
  matchTensors(header, expected);
  if (file.length !== header.headerBytes + header.dataBytes) {
    throw new FormatError(
      "wrong-length",
      `The file has ${file.length - header.headerBytes} bytes of data; its header announces ${header.dataBytes}.`,
    );
  }
  const start = file.byteOffset + header.headerBytes;
  const data =
    start % 4 === 0
      ? new Float32Array(file.buffer, start, header.dataBytes / 4)
      : new Float32Array(file.slice(header.headerBytes).buffer);
  return { metadata: header.metadata, data };
}
