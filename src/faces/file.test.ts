import fc from "fast-check";
import { expect, test } from "vitest";
import type { Label } from "../model/expressions";
import { FACE, type PictureShape } from "../data/own-labels";
import { exportExamples, FaceFileError, importFaces, importOf, newOnes } from "./file";
import { SPLITS, type Face, type Picture } from "./kept";

const label = fc.integer({ min: 0, max: 6 }) as fc.Arbitrary<Label>;
const face: fc.Arbitrary<Face> = fc.record({
  id: fc.nat(),
  pixels: fc.uint8Array({ minLength: 2304, maxLength: 2304 }).map((pixels) => new Uint8Array(pixels)),
  shape: fc.constant(FACE),
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
      expect(importFaces(exportExamples({ faces }, { sent: {} }))).toEqual(expected);
    }),
    { numRuns: 30 },
  );
});

const [one] = fc.sample(face, 1) as [Face];
const changed = (change: object): string => {
  const file = JSON.parse(exportExamples({ faces: [one, one] })) as { faces: object[] };
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
  const { score: _score, needsAnswer: _needsAnswer, shape: _shape, ...old } = one;
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
  expect(imported.map(({ shape }) => shape)).toEqual(faces.map(() => ({ height: 48, width: 48, channels: 1 })));
});

test("what is here already is not imported again", () => {
  const faces = [one, { ...one, capturedAt: one.capturedAt + 1 }, one];
  expect(newOnes(importFaces(exportExamples({ faces })), [one])).toHaveLength(1);
});

test("faces of a task of their own come back to that task, and never among the expressions", () => {
  const acted = { ...one, task: "winks", label: 1, prompted: 0, probabilities: [0.5, 0.5] } as Face;
  const file = exportExamples({ faces: [one, acted] });
  const { id: _, ...back } = acted;
  expect(importFaces(file).map(({ label }) => label)).toEqual([one.label]);
  // Nor does a page from before there were any take them for expressions.
  expect((JSON.parse(file) as { faces: object[] }).faces).toHaveLength(1);
  const of = { kind: "face", task: "winks", of: { input: FACE } } as const;
  expect(importOf(file, of)).toEqual([{ ...back, probabilities: back.probabilities.map((p) => p + 0) }]);
  expect(importOf(file, { ...of, task: "nods" })).toEqual([]);
});

/** Pictures of one task, of any size and colour. */
const pictures = fc
  .record({
    shape: fc.record({
      ...{ height: fc.integer({ min: 8, max: 96 }), width: fc.integer({ min: 8, max: 96 }) },
      channels: fc.constantFrom(1, 3),
    }) satisfies fc.Arbitrary<PictureShape>,
    seed: fc.nat(255),
    count: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ shape, seed, count }) =>
    Array.from({ length: count }, (_, id): Picture => ({
      ...{ id, shape, task: "things", label: id % 2, prompted: 1, probabilities: [0.25, 0.75], score: null },
      ...{ capturedAt: id, split: "train", needsAnswer: false, rounds: [{ task: "things", round: 1 }] },
      pixels: Uint8Array.from({ length: shape.height * shape.width * shape.channels }, (_, i) => (i * 7 + seed) % 256),
    })),
  );
const things = ({ shape }: Picture) =>
  ({ kind: "picture", task: "things", of: { labels: ["cup", "key"], input: shape } }) as const;

test("pictures of any size and colour come back from a file as they were, and those of another task stay where they are", () => {
  fc.assert(
    fc.property(pictures, (kept) => {
      const of = things(kept[0] as Picture);
      const others = kept.map((one) => ({ ...one, task: "others" }));
      const file = exportExamples({ pictures: [...others, ...kept] });
      expect(importOf(file, of)).toEqual(kept.map(({ id: _, ...one }) => one));
      expect(importOf(file, { ...of, kind: "drawing" })).toEqual([]);
      expect(importFaces(file)).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

test("what its task does not take any more comes back all the same: another size, other colours, fewer labels", () => {
  const [smaller] = fc.sample(pictures, 1) as [Picture[]];
  const kept = smaller.map((one) => ({
    ...one,
    label: 63,
    prompted: 5,
    probabilities: Array<number>(64).fill(1 / 64),
  }));
  const input = { height: 20, width: 97, channels: 3 };
  const of = { labels: ["cup", "key", "pen"], input };
  const read = importOf(exportExamples({ pictures: kept }), { kind: "picture", task: "things", of });
  expect(read).toEqual(kept.map(({ id: _, ...one }) => one));
});

test("drawings from before there was colour are read as the grey squares that they are", () => {
  const digits = { labels: ["0", "1"], input: { height: 28, width: 28, channels: 1 } };
  const old = { ...one, pixels: new Uint8Array(784).fill(5), label: 1, prompted: 1, probabilities: [0, 1] };
  const drawings = [{ ...old, shape: undefined as unknown as PictureShape }];
  const [read] = importOf(exportExamples({ drawings }), { kind: "drawing", task: undefined, of: digits });
  expect(read).toMatchObject({ shape: digits.input, pixels: old.pixels, label: 1 });
});

const [[picture]] = fc.sample(pictures, 1) as [[Picture]];
const { height, width, channels } = picture.shape;
test.each([
  [
    "more colours than its levels",
    { shape: { height, width, channels: 4 - channels } },
    /Picture 1.*pixels instead of/,
  ],
  ["two colours", { shape: { height, width, channels: 2 } }, /Picture 1.*shape.channels/],
  ["too short a side", { shape: { height: 7, width, channels } }, /Picture 1.*shape.height/],
  ["too long a side", { shape: { height, width: 97, channels } }, /Picture 1.*shape.width/],
  ["too few levels", { pixels: "AAAA" }, /Picture 1.*3 pixels instead of/],
  ["a label that no task has", { label: 64 }, /Picture 1.*label/],
  ["no probabilities", { probabilities: [] }, /Picture 1.*probabilities/],
  ["too many probabilities", { probabilities: Array<number>(65).fill(0) }, /Picture 1.*probabilities/],
  ["a task that is no name", { task: "../things" }, /Picture 1.*task/],
])("a picture with %s is refused with the reason", (_, change, message) => {
  const file = JSON.parse(exportExamples({ pictures: [picture] })) as { pictures: object[] };
  const text = JSON.stringify({ ...file, pictures: [{ ...file.pictures[0], ...change }] });
  expect(() => importOf(text, things(picture))).toThrow(FaceFileError);
  expect(() => importOf(text, things(picture))).toThrow(message);
});
