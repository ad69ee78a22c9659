import { base64ToUint8Array } from "uint8array-extras";
import type { Keys } from "./messages";
import { agree, newKeyPair } from "./secrets";

/** What the edge can see of a member's messages without being able to read them. */

/** Why nobody could use these keys; undefined where they can. */
export async function whyUnusable({ cipherKey, maskKey }: Keys): Promise<string | undefined> {
  if (cipherKey === maskKey) return "Its two keys are the same.";
  const { privateKey } = await newKeyPair();
  for (const key of [cipherKey, maskKey]) {
    try {
      // A point of small order gives everybody the same secret, zero, which WebCrypto refuses (RFC 7748, section 6.1).
      await agree(privateKey, base64ToUint8Array(key), "check", "check");
    } catch {
      return "One of its keys is none.";
    }
  }
  return undefined;
}
