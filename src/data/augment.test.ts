import fc from "fast-check";
import { expect, test } from "vitest";
import { augment, balancedWeights, placed } from "./augment";

const face = fc.uint8Array({ minLength: 2304, maxLength: 2304 });

test("an augmented face is the same for the same seed, another for another, and leaves the original alone", () => {
  fc.assert(
    fc.property(face, fc.nat(), (pixels, seed) => {
      const before = pixels.slice();
      const once = augment(pixels, seed);
      expect(augment(pixels, seed)).toEqual(once);
      expect(pixels).toEqual(before);
      expect(augment(pixels, seed + 1)).not.toEqual(once);
    }),
    { numRuns: 20 },
  );
});

test("levels stay between the face's own, 15 % either way", () => {
  fc.assert(
    fc.property(face, fc.nat(), (pixels, seed) => {
      const out = augment(pixels, seed);
      expect(Math.min(...out)).toBeGreaterThanOrEqual(Math.floor(Math.min(...pixels) * 0.85));
      expect(Math.max(...out)).toBeLessThanOrEqual(Math.ceil(Math.max(...pixels) * 1.15));
    }),
    { numRuns: 20 },
  );
});

test("a grey face stays evenly grey, and a bright middle stays near the middle", () => {
  const grey = augment(new Uint8Array(2304).fill(100), 5);
  expect(new Set(grey).size).toBe(1);
  const spot = new Uint8Array(2304);
  for (let y = 22; y < 26; y++) spot.fill(200, y * 48 + 22, y * 48 + 26);
  for (let seed = 0; seed < 50; seed++) {
    const out = augment(spot, seed);
    const brightest = out.indexOf(Math.max(...out));
    expect(Math.abs((brightest % 48) - 23.5)).toBeLessThan(6);
    expect(Math.abs(Math.floor(brightest / 48) - 23.5)).toBeLessThan(6);
  }
});

test("balanced weights give every present label the same total, and the faces a mean of 1", () => {
  fc.assert(
    fc.property(fc.uint8Array({ min: 0, max: 6, minLength: 1, maxLength: 60 }), (labels) => {
      const weights = balancedWeights(labels, 7);
      const totals = [...new Set(labels)].map(
        (label) => labels.filter((l) => l === label).length * (weights[label] ?? 0),
      );
      for (const total of totals) expect(total).toBeCloseTo(totals[0] ?? 0, 9);
      const sum = labels.reduce((all, label) => all + (weights[label] ?? 0), 0);
      expect(sum / labels.length).toBeCloseTo(1, 9);
    }),
  );
});

test("a picture of no square in colour is moved and mirrored pixel by pixel", () => {
  // Two rows of three pixels, each of a colour of its own.
  const shape = { height: 2, width: 3, channels: 3 };
  const pixels = Uint8Array.from({ length: 18 }, (_, i) => i * 10);
  const still = { mirror: false, angle: 0, moveX: 0, moveY: 0, gain: 1 };
  expect(placed(pixels, still, shape)).toEqual(pixels);
  const pixel = (i: number): number[] => [i * 30, i * 30 + 10, i * 30 + 20];
  expect([...placed(pixels, { ...still, mirror: true }, shape)]).toEqual([2, 1, 0, 5, 4, 3].flatMap(pixel));
  // What comes from outside repeats the edge.
  expect([...placed(pixels, { ...still, moveX: 1 }, shape)]).toEqual([1, 2, 2, 4, 5, 5].flatMap(pixel));
  expect([...placed(pixels, { ...still, angle: Math.PI }, shape)]).toEqual([5, 4, 3, 2, 1, 0].flatMap(pixel));
});
