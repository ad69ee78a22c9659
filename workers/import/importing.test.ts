import "fake-indexeddb/auto";
import { gzipSync } from "node:zlib";
import { BlobWriter, TextReader, ZipWriter } from "@zip.js/zip.js";
import { beforeEach, expect, test, vi } from "vitest";
import { readDataset } from "../../src/lab/store";
import { run } from "./importing";
import type { ImportFile, ImportSaid } from "./api";

/** What the page imports, without a browser; pictures need one to be read, and are named here. */

beforeEach(() => void vi.stubGlobal("navigator", {}));

const named = (path: string, content: BlobPart): ImportFile => ({
  path,
  file: new File([content], path.split("/").at(-1) ?? ""),
});
const FACES: ImportSaid = { as: "faces", labels: null };
const imported = (files: ImportFile[], said: ImportSaid = FACES) => run(files, said, () => undefined);
const stored = async () => (await readDataset("fer2013")) ?? Promise.reject(new Error("nothing is stored"));

const face = (level: number): string => Array<number>(2304).fill(level).join(" ");
/** Labels one after the other, as a collection may be sorted; the level says which face it is. */
const csv = (count: number, client: (i: number) => string = (i) => `w${i % 3}`, name = "writer_id"): string =>
  [`emotion,${name},pixels`, ...Array.from({ length: count }, (_, i) => `${i % 7},${client(i)},${face(i)}`)].join("\n");

async function zipOf(files: Record<string, string>): Promise<Blob> {
  const zip = new ZipWriter(new BlobWriter());
  for (const [path, text] of Object.entries(files)) await zip.add(path, new TextReader(text));
  return zip.close();
}

test("faces without a part are split so that each label has a test, and are their clients'", async () => {
  const { report } = await imported([named("faces.csv", csv(140))]);
  expect(report).toMatchObject({ samples: 140, wrong: 0, clients: 3, nobodys: 0 });
  expect(report?.dataset.test).toEqual(Array(7).fill(2));
  const { train, test: tested } = await stored();
  for (const { pixels, clients, labels } of [train, tested]) {
    labels.forEach((label, i) => {
      const number = pixels[i * 2304] as number;
      expect([label, clients?.[i]]).toEqual([number % 7, (number % 3) + 1]);
    });
  }
});

test("a column that nobody would guess is named, and what is nobody's stays out of it, or is left out", async () => {
  const file = named(
    "faces.csv",
    csv(70, (i) => (i === 5 ? "" : `w${i % 3}`)),
  );
  const all = await imported([file]);
  expect(all.report).toMatchObject({ samples: 70, clients: 3, nobodys: 1 });
  expect((await stored()).train.clients?.filter((client) => client === 0)).toHaveLength(1);
  const said = await imported([file], { ...FACES, client: "writer_id" });
  expect(said.report).toMatchObject({ samples: 69, wrong: 1, nobodys: 0 });
  expect(said.report?.problems).toEqual(["Line 7: The column writer_id does not say whose it is."]);
  const other = named(
    "faces.csv",
    csv(70, (i) => `w${i % 3}`, "made by"),
  );
  expect((await imported([other])).report).toMatchObject({ samples: 70, clients: 0 });
  expect((await imported([other], { ...FACES, client: "Made By" })).report).toMatchObject({ samples: 70, clients: 3 });
  await expect(imported([other], { ...FACES, client: "painter" })).rejects.toThrow("There is no column painter");
});

test("the one CSV in a zip or a folder is found, whatever lies beside it", async () => {
  const notes = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`a/${i}.txt`, "note"]));
  for (const name of ["fer2013", "fer2013.txt", "z.csv"]) {
    const zip = named("download", await zipOf({ ...notes, "docs/figure.png": "", [name]: csv(20) }));
    const { report } = await imported([zip]);
    expect(report).toMatchObject({ samples: 20, wrong: 1 });
    expect(report?.problems).toEqual([`docs/figure.png: it is left out, for the data set is ${name}.`]);
  }
  const files = [named("d/fer", csv(20)), named("d/docs/figure.png", ""), named("d/.git/fer", csv(5))];
  expect((await imported(files)).report).toMatchObject({ samples: 20, wrong: 1 });
});

test("what cannot be read is named in one sentence", async () => {
  const tar = new Uint8Array(1024);
  tar.set(new TextEncoder().encode("ustar"), 257);
  await expect(imported([named("fer2013.tar.gz", gzipSync(tar))])).rejects.toThrow("fer2013.tar.gz is a tar file");
  const packed = gzipSync(csv(60));
  const cut = named("fer.csv.gz", packed.subarray(0, packed.length - 20));
  await expect(imported([cut])).rejects.toThrow("fer.csv.gz cannot be unpacked: it is damaged.");
  await expect(imported([named("a/readme", "hello"), named("a/b.txt", "x")])).rejects.toThrow("It holds no picture");
  // Pictures of a kind that this does not read are pictures, each of them named.
  // In the order of their paths, whatever a browser gives first.
  const tiffs = ["sad", "happy"].map((label) => named(`f/${label}/1.tiff`, "II*\0"));
  await expect(imported(tiffs)).rejects.toThrow(
    "No picture could be used. f/happy/1.tiff: it could not be read as a picture",
  );
});
