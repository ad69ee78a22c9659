import { expect, test } from "vitest";
import { hasColour, OwnDataError, OwnLabels, shapeOfNumbers, whyNoSize } from "./own-labels";

test("every word is a label, numbers in their order before names, whatever came first", () => {
  const labels = new OwnLabels();
  const read = ["dog", " Cat ", "10", "2", "cat", ""].map((word) => labels.read(word));
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

test("a task's labels stay what they are, with examples or without", () => {
  const labels = new OwnLabels(null, ["square", "circle", "star"]);
  expect(["circle", "STAR", "cross"].map((word) => labels.read(word))).toEqual([1, 2, null]);
  expect(labels.why("cross")).toContain("none of square, circle, star");
  expect(labels.finish()).toEqual({ labels: ["square", "circle", "star"], places: [0, 1, 2] });
});

test("one label tells nothing apart, and more than a network may have are left out", () => {
  const one = new OwnLabels();
  one.read("cat");
  expect(() => one.finish()).toThrow(OwnDataError);
  const many = new OwnLabels();
  const read = Array.from({ length: 70 }, (_, i) => many.read(`label ${i}`));
  expect(read.filter((label) => label === null)).toHaveLength(6);
  expect(many.finish().labels).toHaveLength(64);
});

test("so many numbers are a square in grey or in colour, or of the size that somebody says", () => {
  expect(shapeOfNumbers(2304, null)).toEqual({ height: 48, width: 48, channels: 1 });
  expect(shapeOfNumbers(3072, null)).toEqual({ height: 32, width: 32, channels: 3 });
  expect(shapeOfNumbers(480, null)).toBeNull();
  expect(shapeOfNumbers(480, { height: 24, width: 20 })).toEqual({ height: 24, width: 20, channels: 1 });
  expect(shapeOfNumbers(1440, { height: 24, width: 20 })).toEqual({ height: 24, width: 20, channels: 3 });
  expect(shapeOfNumbers(960, { height: 24, width: 20 })).toBeNull();
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
