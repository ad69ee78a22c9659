import { uint8ArrayToHex } from "uint8array-extras";
import { largestPayload } from "../../src/federation/codecs/delta";
import { summarize, type ModelSummary } from "../../src/model/model";
import { networkOf } from "../../src/federation/tasks/network";
import type { TaskName } from "../../src/federation/tasks/registry";
import { FormatError, MAX_HEADER_BYTES } from "../../src/model/safetensors";
import { Unpacker } from "../../src/federation/secagg/ring";
import type { Span } from "../../src/federation/strategies/strategy";
import { UpdateReader, type UpdateSummary } from "../../src/federation/update";
import { contentDigest, inTime } from "./body";
import { updateKey, type Env } from "./env";
import { ProblemError } from "./problem";
import { keepingSink, StoreError, streamingSink } from "./sink";

export const modelOf = (task: TaskName): ModelSummary => summarize(networkOf(task));

/** Bytes of a body that are read, checked and passed on at once. A body comes in pieces of 4 KB, each with a cost of its own. */
const CHUNK = 1 << 18;
/** How long so many bytes may take: at 9 KB a second an update is still taken, and one that stalls is ended. */
export const STALL_MS = 30_000;
/** Bytes that are decompressed at once: gzip makes at most a thousand times as many of them. */
const GZIP_CHUNK = 1 << 14;

/** What an upload's headers say of its body. */
export interface UploadHead {
  /** SHA-256 in hex. */
  digest: string;
  gzipped: boolean;
  bytes: number;
}

/** @throws ProblemError `bad-request`, `unsupported-encoding`, `length-required`, `too-large` */
export const headOf = (request: Request, task: TaskName): UploadHead => ({
  digest: contentDigest(request),
  gzipped: isGzipped(request),
  bytes: contentLength(request, task),
});

/** Whether a body is compressed. @throws ProblemError `unsupported-encoding` */
function isGzipped(request: Request): boolean {
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "gzip" && encoding !== "identity") throw new ProblemError("unsupported-encoding");
  return encoding === "gzip";
}

/** The announced length of a request's body. @throws ProblemError `length-required`, `too-large`. */
function contentLength(request: Request, task: TaskName): number {
  // float32 is the longest codec, and gzip makes nothing much longer.
  const maximum = 8 + MAX_HEADER_BYTES + largestPayload(modelOf(task), { codec: "float32", share: 1 }) + 65_536;
  const header = request.headers.get("content-length");
  if (header === null || !/^\d+$/.test(header)) throw new ProblemError("length-required");
  if (Number(header) > maximum) {
    throw new ProblemError("too-large", `The update has ${header} bytes; at most ${maximum} are taken.`);
  }
  return Number(header);
}

/** What reads an update as it comes: a decoder of deltas, or the one of masked vectors, which can only be counted. */
interface Reader {
  push: (bytes: Uint8Array) => { values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> }[];
  finish: () => UpdateSummary;
}

/** A masked vector is random whatever is under it: all that can be wrong is its length. */
function vectorReader({ bits, length }: VectorFormat): Reader {
  const unpacker = new Unpacker(bits, length);
  const expected = Math.ceil((length * bits) / 8);
  let received = 0;
  return {
    push: (bytes) => {
      received += bytes.length;
      if (received > expected) throw new FormatError("wrong-length", `The vector has ${expected} bytes.`);
      const values = unpacker.push(bytes);
      return values.length > 0 ? [{ values: values.slice() }] : [];
    },
    finish: () => {
      if (received < expected)
        throw new FormatError("truncated", `The vector has ${expected} bytes; ${received} came.`);
      return { metadata: null, norm: 0 };
    },
  };
}

/** The bits and the number of the numbers of a masked vector. */
export interface VectorFormat {
  bits: number;
  length: number;
}

/** How many numbers an update has once it is decoded. */
export const lengthOf = (task: TaskName, vector: VectorFormat | null): number =>
  vector?.length ?? modelOf(task).parameters;

/** An update that lies in the store. */
export interface StoredUpdate {
  summary: UpdateSummary;
  /** Its numbers, where they were to be kept. */
  numbers: ArrayBuffer | null;
}

