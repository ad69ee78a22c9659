import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, expect, test, vi } from "vitest";
import { ownReadingOf, picturesIn } from "./own-data.mjs";

const folder = mkdtempSync(join(tmpdir(), "best-actor-own-data-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const idx = (shape: number[], data: number[]): Buffer =>
  Buffer.from([0, 0, 8, shape.length, ...shape.flatMap((size) => [0, 0, size >> 8, size & 255]), ...data]);

/** Label, pixels, what it is for, and whose it is. */
type Sample = [number, Uint8Array, string | null, string | null];

/** What is read of a file or folder, and what is said of it. */
async function read(path: string, said: Parameters<typeof ownReadingOf>[0] = {}) {
  const told: string[] = [];
  const spy = vi.spyOn(console, "error").mockImplementation((line) => void told.push(String(line)));
  const exit = vi.spyOn(process, "exit").mockImplementation(() => {
    throw new Error(told.at(-1));
  });
  try {
    const { kind, samples } = await picturesIn(path, ownReadingOf(said));
    return { kind, samples: samples as Sample[], told: told.join("\n") };
  } finally {
    spy.mockRestore();
    exit.mockRestore();
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

const picture = (path: string, level: number): Promise<unknown> => {
  mkdirSync(join(path, ".."), { recursive: true });
  const create = { width: 8, height: 8, channels: 3 as const, background: { r: level, g: level, b: level } };
  return sharp({ create }).toFile(path);
};

test("a folder's TIFFs and what links lead to are read, a link to nothing is named, and what systems leave is no label", async () => {
  const own = join(folder, "vehicles");
  for (const [i, label] of ["bus", "car", "train"].entries()) {
    await picture(join(own, label, "1.tiff"), 10 * i);
    await picture(join(own, label, ".ipynb_checkpoints", "1-checkpoint.png"), 200);
  }
  await picture(join(own, "@eaDir", "1.png"), 200);
  await picture(join(folder, "elsewhere", "2.png"), 5);
  symlinkSync(join(folder, "elsewhere", "2.png"), join(own, "bus", "2.png"));
  symlinkSync(own, join(own, "car", "around"));
  symlinkSync(join(folder, "nowhere"), join(own, "car", "3.png"));
  const { kind, samples, told } = await read(own);
  expect(kind.labels).toEqual(["bus", "car", "train"]);
  expect(samples.map(([label, pixels, usage]) => [label, pixels[0], usage])).toEqual([
    [0, 0, null],
    [0, 5, null],
    [1, 10, null],
    [2, 20, null],
  ]);
  expect(told).toContain("vehicles/car/3.png: it is a link to what is not there.");
});

test("whose an example is says a column that is named, and pictures have none", async () => {
  const file = join(folder, "made.csv");
  const levels = Array<number>(64).fill(1).join(" ");
  writeFileSync(file, `kind,made by,levels\na,ann,${levels}\nb,,${levels}\nb,ben,${levels}\n`);
  const { samples, told } = await read(file, { column: "kind", client: "Made by" });
  expect(samples.map(([label, , , client]) => [label, client])).toEqual([
    [0, "ann"],
    [1, "ben"],
  ]);
  expect(told).toContain("Line 3: The column Made by does not say whose it is.");
  await expect(read(file, { column: "kind", client: "painter" })).rejects.toThrow("There is no column painter");
  await expect(read(join(folder, "elsewhere"), { client: "who" })).rejects.toThrow(
    "--client who names a column of a CSV",
  );
});

test("packed IDX files that are cut off end in a sentence, at the beginning or in the middle", async () => {
  const own = join(folder, "cut");
  mkdirSync(own);
  const pictures = gzipSync(
    idx(
      [300, 8, 8],
      Array.from({ length: 19_200 }, (_, i) => (i * i * 7) % 256),
    ),
  );
  writeFileSync(
    join(own, "labels.bin"),
    idx(
      [300],
      Array.from({ length: 300 }, (_, i) => i % 2),
    ),
  );
  for (const left of [12, pictures.length - 9]) {
    writeFileSync(join(own, "images.bin.gz"), pictures.subarray(0, left));
    await expect(read(own)).rejects.toThrow("cut/images.bin.gz cannot be unpacked: it is damaged.");
  }
  writeFileSync(join(own, "images.bin.gz"), pictures);
  expect((await read(own)).samples).toHaveLength(300);
});
