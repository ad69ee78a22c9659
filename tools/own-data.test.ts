import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test, vi } from "vitest";
import { ownReadingOf, picturesIn } from "./own-data.mjs";

const folder = mkdtempSync(join(tmpdir(), "best-actor-own-data-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const idx = (shape: number[], data: number[]): Buffer =>
  Buffer.from([0, 0, 8, shape.length, ...shape.flatMap((size) => [0, 0, size >> 8, size & 255]), ...data]);

/** Label, pixels, what it is for, and whose it is. */
type Sample = [number, Uint8Array, string | null, string | null];

/** What is read of a file or folder, and what is said of it. */
async function read(path: string, said: { labels?: string; size?: string; channels?: string } = {}) {
  const told: string[] = [];
  const spy = vi.spyOn(console, "error").mockImplementation((line) => void told.push(String(line)));
  try {
    const { kind, samples } = await picturesIn(path, ownReadingOf(said));
    return { kind, samples: samples as Sample[], told: told.join("\n") };
  } finally {
    spy.mockRestore();
  }
}

test("a folder of IDX files, packed or not, is read by pairs, in the size and the colours that they say", async () => {
  const own = join(folder, "idx");
  mkdirSync(own);
  const colours = Array.from({ length: 3 * 8 * 10 * 3 }, (_, i) => i % 251);
  writeFileSync(join(own, "shapes-train-images-idx4-ubyte.gz"), gzipSync(idx([3, 8, 10, 3], colours)));
  writeFileSync(join(own, "shapes-train-labels-idx1-ubyte"), idx([3], [4, 9, 4]));
  writeFileSync(join(own, "shapes-test-images-idx4-ubyte"), idx([1, 8, 10, 3], colours.slice(0, 240)));
  writeFileSync(join(own, "shapes-test-labels-idx1-ubyte"), idx([1], [9]));
  writeFileSync(join(own, "readme.txt"), "What this is.");
  const { kind, samples, told } = await read(own);
  expect(kind).toEqual({ labels: ["4", "9"], input: { height: 8, width: 10, channels: 3 } });
  expect(samples.map(([label, , usage]) => [label, usage])).toEqual([
    [1, "test"],
    ...[0, 1, 0].map((label) => [label, "train"]),
  ]);
  expect([...(samples[2]?.[1] ?? [])]).toEqual(colours.slice(240, 480));
  // What it was taken for is shown before anything is made of it.
  expect(told).toContain("4 pictures of 10 x 8 in colour; labels taken as 4 = 4 (2), 9 = 9 (2).");
  const named = await read(own, { labels: "4=cat,9=dog", channels: "1" });
  expect(named.kind).toEqual({ labels: ["cat", "dog"], input: { height: 8, width: 10, channels: 1 } });
});

test("a CSV with a column for each pixel is read in a size that is said or is a square, and shown", async () => {
  const file = join(folder, "pixels.csv");
  const row = (label: string, level: number): string => [label, ...Array<number>(80).fill(level)].join(",");
  const head = ["label", ...Array.from({ length: 80 }, (_, i) => `pixel${i}`)].join(",");
  writeFileSync(file, [head, row("a", 1), row("b", 2)].join("\n"));
  const { kind, samples, told } = await read(file, { size: "10x8" });
  expect(kind.input).toEqual({ height: 8, width: 10, channels: 1 });
  expect(samples.map(([label, pixels]) => [label, pixels[79]])).toEqual([
    [0, 1],
    [1, 2],
  ]);
  expect(told).toContain("2 pictures of 10 x 8 in grey; labels of the column label taken as a = a (1), b = b (1).");
});
