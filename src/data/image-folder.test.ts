import { expect, test } from "vitest";
import { placeOf } from "./image-folder";

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
  ["happy/notes.txt", null],
  ["happy/.hidden.png", null],
  ["__MACOSX/happy/im0.png", null],
])("%s", (path, place) => {
  expect(placeOf(path)).toEqual(place);
});
