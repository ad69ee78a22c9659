import { expect, test } from "vitest";
import {
  hasColour,
  OwnDataError,
  OwnLabels,
  shapeOfNumbers,
  shapesInWords,
  shapesOfNumbers,
  whyNoSize,
} from "./own-labels";

test("every word is a label, numbers in their order before names, whatever came first", () => {
  const labels = new OwnLabels();
  const read = ["dog", " cat ", "10", "2", "cat", ""].map((word) => labels.read(word));
  expect(read).toEqual([0, 1, 2, 3, 1, null]);
  const { labels: names, places } = labels.finish();
  expect(names).toEqual(["2", "10", "cat", "dog"]);
  expect(read.map((number) => (number === null ? null : names[places[number] ?? NaN]))).toEqual([
    ...["dog", "cat", "10", "2", "cat", null],
  ]);
  expect(labels.table.map(({ word, count }) => [word, count])).toEqual([
    ["2", 1],
    ["10", 1],
    ["", 1],
    ["cat", 2],
    ["dog", 1],
  ]);
});

test("numbers are in their order however a table writes them, and letters are the same however they are composed", () => {
  const labels = new OwnLabels();
  const words = ["2", "1.0", "10.0", "0.0", "-1", "caf\u00e9", "cafe\u0301"];
  expect(words.map((word) => labels.read(word))).toEqual([0, 1, 2, 3, 4, 5, 5]);
  expect(labels.finish().labels).toEqual(["-1", "0.0", "1.0", "2", "10.0", "caf\u00e9"]);
  const said = new OwnLabels(new Map([["cafe\u0301", "bar"]]));
  expect(said.read("caf\u00e9")).toBe(0);
});

test("a label is told whole, or left out as too long, and never cut to another one's", () => {
  const labels = new OwnLabels();
  const long = "x".repeat(99);
  expect([`${long}a`, `${long}b`, `${long}ab`].map((word) => labels.read(word))).toEqual([0, 1, null]);
  expect(labels.why(`${long}ab`)).toContain("over 100 letters");
});

test("however many other words there are, a label that somebody has named is read", () => {
  const others = Array.from({ length: 1100 }, (_, i) => `other ${i}`);
  for (const labels of [new OwnLabels(new Map([["pen", "pen"]])), new OwnLabels(null, ["pen", "cup"])]) {
    for (const other of others) expect(labels.read(other)).toBeNull();
    expect(labels.read("pen")).toBe(0);
    expect(labels.isTooMany).toBe(false);
  }
});

test("what somebody says decides the names and their order, and what is not named is left out", () => {
  const labels = new OwnLabels(
    new Map([
      ["2", "dog"],
      ["1", "cat"],
      ["3", "dog"],
    ]),
  );
  expect(["1", "2", "3", "4"].map((word) => labels.read(word))).toEqual([1, 0, 0, null]);
  expect(labels.why("4")).toContain("left out");
  expect(labels.finish()).toEqual({ labels: ["dog", "cat"], places: [0, 1] });
  const misspelt = new OwnLabels(new Map([["cta", "cat"]]));
  misspelt.read("cat");
  expect(() => misspelt.finish()).toThrow("There is no example of cat. There are: cat (1).");
});

test("case tells labels apart, as in EMNIST's letters, and those that differ in nothing else are named", () => {
  const labels = new OwnLabels();
  expect(["a", "A", "b", "a"].map((word) => labels.read(word))).toEqual([0, 1, 2, 0]);
  expect(labels.finish().labels).toEqual(["A", "a", "b"]);
  expect(labels.alike).toEqual([["A", "a"]]);
  const same = new OwnLabels(
    new Map([
      ["Cat", "cat"],
      ["cat", "cat"],
      ["B", "b"],
    ]),
  );
  expect(["Cat", "cat", "B", "b"].map((word) => same.read(word))).toEqual([0, 0, 1, null]);
  expect(same.alike).toEqual([]);
});

