import { expect, test } from "vitest";
import { FACE_PIXELS, FACE_SIZE } from "../src/model/expressions";
import { blurred, CONDITIONS, seenUnder } from "./conditions";

const face = (level: (x: number, y: number) => number): Uint8Array =>
  Uint8Array.from({ length: FACE_PIXELS }, (_, i) => level(i % FACE_SIZE, Math.floor(i / FACE_SIZE)));
const grey = face(() => 128);
const gradient = face((x, y) => 2 * x + 3 * y);
const under = (name: string, pixels: Uint8Array, index = 0): Uint8Array => {
  const condition = CONDITIONS.find((one) => one.name === name);
  if (!condition) throw new Error(`There is no condition ${name}.`);
  return seenUnder(condition, pixels, index);
};
const at = (pixels: Uint8Array, x: number, y: number): number => pixels[y * FACE_SIZE + x] ?? NaN;
const mean = (pixels: Uint8Array): number => pixels.reduce((a, b) => a + b, 0) / pixels.length;

test("every condition is the same in every run, and leaves the face that it is given as it was", () => {
  for (const condition of CONDITIONS) {
    const before = gradient.slice();
    expect(seenUnder(condition, gradient, 7)).toEqual(seenUnder(condition, gradient, 7));
    expect(gradient).toEqual(before);
  }
});

test("the issue's ranges are all there, and what is held is what a camera in the game does", () => {
  expect(CONDITIONS.filter(({ held }) => held).map(({ name }) => name)).toEqual([
    ...["crop 0.9", "crop 1.1", "shift 3 px", "rotation 10°", "gamma 0.7", "gamma 1.4"],
  ]);
  for (const name of ["crop 0.8", "crop 1.25", "shift 6 px", "rotation 20°", "gamma 0.5", "gamma 2"]) under(name, grey);
});

test("a tighter crop enlarges what is in the middle, a wider one shrinks it", () => {
  const dot = face((x, y) => (Math.hypot(x - 23.5, y - 23.5) < 8 ? 255 : 0));
  const lit = (pixels: Uint8Array): number => mean(pixels) / mean(dot);
  expect(lit(under("crop 0.8", dot))).toBeCloseTo(1 / 0.8 ** 2, 1);
  expect(lit(under("crop 1.25", dot))).toBeCloseTo(1 / 1.25 ** 2, 1);
});

test("a shift moves a face by its length, a rotation turns it around the middle", () => {
  // A gradient of 2 along x and 3 along y changes by at most |(2, 3)| times the way.
  for (let index = 0; index < 8; index++) {
    const moved = at(under("shift 3 px", gradient, index), 24, 24) - at(gradient, 24, 24);
    expect(Math.abs(moved)).toBeLessThanOrEqual(3 * Math.hypot(2, 3) + 1);
    const turned = under("rotation 20°", gradient, index);
    expect(Math.abs(at(turned, 24, 24) - at(gradient, 24, 24))).toBeLessThanOrEqual(2);
    expect(turned).not.toEqual(gradient);
  }
});

test("gamma follows its definition", () => {
  // 255 * (128 / 255) ^ 2 = 64.25, and its square root 180.67.
  expect(at(under("gamma 2", grey), 5, 5)).toBe(64);
  expect(at(under("gamma 0.5", grey), 5, 5)).toBe(181);
});

test("a blur of 1 px spreads a point as the normal distribution does", () => {
  const spread = blurred(
    face((x, y) => (x === 20 && y === 20 ? 255 : 0)),
    1,
  );
  // SciPy's gaussian_filter weights for sigma 1, truncated at 3: 0.39905, 0.24204, 0.05401.
  expect([at(spread, 20, 20), at(spread, 21, 20), at(spread, 21, 21), at(spread, 22, 20)]).toEqual([41, 25, 15, 5]);
  expect(blurred(grey, 2)).toEqual(grey);
});

test("noise has its deviation and no mean", () => {
  const noisy = under("noise 20 levels", grey);
  const deviation = Math.sqrt(noisy.reduce((sum, level) => sum + (level - 128) ** 2, 0) / FACE_PIXELS);
  expect(Math.abs(mean(noisy) - 128)).toBeLessThan(2);
  expect(Math.abs(deviation - 20)).toBeLessThan(1.5);
});

test("a shadow takes half of the face, and leaves the other as it is", () => {
  const shaded = under("half in 25 % light", grey);
  expect([at(shaded, 4, 10), at(shaded, 43, 10)].sort((a, b) => a - b)).toEqual([32, 128]);
});
