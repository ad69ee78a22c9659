import { createSignature, verifySignature } from "http-message-sig";
import { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
import { sha256Hex } from "../base/digest";

/**
 * Signed requests: HTTP Message Signatures (RFC 9421) over the method, the path (which names task, round and update) and the body's
 * digest (RFC 9530), in ECDSA on P-256. The key itself is the `keyid`: a client is whoever holds it, and nobody else in particular.
 */

const ECDSA = { name: "ECDSA", namedCurve: "P-256" } as const;
const HASHED = { name: "ECDSA", hash: "SHA-256" } as const;
const ALGORITHM = "ecdsa-p256-sha256";
/** Of signatures that are made for this application and no other. */
const TAG = "best-actor";
/** The longest Signature-Input and Signature that are read, and the longest nonce: theirs are 250, 100 and 24 characters. */
const MOST = { header: 600, nonce: 64 } as const;
/** How old a signature may be, and how far ahead its clock, in seconds. */
export const FRESH_SECONDS = { past: 300, future: 60 } as const;

/** A request's signature is missing, wrong, made for another request, or not fresh. */
export class SigningError extends Error {
  override readonly name = "SigningError";
  constructor(
    readonly code: "bad-signature" | "stale",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A new key whose private half cannot be read by anybody, this page included. */
export const createSigningKey = async (): Promise<CryptoKeyPair> =>
  pairOf(await crypto.subtle.generateKey(ECDSA, false, ["sign", "verify"]));

// The answers' types differ between the browser's and workerd's libraries.
const pairOf = (made: unknown): CryptoKeyPair => made as CryptoKeyPair;
const bytesOf = (exported: unknown): Uint8Array<ArrayBuffer> => new Uint8Array(exported as ArrayBuffer);

/** What the edge calls a client: the SHA-256 of its public key. */
export const clientIdOf = async ({ publicKey }: CryptoKeyPair): Promise<string> =>
  sha256Hex(bytesOf(await crypto.subtle.exportKey("raw", publicKey)));

/** A request as its signature covers it. */
export interface Signable {
  method: string;
  /** Absolute. */
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array<ArrayBuffer> | string | undefined;
}

/**
 * The headers of a request with its digest and signature.
 * @param now Unix time in milliseconds, as the edge counts it
 */
export async function sign(
  { method, url, headers = {}, body }: Signable,
  { privateKey, publicKey }: CryptoKeyPair,
  now: number,
): Promise<Record<string, string>> {
  const digested = { ...headers };
  if (body !== undefined && digested["content-digest"] === undefined) {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const digest = uint8ArrayToBase64(await crypto.subtle.digest("SHA-256", bytes));
    digested["content-digest"] = `sha-256=:${digest}:`;
  }
  const fields = Object.entries(digested).map(([name, value]) => ({ name, value }));
  const { signature, signatureInput } = await createSignature(
    { kind: "request", method, targetUri: url, fields },
    {
      label: "client",
      components: componentsOf(body !== undefined),
      parameters: {
        created: Math.floor(now / 1000),
        nonce: uint8ArrayToBase64(crypto.getRandomValues(new Uint8Array(16))),
        keyid: await keyIdOf(publicKey),
        alg: ALGORITHM,
        tag: TAG,
      },
      signer: {
        algorithm: ALGORITHM,
        sign: async (data) => new Uint8Array(await crypto.subtle.sign(HASHED, privateKey, Uint8Array.from(data))),
      },
    },
  );
  return { ...digested, signature, "signature-input": signatureInput };
}

/** The key ids of public keys that have signed: a client signs every request of a round with the same. */
const keyIds = new WeakMap<CryptoKey, string>();

/** A public key as signatures name it: its point, in base64. */
async function keyIdOf(publicKey: CryptoKey): Promise<string> {
  const keyId = keyIds.get(publicKey) ?? uint8ArrayToBase64(bytesOf(await crypto.subtle.exportKey("raw", publicKey)));
  keyIds.set(publicKey, keyId);
  return keyId;
}

const componentsOf = (hasBody: boolean): string[] => ["@method", "@path", ...(hasBody ? ["content-digest"] : [])];

/** Whether there is a body to sign: many clients announce that a DELETE has one of no bytes, which is none. */
const hasBody = ({ body, headers }: Request): boolean =>
  body !== null && (headers.get("content-length") !== "0" || headers.has("transfer-encoding"));

/** Who signed a request, as the SHA-256 of the key, and what shows whether it came before. */
export interface Signer {
  client: string;
  nonce: string;
  /** Until when the same signature would be fresh: Unix time in milliseconds. */
  until: number;
}

/**
 * Checks a request's signature. That its body has the signed digest, and that its nonce is new, is left to the caller.
 * @param now Unix time in milliseconds
 * @throws SigningError
 */
export async function verify(request: Request, now: number): Promise<Signer> {
  for (const name of ["signature-input", "signature"]) {
    if ((request.headers.get(name)?.length ?? 0) > MOST.header) {
      throw new SigningError("bad-signature", `${name} has more than ${MOST.header} characters.`);
    }
  }
  const verified = await verifySignature(request, {
    label: "client",
    policy: {
      algorithms: [ALGORITHM],
      requiredComponents: componentsOf(hasBody(request)),
      requiredParameters: ["created", "nonce", "keyid", "tag"],
      // Time is judged below, so that a wrong clock is told from a wrong signature.
      clockSkew: Number.MAX_SAFE_INTEGER,
      validate: ({ parameters }) => parameters.tag === TAG,
    },
    resolveVerifier: async ({ parameters }) => {
      const key = await crypto.subtle.importKey("raw", base64ToUint8Array(parameters.keyid ?? ""), ECDSA, false, [
        "verify",
      ]);
      return {
        algorithm: ALGORITHM,
        verify: (data, signature) =>
          crypto.subtle.verify(HASHED, key, Uint8Array.from(signature), Uint8Array.from(data)),
      };
    },
  }).catch((error: unknown) => {
    throw new SigningError("bad-signature", error instanceof Error ? error.message : String(error), { cause: error });
  });
  const { created = 0, nonce = "", keyid = "" } = verified.parameters;
  if (nonce.length > MOST.nonce)
    throw new SigningError("bad-signature", `A nonce has ${MOST.nonce} characters at most.`);
  const age = now / 1000 - created;
  if (age > FRESH_SECONDS.past || age < -FRESH_SECONDS.future) {
    throw new SigningError(
      "stale",
      `The signature's clock is ${Math.round(Math.abs(age))} s ${age > 0 ? "behind" : "ahead"}.`,
    );
  }
  return {
    client: await sha256Hex(base64ToUint8Array(keyid)),
    nonce,
    until: (created + FRESH_SECONDS.past) * 1000,
  };
}
