import * as v from "valibot";
import { decodeHeader, encodeSafetensors, FormatError, headerLength, matchTensors } from "./safetensors";
import type { ModelSummary } from "./model";

/**
 * A client's update: a safetensors file of `delta_k` whose metadata says what it is. Metadata values are strings, as
 * the format wants; {@link readUpdateMetadata} checks and types them.
 */

const text = v.pipe(v.string(), v.maxLength(100));
const numeric = v.pipe(text, v.transform(Number), v.number(), v.finite());
const count = v.pipe(numeric, v.integer(), v.minValue(0), v.maxValue(1e9));

const metadataSchema = v.object({
  codec: v.literal("float32"),
  task: text,
  round: count,
  /** SHA-256 of the checkpoint that the delta starts from. */
  base: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  /** n_k: how many faces it was trained on. */
  examples: v.pipe(numeric, v.integer(), v.minValue(1), v.maxValue(100_000)),
  /** Mean over the last epoch's batches, with dropout on. */
  trainLoss: numeric,
  trainAccuracy: numeric,
  /** The base checkpoint on faces that were held out; 0 examples when there are none. */
  evalExamples: count,
  evalLoss: numeric,
  evalAccuracy: numeric,
  /** Bytes that the client downloaded for this round: 0 when it had the checkpoint. */
  bytesDown: count,
  /** Milliseconds from the first batch to the last. */
  trainingMs: v.pipe(numeric, v.minValue(0)),
  backend: text,
  /** F_k(w_t): mean loss of the base checkpoint on the training faces, where the plan asks for it. */
  initialLoss: v.optional(v.pipe(numeric, v.minValue(0))),
});

export type UpdateMetadata = v.InferOutput<typeof metadataSchema>;

/** What is known of an update when its last byte has come. */
export interface UpdateSummary {
  metadata: UpdateMetadata;
  /** L2 norm of the whole delta. */
  norm: number;
  /** Where its numbers begin in the file, in bytes. */
  dataStart: number;
}

/** Writes an update of `model`. */
export function encodeUpdate(
  model: ModelSummary,
  delta: Float32Array,
  metadata: UpdateMetadata,
): Uint8Array<ArrayBuffer> {
  const known = Object.entries(metadata).filter(([, value]) => value !== undefined);
  const strings = Object.fromEntries(known.map(([key, value]) => [key, String(value)]));
  return encodeSafetensors(model.tensors, delta, strings);
}

/** Types an update's metadata. @throws FormatError `bad-header`, naming the field. */
export function readUpdateMetadata(metadata: Record<string, string>): UpdateMetadata {
  const parsed = v.safeParse(metadataSchema, metadata);
  if (!parsed.success) {
    throw new FormatError("bad-header", `The update's metadata is wrong: ${v.summarize(parsed.issues)}`);
  }
  return parsed.output;
}

/**
 * Checks an update as its bytes arrive, holding no more than its header: push every chunk, then call {@link finish}.
 * Each method throws FormatError at the first byte that proves the update wrong.
 */
export class UpdateReader {
  #head = new Uint8Array(0);
  #metadata: UpdateMetadata | undefined;
  #dataBytes = 0;
  #received = 0;
  /** Up to three bytes of a number that the next chunk completes. */
  #rest = new Uint8Array(0);
  #squares = 0;
  #dataStart = 0;

  constructor(readonly model: ModelSummary) {}

  /** Known as soon as the header has arrived. */
  get metadata(): UpdateMetadata | undefined {
    return this.#metadata;
  }

  push(chunk: Uint8Array): void {
    if (this.#metadata !== undefined) {
      this.#check(chunk);
      return;
    }
    const joined = concat(this.#head, chunk);
    if (joined.length < 8 || joined.length < headerLength(joined)) {
      this.#head = joined;
      return;
    }
    const header = decodeHeader(joined);
    matchTensors(header, this.model.tensors);
    this.#metadata = readUpdateMetadata(header.metadata);
    this.#dataBytes = header.dataBytes;
    this.#dataStart = header.headerBytes;
    this.#head = new Uint8Array(0);
    this.#check(joined.subarray(header.headerBytes));
  }

  /** @throws FormatError `truncated` when bytes are missing. */
  finish(): UpdateSummary {
    if (this.#metadata === undefined) throw new FormatError("truncated", "The update ends inside its header.");
    if (this.#received < this.#dataBytes) {
      throw new FormatError(
        "truncated",
        `The update has ${this.#received} bytes of data; ${this.#dataBytes} were announced.`,
      );
    }
    return { metadata: this.#metadata, norm: Math.sqrt(this.#squares), dataStart: this.#dataStart };
  }

  #check(chunk: Uint8Array): void {
    this.#received += chunk.length;
    if (this.#received > this.#dataBytes) {
      throw new FormatError("wrong-length", `The update goes on after the ${this.#dataBytes} bytes that it announced.`);
    }
    const bytes = this.#rest.length > 0 || chunk.byteOffset % 4 !== 0 ? concat(this.#rest, chunk) : chunk;
    const whole = bytes.length - (bytes.length % 4);
    const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, whole / 4);
    for (let i = 0; i < numbers.length; i++) {
      const value = numbers[i] as number;
      this.#squares += value * value;
    }
    // An infinity or a NaN anywhere stays in the sum; the squares of finite float32 numbers cannot overflow a float64.
    if (!Number.isFinite(this.#squares)) {
      throw new FormatError("not-finite", "The update holds a number that is not finite (NaN or infinity).");
    }
    this.#rest = bytes.slice(whole);
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
