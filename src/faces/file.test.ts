import fc from "fast-check";
import { expect, test } from "vitest";
import type { Label } from "../model/expressions";
import { exportFaces, FaceFileError, importFaces, newFaces } from "./file";
import { SPLITS, type Face } from "./kept";

const label = fc.integer({ min: 0, max: 6 }) as fc.Arbitrary<Label>;
const face: fc.Arbitrary<Face> = fc.record({
  id: fc.nat(),
  pixels: fc.uint8Array({ minLength: 2304, maxLength: 2304 }).map((pixels) => new Uint8Array(pixels)),
  label,
  prompted: label,
  probabilities: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
  capturedAt: fc.nat(),
  split: fc.constantFrom(...SPLITS),
  score: fc.option(fc.integer({ min: 0, max: 100 })),
  needsAnswer: fc.boolean(),
});

test("faces come back from a file as they were, but for their ids", () => {
  fc.assert(
    fc.property(fc.array(face, { maxLength: 4 }), (faces) => {
      // -0 is no number of JSON.
      const expected = faces.map(({ id: _, ...one }) => ({
        ...one,
        probabilities: one.probabilities.map((p) => p + 0),
      }));
      expect(importFaces(exportFaces(faces, [], { sent: {} }))).toEqual(expected);
    }),
    { numRuns: 30 },
  );
});

const [one] = fc.sample(face, 1) as [Face];
const changed = (change: object): string => {
  const file = JSON.parse(exportFaces([one, one])) as { faces: object[] };
  return JSON.stringify({ ...file, faces: [file.faces[0], { ...file.faces[1], ...change }] });
};

test.each([
  ["no JSON", "{", /no JSON/],
  ["another format", JSON.stringify({ format: "x" }), /no faces of Best Actor/],
  ["a later version", JSON.stringify({ format: "best-actor-faces", version: 3, faces: [] }), /version 3/],
  ["a label that is none", changed({ label: 7 }), /Face 2.*label/],
  ["too few pixels", changed({ pixels: "AAAA" }), /Face 2.*3 pixels instead of 2304/],
  ["pixels that are no base64", changed({ pixels: "?" }), /Face 2.*base64/],
  ["a score above 100", changed({ score: 101 }), /Face 2.*score/],
  ["no word on whether it needs an answer", changed({ needsAnswer: undefined }), /Face 2.*needsAnswer/],
  ["six probabilities", changed({ probabilities: [1, 0, 0, 0, 0, 0] }), /Face 2.*probabilities/],
])("a file with %s is refused with the reason", (_, text, message) => {
  expect(() => importFaces(text)).toThrow(FaceFileError);
  expect(() => importFaces(text)).toThrow(message);
});

test("a file from before takes were questioned keeps every face, and asks of those that nobody has said anything about", () => {
  const { score: _score, needsAnswer: _needsAnswer, ...old } = one;
  const faces = [
    { ...old, prompted: 0, label: 0, split: "train", probabilities: [0.5, 0, 0, 0.4, 0.1, 0, 0] },
    { ...old, prompted: 0, label: 0, split: "train", probabilities: [0.4, 0, 0, 0.5, 0.1, 0, 0] },
    { ...old, prompted: 0, label: 3, split: "held-out" },
    { ...old, prompted: 0, label: 0, split: "excluded" },
  ].map((face) => ({ ...face, pixels: Buffer.from(face.pixels).toString("base64") }));
  const imported = importFaces(JSON.stringify({ format: "best-actor-faces", version: 1, faces }));
  expect(imported.map(({ split, needsAnswer, score }) => ({ split, needsAnswer, score }))).toEqual([
    { split: "train", needsAnswer: true, score: null },
    { split: "excluded", needsAnswer: true, score: null },
    { split: "held-out", needsAnswer: false, score: null },
    { split: "excluded", needsAnswer: false, score: null },
  ]);
  expect(imported.map(({ pixels }) => pixels)).toEqual(faces.map(() => old.pixels));
});

test("what is here already is not imported again", () => {
  const imported = importFaces(exportFaces([one, { ...one, capturedAt: one.capturedAt + 1 }, one]));
  expect(newFaces(imported, [one])).toHaveLength(1);
});
