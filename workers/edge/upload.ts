import { toHex } from "../../src/core/digest";
import { MODELS, summarize, type ModelSummary } from "../../src/core/model";
import { TASKS, type TaskName } from "../../src/core/protocol";
import { FormatError, MAX_HEADER_BYTES } from "../../src/core/safetensors";
import { UpdateReader, type UpdateSummary } from "../../src/core/update";
import { updateKey, type Env } from "./env";
import { ProblemError } from "./problem";

export const modelOf = (task: TaskName): ModelSummary => summarize(MODELS[TASKS[task].model]);

/** Bytes of a body that are read, checked and passed on at once. A body comes in pieces of 4 KB, each with a cost of its own. */
const CHUNK = 1 << 20;

/** SHA-256 in hex of a `Content-Digest: sha-256=:base64:` header (RFC 9530). @throws ProblemError `bad-request`. */
export function contentDigest(request: Request): string {
  const encoded = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):/.exec(request.headers.get("content-digest") ?? "")?.[1];
  if (encoded === undefined) {
    throw new ProblemError("bad-request", "The Content-Digest header must hold the body's sha-256 (RFC 9530).");
  }
  return toHex(Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0)).buffer);
}

/** The announced length of a request's body. @throws ProblemError `length-required`, `too-large`. */
export function contentLength(request: Request, task: TaskName): number {
  const maximum = 8 + MAX_HEADER_BYTES + modelOf(task).parameters * 4;
  const header = request.headers.get("content-length");
  if (header === null || !/^\d+$/.test(header)) throw new ProblemError("length-required");
  if (Number(header) > maximum) {
    throw new ProblemError("too-large", `The update has ${header} bytes; at most ${maximum} are taken.`);
  }
  return Number(header);
}

/**
 * Streams an update into R2 and checks every byte on the way; nothing is stored when anything is wrong with it.
 * @throws ProblemError with the code of what was wrong.
 */
export async function storeUpdate(
  env: Env,
  body: ReadableStream<Uint8Array>,
  update: { task: TaskName; round: number; id: string; digest: string; bytes: number },
): Promise<UpdateSummary> {
  const reader = new UpdateReader(modelOf(update.task));
  let summary: UpdateSummary | undefined;
  let problem: ProblemError | undefined;
  /** Which side failed first: the other one fails with it. */
  let failed: "body" | "store" | undefined;
  const sized = new FixedLengthStream(update.bytes);
  const target = sized.writable.getWriter();
  const copy = async (): Promise<void> => {
    const source = body.getReader({ mode: "byob" });
    try {
      let buffer = new ArrayBuffer(CHUNK);
      for (let read = CHUNK; read === CHUNK;) {
        const { value } = await source.readAtLeast(CHUNK, new Uint8Array(buffer));
        read = value?.byteLength ?? 0;
        if (!value || read === 0) break;
        reader.push(value);
        await target.write(value);
        buffer = value.buffer; // Handed back: the one that went in is detached.
      }
      summary = reader.finish();
      await target.close();
    } catch (error) {
      failed ??= "body";
      if (error instanceof FormatError) problem = new ProblemError(error.code, error.message);
      await Promise.allSettled([source.cancel(error), target.abort(error)]);
      throw error;
    }
  };
  const key = updateKey(update.task, update.round, update.id, update.digest);
  const put = env.STORE.put(key, sized.readable, { sha256: update.digest });
  // A store that fails at once reads nothing, and the copying would wait for it for ever.
  put.catch((error: unknown) => {
    failed ??= "store";
    void target.abort(error).catch(() => undefined);
  });
  const [read, stored] = await Promise.allSettled([copy(), put]);
  if (problem) throw problem;
  if (read.status === "rejected" && failed === "body")
    throw new ProblemError("truncated", `The upload broke off: ${String(read.reason)}`);
  if (stored.status === "rejected") {
    if (/sha-?256|checksum|digest/i.test(String(stored.reason))) throw new ProblemError("wrong-digest");
    // Full, or away: nothing has been counted, and the client tries again.
    console.error(`${key} could not be stored:`, stored.reason);
    throw new ProblemError("store-failed");
  }
  if (!summary) throw new ProblemError("truncated");
  return summary;
}
