import { uint8ArrayToHex } from "uint8array-extras";

/** A download does not match its SHA-256, or is not as long as was announced. */
export class IntegrityError extends Error {
  override readonly name = "IntegrityError";
}

/** SHA-256 of some bytes, in hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return uint8ArrayToHex(await crypto.subtle.digest("SHA-256", bytes));
}

/** A downloaded file, which is what its address says. @throws IntegrityError */
export async function verified<T extends Uint8Array<ArrayBuffer>>(file: T, sha256: string): Promise<T> {
  if ((await sha256Hex(file)) === sha256) return file;
  throw new IntegrityError("The checkpoint does not match its SHA-256. Try again.");
}