test("what is dropped counts no more, and a label of which nothing is left is none", () => {
  const labels = new OwnLabels();
  for (const word of ["a", "b", "c", "a"]) labels.read(word);
  labels.drop("b");
  labels.drop(" a ");
  expect(labels.table).toEqual([
    { word: "a", name: "a", count: 1 },
    { word: "b", name: null, count: 0 },
    { word: "c", name: "c", count: 1 },
  ]);
  expect(labels.finish()).toEqual({ labels: ["a", "c"], places: [0, -1, 1] });
});

test("a task's labels stay what they are, with examples or without", () => {
  const labels = new OwnLabels(null, ["square", "circle", "star"]);
  expect(["circle", "STAR", "cross"].map((word) => labels.read(word))).toEqual([1, 2, null]);
  expect(labels.why("cross")).toContain("none of square, circle, star");
  expect(labels.finish()).toEqual({ labels: ["square", "circle", "star"], places: [0, 1, 2] });
  // What somebody says a word means must be a label of the task.
  const said = new Map([
    ["1", "Star"],
    ["2", "moon"],
  ]);
  const named = new OwnLabels(said, ["square", "circle", "star"]);
  expect(["1", "2"].map((word) => named.read(word))).toEqual([2, null]);
});

test("one label tells nothing apart, and more than a byte tells apart are refused and not cut", () => {
  const one = new OwnLabels();
  one.read("cat");
  expect(() => one.finish()).toThrow(OwnDataError);
  // As many as CIFAR-100 has.
  const some = new OwnLabels();
  for (let i = 0; i < 100; i++) some.read(`label ${i}`);
  expect(some.finish().labels).toHaveLength(100);
  const many = new OwnLabels();
  for (let i = 0; i < 257; i++) many.read(`label ${i}`);
  expect(() => many.finish()).toThrow("There are 257 labels, and at most 256 can be told apart: say which are taken.");
  // Two of them as one are few enough.
  const joined = new OwnLabels(new Map(Array.from({ length: 257 }, (_, i) => [`${i}`, i === 256 ? "0" : `${i}`])));
  for (let i = 0; i < 257; i++) joined.read(`${i}`);
  expect(joined.finish().labels).toHaveLength(256);
});

test("so many numbers are a square in grey or in colour, or of the size that somebody says", () => {
  expect(shapeOfNumbers(2304, null)).toEqual({ height: 48, width: 48, channels: 1 });
  expect(shapeOfNumbers(3072, null)).toEqual({ height: 32, width: 32, channels: 3 });
  expect(shapeOfNumbers(480, null)).toBeNull();
  expect(shapeOfNumbers(480, { height: 24, width: 20 })).toEqual({ height: 24, width: 20, channels: 1 });
  expect(shapeOfNumbers(1440, { height: 24, width: 20 })).toEqual({ height: 24, width: 20, channels: 3 });
  expect(shapeOfNumbers(960, { height: 24, width: 20 })).toBeNull();
  // By hand: 3,072 = 32 x 96 = 48 x 64, and a third of it 32 x 32 = 16 x 64; 8 is the shortest side, 96 the longest.
  expect(shapesInWords(shapesOfNumbers(3072), 9)).toBe(
    "32 x 32 in colour, 64 x 48 in grey, 48 x 64 in grey, 96 x 32 in grey, 32 x 96 in grey, 64 x 16 in colour or 16 x 64 in colour",
  );
  expect(shapesOfNumbers(997)).toEqual([]);
  expect(whyNoSize({ height: 96, width: 8 })).toBeUndefined();
  for (const size of [
    { height: 97, width: 8 },
    { height: 8, width: 7 },
    { height: 9.5, width: 20 },
  ]) {
    expect(whyNoSize(size)).toContain("each side has 8 to 96");
  }
});

test("a picture is in colour where red, green and blue of any pixel differ", () => {
  expect(hasColour(Uint8Array.of(5, 5, 5, 9, 9, 9))).toBe(false);
  expect(hasColour(Uint8Array.of(5, 5, 5, 9, 9, 8))).toBe(true);
});
