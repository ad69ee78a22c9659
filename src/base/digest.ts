import { uint8ArrayToHex } from "uint8array-extras";

/** SHA-256 of some bytes, in hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return uint8ArrayToHex(await crypto.subtle.digest("SHA-256", bytes));
}
