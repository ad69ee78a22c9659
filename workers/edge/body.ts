import * as v from "valibot";
import { base64ToUint8Array, uint8ArrayToHex } from "uint8array-extras";
import { sha256Hex } from "../../src/base/digest";
import { ProblemError } from "./problem";

/** The longest JSON body: a round's configuration, a check-in, an evaluation with its counts by class. */
export const MAX_JSON_BYTES = 16_384;
/** The longest message of a secure round: two lists of a thousand shares. */
export const MAX_SECURE_BYTES = 262_144;
/** The longest description of a task: 64 labels with words in a few languages, and the layers of a network. */
export const MAX_TASK_BYTES = 65_536;
/** How long a task's first checkpoint may take: as long as the largest takes at 70 KB a second. */
export const FIRST_CHECKPOINT_MS = 300_000;
/** The deepest nesting that any schema has is four. */
const MAX_DEPTH = 8;
/** How long a JSON body may take. Nobody's is longer than a second's work of the slowest phone connection. */
export const JSON_MS = 15_000;

/** SHA-256 in hex of a `Content-Digest: sha-256=:base64:` header (RFC 9530). @throws ProblemError `bad-request`. */
export function contentDigest(request: Request): string {
  const encoded = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(request.headers.get("content-digest") ?? "")?.[1];
  if (encoded === undefined) {
    throw new ProblemError("bad-request", "The Content-Digest header must hold the body's sha-256 (RFC 9530).");
  }
  return uint8ArrayToHex(base64ToUint8Array(encoded));
}

/** Checks a request's JSON body. @throws ProblemError `bad-request` or `unfit`, naming the fields; `too-large`, `too-slow`. */
export async function readJson<S extends v.GenericSchema>(
  request: Request,
  schema: S,
  maximum = MAX_JSON_BYTES,
): Promise<v.InferOutput<S>> {
  return parseJson(schema, await readBody(request, maximum));
}

/** Checks a signed request's JSON body, whose digest the signature covers. @throws ProblemError `wrong-digest`, and as readJson */
export async function readSigned<S extends v.GenericSchema>(
  request: Request,
  schema: S,
  maximum = MAX_JSON_BYTES,
): Promise<v.InferOutput<S>> {
  const digest = contentDigest(request);
  const body = await readBody(request, maximum);
  if ((await sha256Hex(body)) !== digest) throw new ProblemError("wrong-digest");
  return parseJson(schema, body);
}

/** A whole body, which is neither longer than `maximum` nor slower than it may be. @throws ProblemError `too-large`, `too-slow`, `truncated` */
export async function readBody(
  request: Request,
  maximum: number,
  milliseconds = JSON_MS,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = (): ProblemError => new ProblemError("too-large", `At most ${maximum} bytes are read here.`);
  if (Number(request.headers.get("content-length") ?? 0) > maximum) throw tooLarge();
  const body = new Uint8Array(maximum + 1);
  const reader = (request.body as ReadableStream<Uint8Array> | null)?.getReader();
  if (!reader) return new Uint8Array(0);
  let length = 0;
  const over = Date.now() + milliseconds;
  try {
    for (;;) {
      const { value, done } = await inTime(reader.read(), over - Date.now());
      if (done) return body.slice(0, length);
      if (length + value.length > maximum) throw tooLarge();
      body.set(value, length);
      length += value.length;
    }
  } catch (error) {
    // What still comes is nobody's: the connection need not wait for it.
    void reader.cancel(error).catch(() => undefined);
    throw error instanceof ProblemError ? error : new ProblemError("truncated", `The body broke off: ${String(error)}`);
  }
}

/** What a promise gives. @throws ProblemError `too-slow` after some milliseconds without it */
export async function inTime<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        reject(new ProblemError("too-slow"));
      },
      Math.max(0, milliseconds),
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws ProblemError `bad-request` */
function parseJson<S extends v.GenericSchema>(schema: S, body: Uint8Array<ArrayBuffer>): v.InferOutput<S> {
  if (depthOf(body) > MAX_DEPTH) throw new ProblemError("bad-request", `The body is nested deeper than ${MAX_DEPTH}.`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body));
  } catch {
    throw new ProblemError("bad-request", "The body is not JSON.");
  }
  // To valibot an empty list is an object whose fields are all left out.
  if (Array.isArray(json)) throw new ProblemError("bad-request", "The body is a list, and not an object.");
  return parse(schema, json);
}

/** How deep the brackets of a JSON text go; those in strings count too, which no honest body has. */
function depthOf(text: Uint8Array): number {
  let [depth, deepest] = [0, 0];
  for (const byte of text) {
    if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x5d || byte === 0x7d) depth -= 1;
  }
  return deepest;
}

/**
 * Checks any value.
 * @throws ProblemError naming the fields: `bad-request`, or `unfit` where only that is wrong which the description of the interface cannot say
 */
export function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  // Which fields there are, the description says.
  const isUnfit = parsed.issues.every(({ type, input }) => type === "check" && typeof input === "string");
  const code = isUnfit ? "unfit" : "bad-request";
  throw new ProblemError(code, v.summarize(parsed.issues).slice(0, 1000));
}
