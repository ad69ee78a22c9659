import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { PackedError } from "../base/gzip";
import { DataSetError, findDataSet, plainOf } from "./data-set";
import type { SourceFile } from "./file-kind";
import { IdxError } from "./idx";

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? new TextEncoder().encode(content) : content;

/** A file, in pieces of a thousand bytes. */
const file = (path: string, content: string | Uint8Array = ""): SourceFile => ({
  path,
  bytes: bytesOf(content).length,
  open: async function* () {
    const bytes = bytesOf(content);
    for (let at = 0; at < bytes.length; at += 1000) yield await Promise.resolve(bytes.slice(at, at + 1000));
  },
});

const levels = Array<number>(2304).fill(7).join(" ");
const FACES = `emotion,pixels\n${`3,${levels}\n`.repeat(3)}`;
const PICTURES = `kind,levels\n${`cat,${levels}\n`.repeat(3)}`;
const idx = (type: number, ...shape: number[]): Uint8Array =>
  Uint8Array.from([
    ...[0, 0, type, shape.length, ...shape.flatMap((size) => [0, 0, 0, size])],
    ...Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i % 3),
  ]);

const isExpression = (word: string): boolean => ["happy", "sad"].includes(word);

/** What is found, in short. */
async function found(files: SourceFile[], areFaces = true): Promise<unknown> {
  const isLabel = areFaces ? isExpression : (word: string) => word !== "";
  const set = await findDataSet<SourceFile, SourceFile>(files, { isLabel, areFaces });
  if (set.as === "pictures") return set.pictures.map(({ file: { path }, place }) => `${path} ${place.word}`);
  const others = set.others.map(({ path }) => path);
  if (set.as === "idx") {
    return [set.pairs.map(({ pictures, labels, usage }) => [pictures.path, labels.path, usage]), others];
  }
  return [set.as, set.file.file.path, others];
}

test("the one CSV is found by what it holds, whatever it is called, however much lies beside it", async () => {
  const notes = Array.from({ length: 25 }, (_, i) => file(`notes/${i}.txt`, "nothing".repeat(i)));
  for (const path of ["fer2013", "fer2013.txt", "fer/fer2013.csv"]) {
    expect(await found([...notes, file("table.csv", "name,age\nann,5\n"), file(path, FACES)])).toEqual([
      "csv",
      path,
      [],
    ]);
  }
  expect(await found([...notes, file("fer2013.csv.gz", gzipSync(FACES))])).toEqual(["csv", "fer2013.csv.gz", []]);
  // One of faces comes first where faces are wanted.
  expect(await found([file("a", PICTURES), file("b", FACES)])).toEqual(["csv", "b", []]);
  await expect(found([file("a", PICTURES), file("b", FACES)], false)).rejects.toThrow(
    "several data sets: choose one of a, b",
  );
  // Packed and unpacked it is one.
  expect(await found([file("x.csv.gz", gzipSync(FACES)), file("x.csv", FACES)])).toEqual(["csv", "x.csv", []]);
  // One that is none says what is wrong with it.
  expect(await found([file("notes.csv", "what,ever\n1,2\n"), file("readme")])).toEqual(["csv", "notes.csv", []]);
});

test("a stray picture hides no CSV, and a CSV no pictures: where both could be meant, it is said", async () => {
  const [happy, sad] = [file("happy/1.png"), file("sad/1.png")];
  expect(await found([file("docs/figure.png"), file("fer2013.csv", FACES)])).toEqual([
    "csv",
    "fer2013.csv",
    ["docs/figure.png"],
  ]);
  expect(await found([file("docs/figure.png"), file("one.csv", PICTURES)], false)).toEqual([
    "csv",
    "one.csv",
    ["docs/figure.png"],
  ]);
  expect(await found([happy, sad, file("labels.csv", "file,label\n1.png,happy\n")])).toEqual([
    "happy/1.png happy",
    "sad/1.png sad",
  ]);
  await expect(found([happy, sad, file("fer2013.csv", FACES)])).rejects.toThrow(
    "pictures in folders of their labels, and fer2013.csv beside them: choose one",
  );
  expect(await found([file("docs/figure.png")])).toEqual(["docs/figure.png docs"]);
});

