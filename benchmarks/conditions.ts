import { placed } from "../src/data/augment";
import { FACE_PIXELS, FACE_SIZE } from "../src/model/expressions";
import { seededRandom } from "../src/base/random";

/** What another camera, other light or another crop makes of a face of 48 x 48 grey levels, the same in every run. */
export interface Condition {
  name: string;
  /** What the models are held to: nine tenths of the clean accuracy. */
  held?: true;
  /** @param random uniform numbers of this face's own */
  change?: (pixels: Uint8Array, random: () => number) => Uint8Array<ArrayBuffer>;
  /** Quality of JPEG, in 0..1, as canvases take it. */
  jpeg?: number;
}

const STILL = { mirror: false, angle: 0, moveX: 0, moveY: 0, gain: 1 };

const levels = (pixels: Uint8Array, to: (level: number, i: number) => number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(pixels, (level, i) => Math.max(0, Math.min(255, Math.round(to(level, i)))));

const sign = (random: () => number): number => (random() < 0.5 ? -1 : 1);

/** Moved by `length` pixels into any direction. */
function shifted(pixels: Uint8Array, length: number, random: () => number): Uint8Array<ArrayBuffer> {
  const direction = 2 * Math.PI * random();
  return placed(pixels, { ...STILL, moveX: length * Math.cos(direction), moveY: length * Math.sin(direction) });
}

/** Convolved with a Gaussian of `sigma` pixels; the edges go on. */
export function blurred(pixels: Uint8Array, sigma: number): Uint8Array<ArrayBuffer> {
  const reach = Math.ceil(3 * sigma);
  const taps = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const sum = taps.reduce((a, b) => a + b, 0);
  const inside = (at: number): number => Math.max(0, Math.min(FACE_SIZE - 1, at));
  const pass = (from: ArrayLike<number>, index: (line: number, along: number) => number): Float32Array => {
    const out = new Float32Array(FACE_PIXELS);
    for (let line = 0; line < FACE_SIZE; line++) {
      for (let along = 0; along < FACE_SIZE; along++) {
        const value = taps.reduce((a, tap, i) => a + tap * (from[index(line, inside(along + i - reach))] ?? 0), 0);
        out[index(line, along)] = value / sum;
      }
    }
    return out;
  };
  const rows = pass(pixels, (y, x) => y * FACE_SIZE + x);
  const both = pass(rows, (x, y) => y * FACE_SIZE + x);
  return levels(pixels, (_, i) => both[i] ?? 0);
}

/** With normal noise of `sigma` grey levels (Box and Muller 1958). */
const noisy = (pixels: Uint8Array, sigma: number, random: () => number): Uint8Array<ArrayBuffer> =>
  levels(pixels, (level) => level + sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));

/** One half, left or right, gets `share` of the light; the edge is four pixels wide. */
function shaded(pixels: Uint8Array, share: number, random: () => number): Uint8Array<ArrayBuffer> {
  const side = sign(random);
  return levels(pixels, (level, i) => {
    const away = (side * ((i % FACE_SIZE) - (FACE_SIZE - 1) / 2)) / 4;
    return level * (1 - (1 - share) * Math.max(0, Math.min(1, away + 0.5)));
  });
}

const crop = (side: number): Condition => ({
  name: `crop ${side}`,
  change: (pixels) => placed(pixels, { ...STILL, crop: side }),
});
const shift = (length: number): Condition => ({
  name: `shift ${length} px`,
  change: (pixels, random) => shifted(pixels, length, random),
});
const rotation = (degrees: number): Condition => ({
  name: `rotation ${degrees}°`,
  change: (pixels, random) => placed(pixels, { ...STILL, angle: (sign(random) * degrees * Math.PI) / 180 }),
});
const gamma = (exponent: number): Condition => ({
  name: `gamma ${exponent}`,
  change: (pixels) => levels(pixels, (level) => 255 * (level / 255) ** exponent),
});
const blur = (sigma: number): Condition => ({ name: `blur ${sigma} px`, change: (pixels) => blurred(pixels, sigma) });
const noise = (sigma: number): Condition => ({
  name: `noise ${sigma} levels`,
  change: (pixels, random) => noisy(pixels, sigma, random),
});
const shadow = (share: number): Condition => ({
  name: `half in ${100 * share} % light`,
  change: (pixels, random) => shaded(pixels, share, random),
});
const jpeg = (quality: number): Condition => ({ name: `JPEG ${100 * quality}`, jpeg: quality });
const held = (condition: Condition): Condition => ({ ...condition, held: true });

/** A crop below 1 is tighter, above 1 wider; gamma below 1 is lighter. */
export const CONDITIONS: readonly Condition[] = [
  { name: "clean" },
  ...[crop(0.8), held(crop(0.9)), held(crop(1.1)), crop(1.25)],
  ...[held(shift(3)), shift(6)],
  ...[held(rotation(10)), rotation(20)],
  ...[gamma(0.5), held(gamma(0.7)), held(gamma(1.4)), gamma(2)],
  ...[blur(1), blur(2), noise(8), noise(20)],
  ...[shadow(0.5), shadow(0.25), jpeg(0.5), jpeg(0.2)],
];

/** The face at place `index` of a data set as a condition shows it, before JPEG. */
export const seenUnder = ({ change }: Condition, pixels: Uint8Array, index: number): Uint8Array =>
  change ? change(pixels, seededRandom(index)) : pixels;
