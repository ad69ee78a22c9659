import { expect, test } from "vitest";
import { isPicture, placesOf, visible } from "./image-folder";

test.each([
  ["archive/train/happy/im0.png", { word: "happy", usage: "train", client: "archive" }],
  ["test/Angry/1.JPG", { word: "Angry", usage: "test", client: null }],
  ["faces/Sadness/a.b.webp", { word: "Sadness", usage: null, client: "faces" }],
  ["validation/6/x.jpeg", { word: "6", usage: "test", client: null }],
  ["Private_Test/6/x.jpeg", { word: "6", usage: "test", client: null }],
  // As PowerShell's Compress-Archive of old wrote them.
  ["archive\\train\\happy\\im0.png", { word: "happy", usage: "train", client: "archive" }],
  ["data/train/anna/happy/1.png", { word: "happy", usage: "train", client: "anna" }],
  ["x.png", { word: "", usage: null, client: null }],
  // A label's pictures for one purpose.
  ["data/cat/train/1.png", { word: "cat", usage: "train", client: "data" }],
  ["train/1.png", { word: "", usage: "train", client: null }],
])("%s", (path, place) => {
  expect(placesOf([path])).toEqual([place]);
});

const wordsOf = (...paths: string[]) => placesOf(paths).map(({ word, usage, client }) => [word, usage, client]);

test("train and test are what pictures are for, or a label, by what lies beside them", () => {
  expect(wordsOf("v/bus/1.png", "v/car/1.png", "v/train/1.png")).toEqual([
    ["bus", null, "v"],
    ["car", null, "v"],
    ["train", null, "v"],
  ]);
  expect(wordsOf("train/bus/1.png", "train/train/1.png", "test/bus/1.png", "test/train/1.png")).toEqual([
    ["bus", "train", null],
    ["train", "train", null],
    ["bus", "test", null],
    ["train", "test", null],
  ]);
  expect(wordsOf("p/ann/cat/train/1.png", "p/ann/cat/test/1.png", "p/ann/dog/train/1.png")).toEqual([
    ["cat", "train", "ann"],
    ["cat", "test", "ann"],
    ["dog", "train", "ann"],
  ]);
  // A part without labels has none, and neither has a stray picture beside the labels.
  expect(wordsOf("d/train/cat/1.png", "d/train/dog/1.png", "d/test/1.png")[2]).toEqual(["", "test", null]);
  expect(wordsOf("d/train/cat/1.png", "d/train/dog/1.png", "d/train/cover.png")[2]).toEqual(["", "train", null]);
});

test("a picture beside the folders of the labels makes no label of the folder around them all", () => {
  expect(wordsOf("own/cat/1.png", "own/cover.png", "own/dog/1.png").map(([word]) => word)).toEqual(["cat", "", "dog"]);
  // Of a single folder nothing else says what its pictures show; and pictures of a label may lie in folders of their own, too.
  expect(wordsOf("cat/1.png", "cat/2.png").map(([word]) => word)).toEqual(["cat", "cat"]);
  expect(wordsOf("cat/1.png", "cat/old/2.png", "dog/1.png").map(([word]) => word)).toEqual(["cat", "old", "dog"]);
});

test("what is hidden, and what systems make, is not looked at, whatever the folder around it is called", () => {
  const seen = (...paths: string[]) => visible(paths.map((path) => ({ path }))).map(({ path }) => path);
  expect(
    seen(
      ...["cat/1.png", "cat/.hidden.png", "__MACOSX/cat/._1.png", ".ipynb_checkpoints/1-checkpoint.png"],
      ...["cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "dog/.ipynb_checkpoints/1.png", "fer.csv"],
    ),
  ).toEqual(["cat/1.png", "fer.csv"]);
  expect(seen(".cache/cat/1.png", ".cache/dog/1.png", ".cache/.git/x.png")).toHaveLength(2);
  expect(seen("1.png")).toEqual(["1.png"]);
});

test("a picture of a kind that not everything reads is a picture", () => {
  expect(["a.tif", "a.TIFF", "face.pgm", "a.heic", "b.jpg", "notes.txt", "tif"].filter(isPicture)).toHaveLength(5);
});
