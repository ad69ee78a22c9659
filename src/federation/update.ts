import { concatUint8Arrays } from "uint8array-extras";
import * as v from "valibot";
import type { DecodedPart } from "./codecs/codec";
import { DeltaDecoder } from "./codecs/delta";
import { CODEC_NAMES } from "./codecs/registry";
import {
  decodeHeader,
  encodeSafetensors,
  FormatError,
  headerLength,
  joinPieces,
  matchTensors,
  tensorPieces,
} from "../model/safetensors";
import type { ModelSummary } from "../model/model";
import { squareWithin } from "./server-optimizers/stepped-spans";
import type { Span } from "./strategies/strategy";

/**
 * A client's update: a safetensors file of `delta_k` whose metadata says what it is. In float32 it holds the model's tensors by
 * their names; in another codec one tensor of bytes, `payload`, with all of them (src/federation/codecs). Metadata values are strings,
 * as the format wants; {@link readUpdateMetadata} checks and types them.
 */

/** No mean loss is higher. */
export const MAX_LOSS = 1000;
/** What a client can have trained on: everything that a client says is one of few things, or a number with bounds. */
export const UPDATE_BACKENDS = ["webgpu", "wasm", "webgl", "cpu", "headless"] as const;

const text = v.pipe(v.string(), v.maxLength(100));
const numeric = v.pipe(text, v.transform(Number), v.number(), v.finite());
const count = v.pipe(numeric, v.integer(), v.minValue(0), v.maxValue(1e9));
/** A mean cross-entropy: tfjs cuts probabilities off at 1e-7, so that it stays far below this. */
const loss = v.pipe(numeric, v.minValue(0), v.maxValue(MAX_LOSS));
const share = v.pipe(numeric, v.minValue(0), v.maxValue(1));
const faces = (least: number) => v.pipe(numeric, v.integer(), v.minValue(least), v.maxValue(100_000));

const metadataSchema = v.object({
  codec: v.picklist(CODEC_NAMES),
  task: text,
  round: count,
  /** SHA-256 of the checkpoint that the delta starts from. */
  base: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  /** n_k: how many faces it was trained on. */
  examples: faces(1),
  /** Mean over the last epoch's batches, with dropout on. */
  trainLoss: loss,
  trainAccuracy: share,
  /** The base checkpoint on faces that were held out; 0 examples when there are none. */
  evalExamples: faces(0),
  evalLoss: loss,
  evalAccuracy: share,
  /** Bytes that the client downloaded for this round: 0 when it had the checkpoint. */
  bytesDown: count,
  /** Milliseconds from the first batch to the last. */
  trainingMs: v.pipe(numeric, v.minValue(0), v.maxValue(7 * 86_400_000)),
  backend: v.picklist(UPDATE_BACKENDS),
  /** F_k(w_t): mean loss of the base checkpoint on the training faces, where the plan asks for it. */
  initialLoss: v.optional(loss),
});

export type UpdateMetadata = v.InferOutput<typeof metadataSchema>;

/** What is known of an update when its last byte has come. */
export interface UpdateSummary {
  /** Null of a masked one, which tells nothing. */
  metadata: UpdateMetadata | null;
  /** L2 norm of the whole delta; 0 of a masked one. */
  norm: number;
  /** The same of what is stepped of it, where the reader was told what that is. */
  stepNorm?: number;
}

/** Writes an update of `model`. @param content the delta itself in float32, else its payload in the metadata's codec */
export function encodeUpdate(
  model: ModelSummary,
  content: Float32Array | Uint8Array,
  metadata: UpdateMetadata,
): Uint8Array<ArrayBuffer> {
  const known = Object.entries(metadata).filter(([, value]) => value !== undefined);
  const strings = Object.fromEntries(known.map(([key, value]) => [key, String(value)]));
  if (content instanceof Float32Array) return encodeSafetensors(model.tensors, content, strings);
  return joinPieces(tensorPieces([{ name: "payload", shape: [content.length], data: content }], strings));
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
 * Checks and decodes an update as its bytes arrive, holding no more than its header and what {@link DeltaDecoder} holds: push
 * every chunk, then call {@link finish}. Each method throws FormatError at the first byte that proves the update wrong.
 */
export class UpdateReader {
  #head = new Uint8Array(0);
  #metadata: UpdateMetadata | undefined;
  #decoder: DeltaDecoder | undefined;
  #dataBytes = 0;
  #received = 0;
  #squares = 0;
  #stepped = 0;

  /**
   * @param ignored parts of the delta that are 0, whatever is sent in their places: it has to be numbers all the same
   * @param stepped parts whose norm is asked for
   */
  constructor(
    readonly model: ModelSummary,
    readonly ignored: readonly Span[] = [],
    readonly stepped: readonly Span[] = [],
  ) {}

  /** Known as soon as the header has arrived. */
  get metadata(): UpdateMetadata | undefined {
    return this.#metadata;
  }

  /** @returns the delta's numbers that are complete with this chunk, in their order and without gaps */
  push(chunk: Uint8Array): DecodedPart[] {
    if (this.#decoder) return this.#decode(this.#decoder, chunk);
    const joined = concatUint8Arrays([this.#head, chunk]);
    if (joined.length < 8 || joined.length < headerLength(joined)) {
      this.#head = joined;
      return [];
    }
    const header = decodeHeader(joined);
    this.#metadata = readUpdateMetadata(header.metadata);
    const { codec } = this.#metadata;
    matchTensors(
      header,
      codec === "float32" ? this.model.tensors : [{ name: "payload", dtype: "U8", shape: [header.dataBytes] }],
    );
    this.#dataBytes = header.dataBytes;
    this.#head = new Uint8Array(0);
    this.#decoder = new DeltaDecoder(this.model, codec);
    return this.#decode(this.#decoder, joined.subarray(header.headerBytes));
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
    this.#decoder?.finish();
    const summary = { metadata: this.#metadata, norm: Math.sqrt(this.#squares) };
    return this.stepped.length === 0 ? summary : { ...summary, stepNorm: Math.sqrt(this.#stepped) };
  }

  #decode(decoder: DeltaDecoder, chunk: Uint8Array): DecodedPart[] {
    this.#received += chunk.length;
    if (this.#received > this.#dataBytes) {
      throw new FormatError("wrong-length", `The update goes on after the ${this.#dataBytes} bytes that it announced.`);
    }
    const parts = decoder.push(chunk);
    for (const { start, values } of parts) {
      for (const { offset, size } of this.ignored) {
        values.fill(0, Math.max(0, offset - start), Math.max(0, offset + size - start));
      }
      let squares = 0;
      for (let i = 0; i < values.length; i++) squares += (values[i] as number) * (values[i] as number);
      this.#squares += squares;
      this.#stepped += squareWithin(this.stepped, start, values);
    }
    return parts;
  }
}
