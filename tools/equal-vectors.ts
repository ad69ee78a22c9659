import { expect } from "vitest";

/** Vectors are equal in `toEqual` where their bytes are: Vitest goes from key to key, for a million numbers some seconds. */
expect.addEqualityTesters([
  (a: unknown, b: unknown): boolean | undefined => {
    if (!isVector(a) || !isVector(b) || a.constructor !== b.constructor) return undefined;
    if (a.byteLength !== b.byteLength) return false;
    const [left, right] = [a, b].map((one) => new Uint8Array(one.buffer, one.byteOffset, one.byteLength));
    return left?.every((byte, i) => byte === right?.[i]);
  },
]);

const isVector = (value: unknown): value is ArrayBufferView =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);