/**
 * Brings an update into R2 as plain float32 numbers, a masked one as uint32, decoding and checking every byte on the way; nothing is
 * stored when anything is wrong with it. Of the body it holds a quarter of a megabyte; what unpacks to more than its model is refused as
 * soon as it does.
 * @throws ProblemError with the code of what was wrong.
 */
export async function storeUpdate(
  env: Env,
  body: ReadableStream<Uint8Array>,
  update: {
    task: TaskName;
    round: number;
    id: string;
    digest: string;
    gzipped: boolean;
    vector: VectorFormat | null;
    /** Of a plain delta: what counts as 0, whatever is sent. */
    ignored: readonly Span[];
    /** Of a plain delta: what its second norm is of; nothing where nobody asks. */
    stepped: readonly Span[];
    /** Unix time in milliseconds at which it is too late in any case. */
    until: number;
    /** Whether its numbers are kept in memory: of any but a small one they are too many. */
    keep: boolean;
  },
): Promise<StoredUpdate> {
  const reader: Reader = update.vector
    ? vectorReader(update.vector)
    : new UpdateReader(modelOf(update.task), update.ignored, update.stepped);
  const key = updateKey(update.task, update.round, update.id, update.digest);
  const open = update.keep ? keepingSink : streamingSink;
  const sink = open(env.STORE, key, lengthOf(update.task, update.vector));
  const digest = new crypto.DigestStream("SHA-256");
  const digested = digest.getWriter();
  const take = async (bytes: Uint8Array): Promise<void> => {
    for (const { values } of reader.push(bytes)) await sink.write(values);
  };
  const source = body.getReader({ mode: "byob" });
  const gzip = update.gzipped ? new DecompressionStream("gzip") : undefined;
  const unpacked = gzip && unpack(gzip.readable, take);
  const packed = gzip?.writable.getWriter();
  try {
    let buffer = new ArrayBuffer(CHUNK);
    for (let read = CHUNK; read === CHUNK;) {
      const patience = Math.min(STALL_MS, update.until - Date.now());
      const { value } = await inTime(source.readAtLeast(CHUNK, new Uint8Array(buffer)), patience);
      read = value?.byteLength ?? 0;
      if (!value || read === 0) break;
      await digested.write(value);
      if (!packed) await take(value);
      else {
        for (let at = 0; at < read; at += GZIP_CHUNK) {
          await Promise.race([packed.write(value.subarray(at, at + GZIP_CHUNK)), unpacked]);
        }
      }
      buffer = value.buffer; // Handed back: the one that went in is detached.
    }
    await Promise.all([packed?.close(), unpacked]);
    const summary = reader.finish();
    await digested.close();
    if (uint8ArrayToHex(await digest.digest) !== update.digest) throw new ProblemError("wrong-digest");
    return { summary, numbers: await sink.close() };
  } catch (error) {
    digest.digest.catch(() => undefined);
    // A body that has stalled answers nothing, nor that it is no longer wanted.
    void source.cancel(error).catch(() => undefined);
    await Promise.allSettled([packed?.abort(error), unpacked, digested.abort(error), sink.abort(error)]);
    if (error instanceof ProblemError) throw error;
    if (error instanceof FormatError) throw new ProblemError(error.code, error.message);
    if (error instanceof StoreError) {
      // Full, or away: nothing has been counted, and the client tries again.
      console.error(`${key} could not be stored:`, error);
      throw new ProblemError("store-failed");
    }
    throw new ProblemError("truncated", `The upload broke off: ${String(error)}`);
  }
}

/** Hands on what comes out of a decompression, a quarter of a megabyte at a time, until that ends. */
async function unpack(stream: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const reader = stream.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(CHUNK);
  for (let read = CHUNK; read === CHUNK;) {
    const { value } = await reader.readAtLeast(CHUNK, new Uint8Array(buffer));
    read = value?.byteLength ?? 0;
    if (!value || read === 0) return;
    try {
      await take(value);
    } catch (error) {
      await reader.cancel(error);
      throw error;
    }
    buffer = value.buffer;
  }
}
