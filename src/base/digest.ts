import { uint8ArrayToHex } from "uint8array-extras";

/** A download does not match its SHA-256, or is not as long as was announced. */
export class IntegrityError extends Error {
  override readonly name = "IntegrityError";
}

/** SHA-256 of some bytes, in hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return uint8ArrayToHex(await crypto.subtle.digest("SHA-256", bytes));
}
