import * as v from "valibot";

/**
 * The safetensors format (huggingface.co/docs/safetensors): 8 bytes with the header's length as a little-endian
 * integer, a JSON header, then the raw little-endian data. float32, int8 and uint8 tensors are used here.
 */

/** A file that is not what it says it is. `code` is stable; the message says what was wrong. */
export class FormatError extends Error {
  override readonly name = "FormatError";
  constructor(
    readonly code:
      ("truncated" | "header-too-large" | "bad-header" | "wrong-shape" | "wrong-length") | ("not-finite" | "bad-index"),
    message: string,
  ) {
    super(message);
  }
}

/** Bytes of one number. */
const WIDTH = { F32: 4, I8: 1, U8: 1 } as const;
export type DataType = keyof typeof WIDTH;

/** One tensor of a file: where its data lies, in bytes after the header. */
export interface TensorEntry {
  name: string;
  dtype: DataType;
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
  dtype: v.picklist(["F32", "I8", "U8"]),
  shape: v.array(size),
  data_offsets: v.tuple([size, size]),
});
const headerSchema = v.objectWithRest({ __metadata__: v.optional(v.record(v.string(), v.string()), {}) }, entrySchema);

interface NamedTensor {
  name: string;
  shape: readonly number[];
  data: Float32Array | Int8Array | Uint8Array;
}

/**
 * The pieces of a safetensors file of tensors, in their order: the header, then the data, which is not copied. Those with wider
 * numbers go first, so that all lie aligned.
 */
export function tensorPieces(tensors: readonly NamedTensor[], metadata: Record<string, string>): Uint8Array[] {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    const dtype: DataType = data instanceof Int8Array ? "I8" : data instanceof Uint8Array ? "U8" : "F32";
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Padded with spaces to a multiple of eight, as the format recommends, so that the data can be viewed in place.
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(start).fill(0x20, 8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(start - 8), true);
  head.set(json, 8);
  return [head, ...tensors.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
}

/** The pieces as one file. */
export function joinPieces(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    file.set(piece, at);
    at += piece.length;
  }
  return file;
}

/** Writes float32 tensors that lie one after the other in `data` as one safetensors file. */
export function encodeSafetensors(
  tensors: readonly { name: string; shape: readonly number[]; size: number }[],
  data: Float32Array,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const numbers = tensors.reduce((sum, { size }) => sum + size, 0);
  if (numbers !== data.length) {
    throw new FormatError("wrong-length", `The tensors need ${numbers} numbers, but ${data.length} were given.`);
  }
  let offset = 0;
  return joinPieces(
    tensorPieces(
      tensors.map(({ name, shape, size }) => ({ name, shape, data: data.subarray(offset, (offset += size)) })),
      metadata,
    ),
  );
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
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => ({ name, dtype, shape, start, end }),
    )
    .sort((a, b) => a.start - b.start);
  let dataBytes = 0;
  for (const { name, dtype, shape, start, end } of tensors) {
    const expected = shape.reduce<number>((a, b) => a * b, WIDTH[dtype]);
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
export function matchTensors(
  header: Header,
  expected: readonly { name: string; shape: readonly number[]; dtype?: DataType }[],
): void {
  if (header.tensors.length !== expected.length) {
    throw new FormatError(
      "wrong-shape",
      `The file holds ${header.tensors.length} tensors; the model has ${expected.length}.`,
    );
  }
  expected.forEach((tensor, i) => {
    const found = header.tensors[i];
    const dtype = tensor.dtype ?? "F32";
    if (found?.name !== tensor.name || found.dtype !== dtype || found.shape.join() !== tensor.shape.join()) {
      throw new FormatError(
        "wrong-shape",
        `Tensor ${i} is ${found?.name} ${found?.dtype} [${found?.shape.join(", ")}]; ` +
          `${tensor.name} ${dtype} [${tensor.shape.join(", ")}] was expected.`,
      );
    }
  });
}

/** How many of a file's faults are told at once. */
const MOST_TOLD = 5;

/**
 * Checks that a header lists exactly the tensors of a model, in whatever order: the official library lays them out by data type and name.
 * @throws FormatError `wrong-shape`, naming the first {@link MOST_TOLD} tensors that are missing, unknown, or otherwise than the model's
 */
export function matchNames(
  header: Header,
  expected: readonly { name: string; shape: readonly number[]; dtype?: DataType }[],
): void {
  const found = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  const names = new Set(expected.map(({ name }) => name));
  const faults: string[] = [];
  for (const { name, shape, dtype = "F32" } of expected) {
    const tensor = found.get(name);
    const wanted = `${dtype} [${shape.join(", ")}]`;
    if (!tensor) faults.push(`${name} ${wanted} is missing`);
    else if (tensor.dtype !== dtype || tensor.shape.join() !== shape.join()) {
      faults.push(`${name} is ${tensor.dtype} [${tensor.shape.join(", ")}] and not ${wanted}`);
    }
  }
  for (const { name } of header.tensors) if (!names.has(name)) faults.push(`the model has no ${name.slice(0, 100)}`);
  if (faults.length === 0) return;
  const others = faults.length > MOST_TOLD ? `, and ${faults.length - MOST_TOLD} more` : "";
  throw new FormatError(
    "wrong-shape",
    `The file's tensors are not the model's: ${faults.slice(0, MOST_TOLD).join("; ")}${others}.`,
  );
}

/**
 * Reads a whole file: its metadata, and its numbers as one flat vector in the order of `expected`, whatever the file's is (a view where
 * the two are the same and the bytes are aligned).
 * @throws FormatError as {@link decodeHeader} and {@link matchNames} do, and `wrong-length` for missing or extra bytes.
 */
export function decodeSafetensors(
  file: Uint8Array<ArrayBuffer>,
  expected: readonly { name: string; shape: readonly number[] }[],
): { metadata: Record<string, string>; data: Float32Array<ArrayBuffer> } {
  const header = decodeHeader(file);
  matchNames(header, expected);
  if (file.length !== header.headerBytes + header.dataBytes) {
    throw new FormatError(
      "wrong-length",
      `The file has ${file.length - header.headerBytes} bytes of data; its header announces ${header.dataBytes}.`,
    );
  }
  if (expected.some(({ name }, i) => header.tensors[i]?.name !== name)) {
    return { metadata: header.metadata, data: reordered(file, header, expected) };
  }
  const start = file.byteOffset + header.headerBytes;
  const data =
    start % 4 === 0
      ? new Float32Array(file.buffer, start, header.dataBytes / 4)
      : new Float32Array(file.slice(header.headerBytes).buffer);
  return { metadata: header.metadata, data };
}

/** The data of tensors that a header has in another order. */
function reordered(file: Uint8Array, header: Header, order: readonly { name: string }[]): Float32Array<ArrayBuffer> {
  const found = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  const bytes = new Uint8Array(header.dataBytes);
  let at = 0;
  for (const { name } of order) {
    const { start = 0, end = 0 } = found.get(name) ?? {};
    bytes.set(file.subarray(header.headerBytes + start, header.headerBytes + end), at);
    at += end - start;
  }
  return new Float32Array(bytes.buffer);
}
