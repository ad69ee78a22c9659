import fc from "fast-check";
import { expect, test } from "vitest";
import { FACE_PIXELS } from "../model/expressions";
import { FerCsvError, FerCsvReader, isFaceCsv, isPictureCsv, type FerFace, type OwnCsv } from "./fer-csv";
import { OwnLabels } from "./own-labels";

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
  expect(long.map((row) => (row as FerFace).usage)).toEqual(["train", "test"]);
  const turned = read(`pixels,Usage,emotion\n${face},PrivateTest,5\n`);
  expect(turned[0]).toMatchObject({ label: 5, usage: "test" });
  expect(Array.from((turned[0] as FerFace).pixels)).toEqual(face.split(" ").map(Number));
});

test("a wrong line is named and left out, and the good ones stay", () => {
  const good = `1,"${pixels()}"\n`;
  const rows = read(
    [
      "emotion,pixels\n",
      good,
      `7,"${pixels()}"\n`,
      `cross,"${pixels()}"\n`,
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
  expect(messages[0]).toBe('Line 3: The emotion is a number from 0 to 6 or its name, not "7".');
  expect(messages[2]).toBe("Line 6: A face has 2304 pixels; there are 2303.");
  expect(messages[3]).toBe('Line 7: Pixel 10 is a grey level from 0 to 255, not "256".');
});

test("a usage has one vocabulary, no usage says nothing, and an unknown word is named", () => {
  const usages = ["training", "Train", "", "PrivateTest", "Trainning"];
  const rows = read(`emotion,Usage,pixels\n${usages.map((usage) => `happy,${usage},${pixels()}\n`).join("")}`);
  expect(rows.map((row) => (row instanceof FerCsvError ? row.message : row.usage))).toEqual([
    ...["train", "train", null, "test"],
    'Line 6: The usage is Training, PublicTest or PrivateTest, not "Trainning".',
  ]);
});

test("a column says whose face it is, under any of its names", () => {
  for (const name of ["client", "User_ID", "subject"]) {
    const rows = read(`emotion,${name},pixels\n3,anna,${pixels()}\n3,,${pixels()}\n`);
    expect(rows.map((row) => (row as FerFace).client)).toEqual(["anna", null]);
  }
});

test.each([
  ["UTF-16 little-endian", Buffer.from(`\uFEFFemotion,pixels\n0,${pixels()}\n`, "utf16le"), "save it as UTF-8"],
  ["UTF-16 without a mark", Buffer.from(`emotion,pixels\n0,${pixels()}\n`, "utf16le"), "save it as UTF-8"],
  ["CR alone", Buffer.from(`emotion,pixels\r0,${pixels()}\r`), "LF line ends"],
  ["CR alone, short", Buffer.from("emotion,pixels,Usage\r0,1,Training\r"), "LF line ends"],
  ["no header", Buffer.from(`0,${pixels()}\n1,${pixels()}\n`), "put emotion,pixels"],
  ["no header, a column for each", Buffer.from(`0${",7".repeat(2304)}\n`), "as label,pixel0,pixel1"],
  ["Latin-1", Buffer.from(`emotion,pixels\nfr\u00f6hlich,${pixels()}\n`, "latin1"), "save the file as UTF-8"],
  ["no header, with a usage", Buffer.from(`"0","Training","${pixels()}"\n`), "put emotion,pixels"],
  ["semicolons", Buffer.from(`emotion;pixels\n0;${pixels()}\n`), "Separate the columns with commas"],
])("%s is refused with what to do", (_name, bytes, advice) => {
  for (const sizes of [[1 << 20], [700], [1]]) expect(() => read(bytes, sizes)).toThrow(advice);
});

test("a file's first bytes tell whether it is a CSV of faces", () => {
  expect(isFaceCsv(bytesOf(`emotion,pixels\n0,${pixels()}\n`).subarray(0, 4096))).toBe(true);
  for (const other of ["# Faces\nFrom 2013\n", "", "emotion", "a,b\n1,2\n"])
    expect(isFaceCsv(bytesOf(other))).toBe(false);
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

/** Reads a file that is not FER2013's. */
function readOwn(text: string | Uint8Array, said: Partial<OwnCsv> = {}) {
  const labels = new OwnLabels();
  const reader = new FerCsvReader(labels, { labels, column: null, size: null, ...said });
  const rows = [...reader.push(typeof text === "string" ? bytesOf(text) : text), ...reader.finish()];
  return { rows, shape: reader.shape, names: labels.finish().labels };
}

test("a file with other columns, labels and sizes is read, and its wrong lines are named", () => {
  const levels = pixels((i) => i % 200, 300);
  const text = [
    "\uFEFFWhat it is",
    `,Split,writer,"image data"\r\n`,
    `cat,train,ann,"${levels}"\n`,
    `"Dog",TEST,ben,${levels}\n`,
    `cat,train,ann,${pixels(() => 1, 299)}\n`,
    `cat,maybe,ann,${levels}\n`,
    `,train,ann,${levels}\n`,
    `cat,train,ann,${pixels((i) => (i === 5 ? 300 : 1), 300)}\n`,
  ].join("");
  const { rows, shape, names } = readOwn(text);
  expect(codes(rows)).toEqual([0, 1, "wrong-pixel-count 4", "bad-usage 5", "bad-label 6", "bad-pixel 7"]);
  expect(rows[1]).toMatchObject({ usage: "test", client: "ben" });
  expect([...(rows[0] as FerFace).pixels]).toEqual(levels.split(" ").map(Number));
  // 300 numbers are 10 x 10 in colour.
  expect(shape).toEqual({ height: 10, width: 10, channels: 3 });
  expect(names).toEqual(["Dog", "cat"]);
  expect(isPictureCsv(bytesOf(text))).toBe(true);
  expect(isPictureCsv(bytesOf("name,age\nann,5\n"))).toBe(false);
});

test("quoted cells are read as RFC 4180 has them", () => {
  // RFC 4180, section 2: commas, line ends and doubled quotes in quotes are text.
  const row = (label: string, note: string, level: number): string =>
    `"${label}","${note}","${pixels(() => level, 64)}"\n`;
  const text = [
    `kind,note,"im\nage"\n`,
    row("kind, 0", "two\nlines", 1),
    row('the ""other""', "", 2),
    row("kind, 0", "three\r\nmore\r\nlines", 3),
    `"kind, 0"x,a,${pixels(() => 4, 64)}\n`,
    `kind, 0,a,${pixels(() => 5, 64)}\n`,
    row("kind, 0", "", 6),
  ].join("");
  const { rows, names } = readOwn(text, { column: "kind" });
  expect(names).toEqual(["kind, 0", 'the "other"']);
  expect(codes(rows)).toEqual([0, 1, 0, "bad-quote 9", "wrong-cell-count 10", 0]);
  expect(rows.map((row) => row.line)).toEqual([3, 5, 6, 9, 10, 11]);
  expect(rows.flatMap((row) => (row instanceof FerCsvError ? [] : [row.pixels[63]]))).toEqual([1, 2, 3, 6]);
  expect((rows[4] as FerCsvError).message).toBe("Line 10: It has 4 cells, and there are 3 columns.");
  // Numbers may stand as a list is written, over several lines, too.
  const lists = readOwn(
    `a,b\nx,"[${Array.from({ length: 64 }, (_, i) => i).join(", ")}]"\ny,"[ 1${"\n 2".repeat(63)}]"\n`,
  );
  expect(lists.rows.map((row) => [...(row as FerFace).pixels].slice(0, 3))).toEqual([
    [0, 1, 2],
    [1, 2, 2],
  ]);
  const unquoted = `kind,image\n${`a${",5".repeat(64)}\n`.repeat(3)}`;
  expect(() => readOwn(unquoted)).toThrow("put what has a comma in it into quotes");
  const bare = `kind,image\n${`kind, 0,${pixels(() => 5, 64)}\n`.repeat(3)}`;
  expect(() => readOwn(bare)).toThrow(
    "more cells than its first line names (kind, image): put what has a comma in it into quotes",
  );
});

test("odd first lines of a file are named like any other, and what most of the first ones hold is what all are", () => {
  const good = Array.from({ length: 30 }, (_, i) => `${i % 2},${pixels(() => i, 64)}\n`).join("");
  const odd = [
    ["0,1 2 3", "wrong-pixel-count 2"],
    ["0,", "wrong-pixel-count 2"],
    [`0,${pixels(() => 1, 63)}`, "wrong-pixel-count 2"],
    // A square, too.
    [`0,${pixels(() => 1, 81)}`, "wrong-pixel-count 2"],
    [`0,-1 ${pixels(() => 1, 63)}`, "bad-pixel 2"],
    [`${pixels(() => 1, 64)},0`, "wrong-pixel-count 2"],
  ];
  for (const [line, code] of odd) {
    const { rows, shape } = readOwn(`label,img\n${line}\n${good}`);
    expect(shape).toEqual({ height: 8, width: 8, channels: 1 });
    expect(codes(rows).slice(0, 3)).toEqual([code, 0, 1]);
    expect(rows).toHaveLength(31);
  }
  // So it is where each number has its column.
  const wide = kaggle(64, [`"${pixels(() => 1, 64)}",5`, ...[1, 2, 3].map((i) => `${i},${levels(() => i, 64)}`)]);
  expect(codes(readOwn(wide).rows)).toEqual(["wrong-pixel-count 2", 0, 1, 2]);
  // The file may end before there are many lines, and a piece that was read may be written over.
  const labels = new OwnLabels();
  const reader = new FerCsvReader(labels, { labels, column: null, size: null });
  const piece = bytesOf(`label,img\na,${pixels(() => 7, 64)}\n`);
  const none = [...reader.push(piece)];
  piece.fill(0);
  expect(none).toEqual([]);
  expect([...reader.finish()].map((row) => (row as FerFace).pixels[63])).toEqual([7]);
});

test.each([
  [
    "semicolons",
    `label;img\n0;${pixels(() => 1, 64)}\n`,
    "Its columns are separated by semicolons: separate them with commas.",
  ],
  ["tabs", `label\timg\n0\t${pixels(() => 1, 64)}\n`, "Its columns are separated by tabs: separate them with commas."],
  [
    "no header",
    `cat,${pixels(() => 1, 64)}\ndog,${pixels(() => 1, 64)}\n`,
    "no header: put the names of its columns, as label,pixels,",
  ],
  [
    "no header, a column for each",
    `cat,${"5,".repeat(63)}6\n`,
    "no header: put the names of its columns into its first line, as label,pixel0",
  ],
  [
    "UTF-16 without a mark, turned",
    Buffer.from(`label,img\n0,${pixels(() => 1, 64)}\n`, "utf16le").swap16(),
    "save it as UTF-8",
  ],
  [
    "Latin-1",
    Buffer.from(`label,img\nf\u00e4hre,${pixels(() => 1, 64)}\n`, "latin1"),
    "Line 2: These bytes are not UTF-8",
  ],
  [
    "Latin-1 in its header",
    Buffer.from(`gr\u00f6\u00dfe,img\n0,${pixels(() => 1, 64)}\n`, "latin1"),
    "Line 1: These bytes are not UTF-8",
  ],
])("pictures with %s are refused with what to do", (_name, bytes, advice) => {
  expect(() => readOwn(bytes)).toThrow(advice);
});

test("a header may be long, and columns may be called by numbers", () => {
  const long = Array.from({ length: 40 }, (_, i) => `note ${"x".repeat(i + 30)}`).join(",");
  const { names } = readOwn(
    `label,${long},img\na,${",".repeat(40)}${pixels(() => 1, 64)}\nb,${",".repeat(40)}${pixels(() => 1, 64)}\n`,
    {
      column: "label",
    },
  );
  expect(names).toEqual(["a", "b"]);
  const counted = Array.from({ length: 64 }, (_, i) => i).join(",");
  expect(readOwn(`${counted},label\n${levels(() => 1, 64)},a\n${levels(() => 2, 64)},b\n`).names).toEqual(["a", "b"]);
});

test("labels count what was taken, and a column with nothing but different words is asked about", () => {
  const labels = new OwnLabels();
  const reader = new FerCsvReader(labels, { labels, column: null, size: null });
  const lines = ["a,Train,1", "b,Train,300", "a,Trainning,1", "c,Train,1", "a,Train,x", "A,,1"];
  const file = `label,usage,img\n${lines.map((line) => `${line} ${pixels(() => 1, 63)}\n`).join("")}`;
  expect(codes([...reader.push(bytesOf(file)), ...reader.finish()])).toEqual([
    0,
    "bad-pixel 3",
    "bad-usage 4",
    1,
    "bad-pixel 6",
    2,
  ]);
  expect(labels.table.map(({ word, count }) => `${word} ${count}`)).toEqual(["A 1", "a 1", "c 1"]);
  const ids = Array.from({ length: 1100 }, (_, i) => `id${i},${pixels(() => 1, 64)}\n`).join("");
  expect(() => readOwn(`id,img\n${ids}`)).toThrow(
    "The column id has over 1024 different labels: say which other holds the labels.",
  );
});

test("labels and clients are told from others by all of their letters, and by semicolons nobody's columns are separated", () => {
  const row = (label: string, who: string): string => `${label},${who},${pixels(() => 7, 64)}\n`;
  const [long, longer] = ["x".repeat(70), "y".repeat(101)];
  const { rows, names } = readOwn(
    `kind,user,levels\n${row(`${long}a`, `${long}1`)}${row(`${long}b`, `${long}2`)}${row(longer, "z")}${row("c", longer)}`,
  );
  expect(names).toEqual([`${long}a`, `${long}b`]);
  expect(rows.slice(0, 2).map((one) => (one as FerFace).client)).toEqual([`${long}1`, `${long}2`]);
  expect(codes(rows)).toEqual([0, 1, "bad-label 4", "no-client 5"]);
  // One comma more does not make it a CSV.
  for (const head of ["kind;levels", "kind;levels;note, if any"]) {
    expect(() => readOwn(`${head}\na;${pixels(() => 7, 64)};x\n`)).toThrow("separated by semicolons");
  }
});

test("what a file does not say itself is asked for, and never guessed", () => {
  const row = (label: string): string => `${label},x,${pixels(() => 7, 480)}\n`;
  const text = `kind,source,levels\n${row("a")}${row("b")}`;
  const size = { height: 24, width: 20 };
  expect(() => readOwn(text, { size })).toThrow(
    "Its columns are kind, source, levels, of which levels holds the pictures",
  );
  expect(() => readOwn(text, { size, column: "Label" })).toThrow("There is no column Label. There are: kind, source");
  expect(() => readOwn(text, { column: "kind" })).toThrow(
    "480 numbers, which is no square in grey or in colour: say their size. They may be 24 x 20 in grey, 20 x 24 in grey",
  );
  expect(() => readOwn(text, { column: "kind", size: { height: 9, width: 9 } })).toThrow(
    "not 9 x 9 in grey or in colour",
  );
  expect(() => readOwn(text, { column: "levels", size })).toThrow("say which holds the labels");
  expect(() => readOwn("kind,age\na,5\n")).toThrow("None of its columns (kind, age) holds pictures");
  expect(readOwn(text, { column: "kind", size })).toMatchObject({ names: ["a", "b"], shape: { ...size, channels: 1 } });
  expect(() => readOwn("kind,levels\n")).toThrow("There is no picture in it");
});

/** As Kaggle's `train.csv` of MNIST: a label and 784 columns. */
const kaggle = (count: number, rows: readonly string[]): string =>
  ["label", ...Array.from({ length: count }, (_, i) => `pixel${i}`)].join(",") + "\n" + rows.join("\n");
const levels = (fill: (i: number) => number | string, count: number): string =>
  Array.from({ length: count }, (_, i) => fill(i)).join(",");

test("a file with a column for each pixel is read, whatever they are called, and its wrong lines are named", () => {
  const text = kaggle(784, [
    `5,${levels((i) => i % 256, 784)}`,
    `0,${levels(() => 255, 784)}`,
    `1,${levels(() => 1, 700)}`,
    `1,${levels((i) => (i === 7 ? 256 : 0), 784)}`,
    `1,${levels((i) => (i === 7 ? "" : 0), 784)}`,
    `0,${levels(() => 3, 100)}`,
  ]);
  const { rows, shape, names } = readOwn(text);
  // Every line of 1 is wrong: it is no label.
  expect(names).toEqual(["0", "5"]);
  expect(shape).toEqual({ height: 28, width: 28, channels: 1 });
  expect(codes(rows)).toEqual([0, 1, "wrong-pixel-count 4", "bad-pixel 5", "bad-pixel 6", "truncated 7"]);
  expect([...(rows[0] as FerFace).pixels]).toEqual(Array.from({ length: 784 }, (_, i) => i % 256));
  expect(isPictureCsv(bytesOf(text).subarray(0, 4096))).toBe(true);
  // The other layout that goes round, with its label at the end, and a column that says whose it is.
  const names2 = Array.from({ length: 64 }, (_, i) => `${Math.floor(i / 8) + 1}x${(i % 8) + 1}`);
  const turned = readOwn(
    `${names2.join(",")},user,class\n${levels((i) => i, 64)},ann,a\n${levels(() => 0, 64)},ben,b\n`,
  );
  expect(turned).toMatchObject({ shape: { height: 8, width: 8 }, names: ["a", "b"] });
  expect(turned.rows.map((row) => (row as FerFace).client)).toEqual(["ann", "ben"]);
  expect([...(turned.rows[0] as FerFace).pixels]).toEqual(Array.from({ length: 64 }, (_, i) => i));
});

test("pixels in columns are no guess either: a size that is no square is asked for, and an order that is none is refused", () => {
  const text = kaggle(80, [`a,${levels(() => 1, 80)}`, `b,${levels(() => 2, 80)}`]);
  expect(() => readOwn(text)).toThrow("80 numbers, which is no square in grey or in colour: say their size");
  expect(readOwn(text, { size: { height: 8, width: 10 } }).shape).toEqual({ height: 8, width: 10, channels: 1 });
  const [head = "", ...rows] = kaggle(64, [`a,${levels(() => 1, 64)}`]).split("\n");
  const mixed = head.replace("pixel3,pixel4", "pixel4,pixel3");
  expect(() => readOwn([mixed, ...rows].join("\n"))).toThrow("not in their order: pixel3 comes behind pixel4");
  const two = `id,kind,${head.slice("label,".length)}\n1,a,${levels(() => 1, 64)}\n`;
  expect(() => readOwn(two)).toThrow("Its columns are id, kind, ..., of which pixel0 to pixel63 hold the pictures");
  // As faces such a file is refused at once, and with the code that has the import ask what it is.
  for (const count of [64, 784, 27_648]) {
    const reader = new FerCsvReader();
    const found = (): unknown[] => [...reader.push(bytesOf(kaggle(count, ["1"])))];
    expect(found).toThrow(expect.objectContaining({ code: "wrong-header" }));
  }
  // In small pieces, too.
  const reader = new FerCsvReader(new OwnLabels(), { labels: new OwnLabels(), column: null, size: null });
  const bytes = bytesOf(kaggle(784, [`1,${levels(() => 9, 784)}`]));
  const small = [];
  for (let at = 0; at < bytes.length; at += 900) small.push(...reader.push(bytes.subarray(at, at + 900)));
  expect([...small, ...reader.finish()]).toHaveLength(1);
});

test.each(["writer_id", "user_id", "Person ID", "participant", "subject", "client"])(
  "a column called %s says whose an example is",
  (name) => {
    const levels = pixels(() => 1, 64);
    const { rows } = readOwn(`kind,${name},levels\na,ann,${levels}\nb,,${levels}\n`);
    // Who is not said stays: only a natural partition needs it.
    expect(rows.map((row) => (row as FerFace).client)).toEqual(["ann", null]);
  },
);

test("a column that is named says whose an example is, and a line without it is named and left out", () => {
  const line = (who: string): string => `a,${who},x,${pixels(() => 1, 64)}`;
  const head = "kind,Made by,user,levels";
  const own = new OwnLabels();
  const readBy = (text: string, client: string, faces = false) => {
    const reader = faces
      ? new FerCsvReader(undefined, null, client)
      : new FerCsvReader(own, { labels: own, column: "kind", size: null }, client);
    return [...reader.push(bytesOf(text)), ...reader.finish()];
  };
  const rows = readBy([head, line("ann"), line(""), line("ben")].join("\n"), "Made by");
  expect(codes(rows)).toEqual([0, "no-client 3", 0]);
  expect((rows[2] as FerFace).client).toBe("ben");
  expect(() => readBy(`${head}\n${line("ann")}\n`, "painter")).toThrow(
    "There is no column painter that says whose each example is. There are: kind, madeby, user, levels.",
  );
  const face = `3,ann,${pixels(() => 1)}`;
  expect(readBy(`emotion,who,pixels\n${face}\n`, "who", true)).toMatchObject([{ client: "ann" }]);
  expect(() => readBy(`emotion,pixels\n3,${pixels(() => 1)}\n`, "who", true)).toThrow("There is no column who");
});
