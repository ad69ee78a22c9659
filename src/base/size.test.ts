import { expect, test } from "vitest";
import { sizeOf } from "./size";

test("every buffer counts, however deep it lies, and the part of one that is seen for what is seen", () => {
  const control = new Float32Array(10); // 40 bytes
  const clients = new Map([[7, { control }]]); // and a key of 8
  expect(sizeOf({ clients, server: { control }, list: [control.subarray(2, 4)], none: null })).toBe(48 + 40 + 8 + 8);
  expect(sizeOf([new ArrayBuffer(5), "héé", 1, true, undefined])).toBe(5 + 6 + 8 + 8 + 8);
});
