import * as v from "valibot";
import { fromBase64 } from "../../src/core/base64";
import { sha256Hex, toHex } from "../../src/core/digest";
import { ProblemError } from "./problem";

/** SHA-256 in hex of a `Content-Digest: sha-256=:base64:` header (RFC 9530). @throws ProblemError `bad-request`. */
export function contentDigest(request: Request): string {
  const encoded = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):/.exec(request.headers.get("content-digest") ?? "")?.[1];
  if (encoded === undefined) {
    throw new ProblemError("bad-request", "The Content-Digest header must hold the body's sha-256 (RFC 9530).");
  }
  return toHex(fromBase64(encoded).buffer);
}

/** Checks a request's JSON body. @throws ProblemError `bad-request`, naming the fields. */
export async function readJson<S extends v.GenericSchema>(request: Body, schema: S): Promise<v.InferOutput<S>> {
  let json: unknown;
  try {
    json = await request.json();
  } catch {
    throw new ProblemError("bad-request", "The body is not JSON.");
  }
  return parse(schema, json);
}

/** Checks a signed request's JSON body, whose digest the signature covers. @throws ProblemError `wrong-digest`, `bad-request` */
export async function readSigned<S extends v.GenericSchema>(request: Request, schema: S): Promise<v.InferOutput<S>> {
  const digest = contentDigest(request);
  const body = new Uint8Array(await request.arrayBuffer());
  if ((await sha256Hex(body)) !== digest) throw new ProblemError("wrong-digest");
  return readJson(new Response(body), schema);
}

/** Checks any value. @throws ProblemError `bad-request`, naming the fields. */
export function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (!parsed.success) throw new ProblemError("bad-request", v.summarize(parsed.issues));
  return parsed.output;
}
