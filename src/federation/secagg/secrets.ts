import { base64ToUint8Array, concatUint8Arrays } from "uint8array-extras";

/** The cryptography of secure aggregation, all of it WebCrypto's: X25519 (RFC 7748), HKDF (RFC 5869), AES-GCM and AES-CTR. */

export type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes of a key, a seed and a secret. */
export const SECRET = 32;

/** A PKCS #8 wrapping of a raw X25519 private key (RFC 8410, section 7). */
const PKCS8 = Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20]);
const ALGORITHM = { name: "X25519" };

/** A pair of raw X25519 keys. The private one is plain bytes, since it will be cut into shares. */
export interface KeyPair {
  publicKey: Bytes;
  privateKey: Bytes;
}

export const randomBytes = (length: number): Bytes => crypto.getRandomValues(new Uint8Array(length));

export async function newKeyPair(): Promise<KeyPair> {
  const pair = (await crypto.subtle.generateKey(ALGORITHM, true, ["deriveBits"])) as CryptoKeyPair;
  // The answers' types differ between the browser's and workerd's libraries.
  const raw: unknown = await crypto.subtle.exportKey("raw", pair.publicKey);
  const pkcs8: unknown = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  const [publicKey, privateKey] = [raw, pkcs8] as [ArrayBuffer, ArrayBuffer];
  return { publicKey: new Uint8Array(publicKey), privateKey: new Uint8Array(privateKey).slice(-SECRET) };
}

/** Private keys as WebCrypto has them: one of a cohort of hundreds is used hundreds of times. */
const imported = new WeakMap<Bytes, Promise<CryptoKey>>();

function importPrivate(privateKey: Bytes): Promise<CryptoKey> {
  const known = imported.get(privateKey);
  if (known) return known;
  const key = crypto.subtle.importKey("pkcs8", concatUint8Arrays([PKCS8, privateKey]), ALGORITHM, true, ["deriveBits"]);
  imported.set(privateKey, key);
  return key;
}

/** The public key that belongs to a private one. */
export async function publicKeyOf(privateKey: Bytes): Promise<Bytes> {
  const jwk: unknown = await crypto.subtle.exportKey("jwk", await importPrivate(privateKey));
  const { x = "" } = jwk as JsonWebKey;
  return base64ToUint8Array(x);
}

/** What a private key and a public one agree on, before its use is known: a peer's is needed at every step. */
const agreed = new WeakMap<Bytes, Map<string, Promise<CryptoKey>>>();

function agreement(privateKey: Bytes, publicKey: Bytes): Promise<CryptoKey> {
  const own = agreed.get(privateKey) ?? new Map<string, Promise<CryptoKey>>();
  agreed.set(privateKey, own);
  const known = own.get(String(publicKey));
  if (known) return known;
  const key = exchange(privateKey, publicKey);
  own.set(String(publicKey), key);
  return key;
}

async function exchange(privateKey: Bytes, publicKey: Bytes): Promise<CryptoKey> {
  const peer = await crypto.subtle.importKey("raw", publicKey, ALGORITHM, false, []);
  // "public" is how the standard calls it; workerd's types call it "$public".
  const algorithm = { ...ALGORITHM, public: peer } as unknown as Parameters<SubtleCrypto["deriveBits"]>[0];
  const shared = await crypto.subtle.deriveBits(algorithm, await importPrivate(privateKey), 256);
  return crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveBits"]);
}

/**
 * A secret that only the two owners of these keys know, the same from either side, for one purpose in one round.
 * @throws when the public key is none
 */
export async function agree(privateKey: Bytes, publicKey: Bytes, round: string, purpose: string): Promise<Bytes> {
  const [salt, info] = [utf8(round), utf8(purpose)];
  const key = await agreement(privateKey, publicKey);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, 256));
}

/** Encrypts with AES-256-GCM; the nonce goes before the rest. @param about what it is bound to */
export async function seal(secret: Bytes, plain: Bytes, about: string): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt"]);
  const iv = randomBytes(12);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: utf8(about) }, key, plain);
  return concatUint8Arrays([iv, new Uint8Array(sealed)]);
}

/** @throws when it was not sealed with this secret about this */
export async function open(secret: Bytes, sealed: Bytes, about: string): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["decrypt"]);
  const [iv, rest] = [sealed.slice(0, 12), sealed.slice(12)];
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: utf8(about) }, key, rest));
}

/** HMAC-SHA-256 of a text. */
export async function mac(secret: Bytes, text: string): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(text)));
}

/** Bytes of a mask that are made at once. */
const PIECE = 1 << 20;

/** Adds (or takes away) the numbers that a seed stands for, modulo 2^32: the stream of AES-256-CTR over zeros. */
export async function addMask(vector: Uint32Array, seed: Bytes, sign: 1 | -1): Promise<void> {
  const key = await crypto.subtle.importKey("raw", seed, "AES-CTR", false, ["encrypt"]);
  const zeros = new Uint8Array(Math.min(PIECE, vector.length * 4));
  for (let at = 0; at < vector.length; at += PIECE / 4) {
    const counter = new Uint8Array(16);
    new DataView(counter.buffer).setUint32(12, at / 4); // A block is four numbers.
    const wanted = zeros.subarray(0, (vector.length - at) * 4);
    const mask = new Uint32Array(await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 32 }, key, wanted));
    for (let i = 0; i < mask.length; i++) {
      vector[at + i] = (vector[at + i] as number) + sign * (mask[i] as number);
    }
  }
}

export const utf8 = (text: string): Bytes => Uint8Array.from(new TextEncoder().encode(text));
