import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { fileKind } from "./file-kind";

test.each([
  ["gzip", gzipSync("emotion,pixels")],
  ["zip", Buffer.from("504b0304140000000800", "hex")],
  ["zip", Buffer.from("504b0506000000000000", "hex")],
  ["idx", Buffer.from("0000080300000001", "hex")],
  ["idx", Buffer.from("0000080400000001", "hex")],
  ["numbers", Buffer.from("00000c0300000001", "hex")],
  ["archive", Buffer.concat([Buffer.alloc(257, "fer2013"), Buffer.from("ustar\x0000"), Buffer.alloc(240)])],
  ["archive", Buffer.from("377abcaf271c0004", "hex")],
  ["picture", Buffer.from("49492a0008000000", "hex")],
  ["picture", Buffer.from("89504e470d0a1a0a", "hex")],
  ["picture", Buffer.from("ffd8ffe000104a46", "hex")],
  ["picture", Buffer.concat([Buffer.from("RIFF"), Buffer.alloc(4), Buffer.from("WEBPVP8 ")])],
  ["text", Buffer.from("emotion,pixels")],
  ["text", Buffer.from("")],
])("%s", (kind, head) => {
  expect(fileKind(head)).toBe(kind);
});
