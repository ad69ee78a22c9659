import fc from "fast-check";
import { expect, test } from "vitest";
import { cellsOf, CsvSplitter } from "./csv";

const text = new TextDecoder();

/** Each record as [line, cells], or [line, fault]. @param cut lengths of the pieces in which the text comes */
function split(file: string, longest = 100, cut: readonly number[] = [1 << 20]): unknown[][] {
  const bytes = new TextEncoder().encode(file);
  const splitter = new CsvSplitter(longest);
  const found = [];
  for (let at = 0, i = 0; at < bytes.length; at += cut[i % cut.length] ?? 1, i++) {
    found.push(...splitter.push(bytes.subarray(at, at + (cut[i % cut.length] ?? 1))));
  }
  found.push(...splitter.push(new Uint8Array(0), true));
  return found.map(({ line, cells, fault }) => [
    line,
    ...(fault === null ? cells.map((cell) => text.decode(cell)) : [fault]),
  ]);
}

/** As `csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)` of Python 3.11 and its `line_num` have them. */
const PYTHON: [string, unknown[][]][] = [
  [
    "a,b\nc,d\n",
    [
      [1, "a", "b"],
      [2, "c", "d"],
    ],
  ],
  [
    "a,b\r\nc,d",
    [
      [1, "a", "b"],
      [2, "c", "d"],
    ],
  ],
  [
    '"a,b",c\n"d ""e"" f",""\n',
    [
      [1, "a,b", "c"],
      [2, 'd "e" f', ""],
    ],
  ],
  [
    '"a\nb",c\r\nd,e\n',
    [
      [1, "a\nb", "c"],
      [3, "d", "e"],
    ],
  ],
  [
    'a,"b\r\nc\n",d\ne,f,g\n',
    [
      [1, "a", "b\r\nc\n", "d"],
      [4, "e", "f", "g"],
    ],
  ],
  [
    ",\n,,\n",
    [
      [1, "", ""],
      [2, "", "", ""],
    ],
  ],
  [
    '""\n"",""\n',
    [
      [1, ""],
      [2, "", ""],
    ],
  ],
  ['a, "b, c",d\n', [[1, "a", "b, c", "d"]]],
  ['5" screen,x\n', [[1, '5" screen', "x"]]],
  ['"""",x\n', [[1, '"', "x"]]],
  [
    '"x""\n""y",z\n1,2\n',
    [
      [1, 'x"\n"y', "z"],
      [3, "1", "2"],
    ],
  ],
  ['é,"ü,ß"\n', [[1, "é", "ü,ß"]]],
];

test.each(PYTHON)("%j is split as Python splits it", (file, records) => {
  expect(split(file)).toEqual(records);
});

test("a mark before the first cell is none of its text, blanks beside quotes are not, and a record can be split once more", () => {
  expect(split('\uFEFF"a,b" ,\tc\t\n')).toEqual([[1, "a,b", "c"]]);
  const [record] = new CsvSplitter(100).push(new TextEncoder().encode('"a\nb",c\r\nd'));
  expect(cellsOf(record?.bytes ?? new Uint8Array(0)).map((cell) => text.decode(cell))).toEqual(["a\nb", "c"]);
});

test("a line that is wrong costs itself, and the next ones stay", () => {
  const open = 'a,"b\n1,2\n3,4\n';
  expect(split(open)).toEqual([
    [1, "open-quote"],
    [2, "1", "2"],
    [3, "3", "4"],
  ]);
  // The quote of the next line ends the cell, and there is more behind it.
  expect(split('a,"b\nc,"d"\n1,2\n')).toEqual([
    [1, "bad-quote"],
    [2, "c", "d"],
    [3, "1", "2"],
  ]);
  expect(split(`${"x".repeat(101)},y\n1,2\n`)).toEqual([
    [1, "too-long"],
    [2, "1", "2"],
  ]);
  expect(split(`a,"${"\n".repeat(150)}`).slice(0, 2)).toEqual([
    [1, "open-quote"],
    [2, ""],
  ]);
  // A file may end within its last cell.
  expect(split('a,b\nc,"1 2')).toEqual([
    [1, "a", "b"],
    [2, "c", "1 2"],
  ]);
});

test("where the pieces are cut makes no difference", () => {
  const part = fc.constantFrom("a", ",", '"', '""', "\n", "\r\n", " ", '"a,b"', '"a\nb"', "é", "x".repeat(15));
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
      (parts, cut) => {
        expect(split(parts.join(""), 20, cut)).toEqual(split(parts.join(""), 20));
      },
    ),
    { numRuns: 500 },
  );
});
