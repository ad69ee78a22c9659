import { expect, test } from "vitest";
import { placeOf } from "./image-folder";

test.each([
  ["archive/train/happy/im0.png", { label: 3, usage: "Training" }],
  ["test/Angry/1.JPG", { label: 0, usage: "PublicTest" }],
  ["faces/Sadness/a.b.webp", { label: 4, usage: null }],
  ["validation/6/x.jpeg", { label: 6, usage: "PublicTest" }],
  ["faces/holiday/x.png", "unknown"],
  ["x.png", "unknown"],
  ["faces/7/x.png", "unknown"],
  ["happy/notes.txt", null],
  ["happy/.hidden.png", null],
  ["__MACOSX/happy/im0.png", null],
])("%s", (path, place) => {
  expect(placeOf(path)).toEqual(place);
});
