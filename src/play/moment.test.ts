import { expect, test } from "vitest";
import { bestMoment, type Seen } from "./moment";

const HAPPY = 3;
const BOX = { x: 0, y: 0, width: 1, height: 1, confidence: 1, hasCompany: false };

/** A frame that is happy by so much and else neutral. */
const frame = (at: number, happy: number): Seen => ({
  at,
  sighting: {
    face: BOX,
    pixels: Uint8Array.of(at / 10),
    probabilities: [0, 0, 0, happy, 0, 0, 1 - happy],
  },
});
const blind = (at: number): Seen => ({ at, sighting: { face: null } });

test("a blink in the last frame costs nothing", () => {
  const smile = Array.from({ length: 15 }, (_, i) => frame(i * 100, 0.9));
  const found = bestMoment([...smile, frame(1500, 0.05)], HAPPY);
  expect(found?.probabilities[HAPPY]).toBeCloseTo(0.9);
  expect(bestMoment([...smile, blind(1500)], HAPPY)?.probabilities[HAPPY]).toBeCloseTo(0.9);
});

test("one lucky frame among dull ones is not what counts", () => {
  const dull = Array.from({ length: 16 }, (_, i) => frame(i * 100, i === 8 ? 1 : 0.1));
  // Five frames are within half a second: (1 + 4 * 0.1) / 5.
  expect(bestMoment(dull, HAPPY)?.probabilities[HAPPY]).toBeCloseTo(0.28);
  const first = Array.from({ length: 16 }, (_, i) => frame(i * 100, i === 0 ? 1 : 0.1));
  expect(bestMoment(first, HAPPY)?.probabilities[HAPPY]).toBeLessThan(0.3);
  // What is kept is the frame that shows it.
  expect(bestMoment(dull, HAPPY)?.pixels[0]).toBe(80);
});

test("a single look is taken as it is, and nobody seen is nobody judged", () => {
  expect(bestMoment([frame(0, 0.4)], HAPPY)).toEqual({
    pixels: Uint8Array.of(0),
    probabilities: [0, 0, 0, 0.4, 0, 0, 0.6],
  });
  expect(bestMoment([], HAPPY)).toBeNull();
  expect(bestMoment([blind(0), blind(100)], HAPPY)).toBeNull();
  expect(
    bestMoment([{ at: 0, sighting: { face: BOX, pixels: new Uint8Array(1), probabilities: null } }], 0),
  ).toBeNull();
});
