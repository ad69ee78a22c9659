import fc from "fast-check";
import { expect, test } from "vitest";
import { augmentFace, balancedWeights } from "./augment";

const face = fc.uint8Array({ minLength: 2304, maxLength: 2304 });

test("an augmented face is the same for the same seed, another for another, and leaves the original alone", () => {
  fc.assert(
    fc.property(face, fc.nat(), (pixels, seed) => {
      const before = pixels.slice();
      const once = augmentFace(pixels, seed);
      expect(augmentFace(pixels, seed)).toEqual(once);
      expect(pixels).toEqual(before);
      expect(augmentFace(pixels, seed + 1)).not.toEqual(once);
    }),
    { numRuns: 20 },
  );
});

test("levels stay between the face's own, 15 % either way", () => {
  fc.assert(
    fc.property(face, fc.nat(), (pixels, seed) => {
      const out = augmentFace(pixels, seed);
      expect(Math.min(...out)).toBeGreaterThanOrEqual(Math.floor(Math.min(...pixels) * 0.85));
      expect(Math.max(...out)).toBeLessThanOrEqual(Math.ceil(Math.max(...pixels) * 1.15));
    }),
    { numRuns: 20 },
  );
});

test("a grey face stays evenly grey, and a bright middle stays near the middle", () => {
  const grey = augmentFace(new Uint8Array(2304).fill(100), 5);
  expect(new Set(grey).size).toBe(1);
  const spot = new Uint8Array(2304);
  for (let y = 22; y < 26; y++) spot.fill(200, y * 48 + 22, y * 48 + 26);
  for (let seed = 0; seed < 50; seed++) {
    const out = augmentFace(spot, seed);
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
