import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { byAgreement, crossEntropy, majorityOf, mark, parseVotes, sharesOf, VOTE_COLUMNS } from "./exam";

const VOTES = process.env["FERPLUS_PUBLIC_TEST"] ?? "../shared/fer2013/ferplus-publictest.csv";
const votes = (...named: [number, number][]): number[] =>
  VOTE_COLUMNS.map((_, i) => named.reduce((sum, [column, count]) => sum + (column === i ? count : 0), 0));
const sure = (label: number, confidence = 1): number[] =>
  Array.from({ length: 7 }, (_, i) => (i === label ? confidence : (1 - confidence) / 6));

test("votes are read row by row, and empty cells are no votes", () => {
  const csv = `${VOTE_COLUMNS.join()}\n0,0,0,9,0,0,0,0,1,0\r\n,,,,,,,,,\n`;
  expect(parseVotes(csv)).toEqual([votes([3, 9], [8, 1]), votes()]);
});

test("files that are not votes are refused", () => {
  expect(() => parseVotes("emotion,pixels\n0,1 2 3")).toThrow("first line");
  expect(() => parseVotes(`${VOTE_COLUMNS.join()}\n1,2,3`)).toThrow("line 2");
  expect(() => parseVotes(`${VOTE_COLUMNS.join()}\n1,0,0,0,0,0,0,0,0,-1`)).toThrow("line 2");
  expect(() => parseVotes(`${VOTE_COLUMNS.join()}\n1,0,0,0,0.5,0,0,0,0,0`)).toThrow("line 2");
});

test("a majority is the one expression that more people name than anything else", () => {
  expect(majorityOf(votes([6, 4], [4, 3], [7, 3]))).toBe(6);
  expect(majorityOf(votes([0, 5], [6, 5]))).toBeNull();
  expect(majorityOf(votes([9, 6], [3, 4]))).toBeNull();
  expect(majorityOf(votes([3, 4], [7, 4], [8, 2]))).toBeNull();
  expect(majorityOf(votes())).toBeNull();
});

test("shares leave out what is not an expression, and faces that are mostly something else", () => {
  expect(sharesOf(votes([1, 6], [0, 2], [7, 2]))).toEqual([0.25, 0.75, 0, 0, 0, 0, 0]);
  expect(sharesOf(votes([3, 4], [9, 6]))).toBeNull();
  expect(sharesOf(votes())).toBeNull();
});

test("marks count the faces that have a right answer", () => {
  const answers = [sure(0, 0.9), sure(1, 0.7), sure(1, 0.7), sure(6)];
  const { faces, accuracy, recall, confusion, calibrationError } = mark(answers, [0, 1, 0, null]);
  expect({ faces, accuracy }).toEqual({ faces: 3, accuracy: 2 / 3 });
  expect(recall).toEqual([0.5, 1, null, null, null, null, null]);
  expect(confusion.slice(0, 2).map((row) => row.slice(0, 2))).toEqual([
    [1, 1],
    [0, 1],
  ]);
  // One of one right at 0.9, one of two at 0.7: (|0.9 - 1| + |1.4 - 1|) / 3.
  expect(calibrationError).toBeCloseTo(0.5 / 3, 12);
});

test("cross-entropy is that of a fair coin where two expressions share the votes", () => {
  const half = [0.5, 0, 0, 0.5, 0, 0, 0];
  expect(crossEntropy([half], [half])).toBeCloseTo(Math.LN2, 12);
  expect(crossEntropy([half, sure(2)], [half, null])).toBeCloseTo(Math.LN2, 12);
});

test("agreement groups faces by the share of votes for the winner, whoever else was asked", () => {
  const rows = [
    votes([3, 10]),
    votes([3, 5]),
    votes([4, 8], [6, 2]),
    votes([4, 6], [6, 4]),
    votes([4, 4], [6, 3], [0, 3]),
  ];
  const groups = byAgreement([sure(3), sure(0), sure(4), sure(6), sure(4)], rows);
  expect(groups).toEqual({
    "10 of 10": { faces: 2, accuracy: 0.5 },
    "8 or 9": { faces: 1, accuracy: 1 },
    "6 or 7": { faces: 1, accuracy: 0 },
    fewer: { faces: 1, accuracy: 1 },
  });
});

test.skipIf(!existsSync(VOTES))("FER+'s own file: most faces have a majority, and it is most often neutral", () => {
  const rows = parseVotes(readFileSync(VOTES, "utf8"));
  expect(rows).toHaveLength(3589);
  const winners = rows.map(majorityOf).filter((winner) => winner !== null);
  expect(winners.length).toBeGreaterThan(3300);
  expect(winners.filter((winner) => winner === 6).length / winners.length).toBeGreaterThan(0.3);
});
