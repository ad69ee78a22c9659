import fc from "fast-check";
import { expect, test } from "vitest";
import { FACE_PIXELS } from "../model/expressions";
import { FerCsvError, FerCsvReader, type FerFace } from "./fer-csv";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Reads a text in pieces of the given sizes. */
function read(text: string | Uint8Array, sizes: readonly number[] = [1 << 20]): (FerFace | FerCsvError)[] {
  const bytes = typeof text === "string" ? bytesOf(text) : text;
  const reader = new FerCsvReader();
  const rows: (FerFace | FerCsvError)[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    rows.push(...reader.push(bytes.subarray(at, at + size)));
    at += size;
  }
  return [...rows, ...reader.finish()];
}

const pixels = (fill: (i: number) => number | string = (i) => i % 256, count = FACE_PIXELS): string =>
  Array.from({ length: count }, (_, i) => fill(i)).join(" ");
const codes = (rows: (FerFace | FerCsvError)[]): (string | number)[] =>
  rows.map((row) => (row instanceof FerCsvError ? `${row.code} ${row.line}` : row.label));

test("both layouts of the competition, quoted or not, with either kind of line end, and columns in any order", () => {
  const face = pixels();
  const short = read(`emotion,pixels\n0,"${face}"\n6,"${face}"\n`);
  expect(codes(short)).toEqual([0, 6]);
  expect(short[0]).toMatchObject({ line: 2, usage: null });
  const long = read(`\uFEFFemotion, Usage, pixels\r\n3,Training,${face}\r\n\r\n4,PublicTest,${face}`);
  expect(codes(long)).toEqual([3, 4]);
  expect(long.map((row) => (row as FerFace).usage)).toEqual(["Training", "PublicTest"]);
  const turned = read(`pixels,Usage,emotion\n${face},PrivateTest,5\n`);
  expect(turned[0]).toMatchObject({ label: 5, usage: "PrivateTest" });
  expect(Array.from((turned[0] as FerFace).pixels)).toEqual(face.split(" ").map(Number));
});

test("a wrong line is named and left out, and the good ones stay", () => {
  const good = `1,"${pixels()}"\n`;
  const rows = read(
    [
      "emotion,pixels\n",
      good,
      `7,"${pixels()}"\n`,
      `angry,"${pixels()}"\n`,
      good,
      `2,"${pixels((i) => i % 256, FACE_PIXELS - 1)}"\n`,
      `2,"${pixels((i) => (i === 9 ? 256 : 0))}"\n`,
      `2,"${pixels((i) => (i === 9 ? "-1" : 0))}"\n`,
      `2,"${pixels((i) => i % 256, 30_000)}"\n`,
      "2\n",
      good,
      `3,"${pixels((i) => i % 256, 100)}`,
    ].join(""),
  );
  expect(codes(rows)).toEqual([
    ...[1, "bad-label 3", "bad-label 4", 1, "wrong-pixel-count 6", "bad-pixel 7", "bad-pixel 8"],
    ...["line-too-long 9", "wrong-pixel-count 10", 1, "truncated 12"],
  ]);
  const messages = rows.flatMap((row) => (row instanceof FerCsvError ? [row.message] : []));
  expect(messages[0]).toBe('Line 3: The emotion is a number from 0 to 6, not "7".');
  expect(messages[2]).toBe("Line 6: A face has 2304 pixels; there are 2303.");
  expect(messages[3]).toBe('Line 7: Pixel 10 is a grey level from 0 to 255, not "256".');
});

test("a file that is no CSV of faces is refused at once, however long it is", () => {
  const refusal = (bytes: string | Uint8Array): string => {
    try {
      read(bytes);
    } catch (error) {
      if (error instanceof FerCsvError) return error.code;
      throw error;
    }
    return "taken";
  };
  expect(refusal("")).toBe("not-csv");
  expect(refusal("label,image\n1,cat.png\n")).toBe("wrong-header");
  expect(refusal(new Uint8Array(5000).fill(7))).toBe("not-csv");
  expect(refusal(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0x0a, 0x0a))).toBe("not-csv");
});

test("where the pieces are cut makes no difference", () => {
  const file = `emotion,Usage,pixels\n${[0, 9, 5].map((label) => `${label},Training,${pixels((i) => (i * label) % 256)}\n`).join("")}2,Training,1 2`;
  const whole = read(file);
  expect(codes(whole)).toEqual([0, "bad-label 3", 5, "truncated 5"]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 8 }), (sizes) => {
      expect(read(file, sizes)).toEqual(whole);
    }),
    { numRuns: 60 },
  );
});

test("no bytes at all make it throw anything but its own error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (noise, withHeader) => {
      const head = withHeader ? bytesOf("emotion,pixels\n") : new Uint8Array(0);
      try {
        for (const row of read(Uint8Array.from([...head, ...noise]))) expect(row).toBeInstanceOf(FerCsvError);
      } catch (error) {
        expect(error).toBeInstanceOf(FerCsvError);
      }
    }),
    { numRuns: 2000 },
  );
});