test("of pictures of which those with a label are all for the training, nothing says what tests", async () => {
  const usagesOf = async (...paths: string[]) => {
    const all = paths.map((path) => file(path));
    const set = await findDataSet<SourceFile, SourceFile>(all, { isLabel: (word) => word !== "", areFaces: false });
    return set.as === "pictures" ? set.pictures.map(({ place }) => place.usage) : [];
  };
  expect(await usagesOf("d/train/cat/1.png", "d/train/dog/1.png", "d/test/1.png")).toEqual([null, null, null]);
  expect(await usagesOf("d/train/cat/1.png", "d/train/dog/1.png", "d/test/cat/1.png")).toEqual([
    ...["train", "train", "test"],
  ]);
});

test("IDX files are found by what they hold, once, and what is none of bytes is named", async () => {
  const [pictures, labels] = [idx(8, 6, 8, 8), idx(8, 6)];
  // A training part alone does not say what tests.
  const named = (path: string) => [[[path, "y_train.idx", null]], []];
  const rest = [file("y_train.idx", labels), file("readme", "idx3")];
  expect(await found([file("x_train.idx", pictures), ...rest], false)).toEqual(named("x_train.idx"));
  // Twice: packed, and as Kaggle has MNIST, in a folder of its own name.
  const twice = [file("x_train.idx.gz", gzipSync(pictures)), file("y_train-idx/y_train.idx", labels)];
  expect(await found([file("x_train.idx", pictures), ...rest, ...twice], false)).toEqual(named("x_train.idx"));
  expect(await found([file("x_train.idx.gz", gzipSync(pictures)), ...rest], false)).toEqual(named("x_train.idx.gz"));
  const ints = found([file("x_train.idx", pictures), file("y_train.idx", idx(12, 6))], false);
  await expect(ints).rejects.toThrow("y_train.idx is an IDX file of other numbers than bytes (type 0x0c)");
  const packed = gzipSync(labels);
  const cut = found([file("x_train.idx", pictures), file("y_train.idx.gz", packed.subarray(0, 12))], false);
  await expect(cut).rejects.toThrow("y_train.idx.gz cannot be unpacked: it is damaged.");
  const half = found([file("x_train.idx", pictures)], false);
  await expect(half).rejects.toThrow(IdxError);
  await expect(found([file("x", pictures), file("y", labels), file("fer.csv", FACES)])).rejects.toThrow(
    "IDX files, and fer.csv",
  );
});

test("what is no data set is named for what it is", async () => {
  const tar = new Uint8Array(1024);
  tar.set(new TextEncoder().encode("ustar"), 257);
  await expect(found([file("fer2013.tar.gz", gzipSync(tar))])).rejects.toThrow(
    "fer2013.tar.gz is a tar file or another archive",
  );
  await expect(found([file("a.txt", "hello")])).rejects.toThrow(DataSetError);
  expect(await found([file("archive.zip", Uint8Array.of(0x50, 0x4b, 3, 4)), file("a.txt", "hello")])).toEqual([
    "zip",
    "archive.zip",
    [],
  ]);
});

test("what is damaged further on breaks where it is read, in one sentence", async () => {
  const packed = gzipSync(Uint8Array.from({ length: 200_000 }, (_, i) => (i * i * 31) >> 7));
  const looked = {
    file: file("x.gz", packed.subarray(0, packed.length - 50)),
    kind: "text",
    isPacked: true,
    head: packed,
  } as const;
  let read = 0;
  const reading = async () => {
    for await (const piece of plainOf(looked)) read += piece.length;
  };
  await expect(reading()).rejects.toThrow(new PackedError("x.gz cannot be unpacked: it is damaged."));
  expect(read).toBeGreaterThan(0);
});
