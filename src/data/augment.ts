import { seededRandom } from "../base/random";
import { FACE, sizeOf, type PictureShape } from "./own-labels";

/** How far an augmented face may be turned (radians), moved (pixels) and brightened (share of the level). */
const RANGE = { angle: 0.17, shift: 3, gain: 0.15 } as const;

/**
 * A picture, a face for one, as it could also have been seen: mirrored or not, turned by up to 10 degrees, moved by up to three pixels, lighter
 * or darker by up to 15 %: see {@link placed}.
 * @param pixels levels of a picture, which stay as they are
 */
export function augment(pixels: Uint8Array, seed: number, shape = FACE): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const around = (range: number): number => (random() * 2 - 1) * range;
  const mirror = random() < 0.5;
  const angle = around(RANGE.angle);
  const [moveX, moveY] = [around(RANGE.shift), around(RANGE.shift)];
  return placed(pixels, { mirror, angle, moveX, moveY, gain: 1 + around(RANGE.gain) }, shape);
}

export interface Placement {
  mirror: boolean;
  /** Radians. */
  angle: number;
  /** Pixels. */
  moveX: number;
  moveY: number;
  /** Side of what is seen, in sides of the face's picture: below 1 a tighter crop. */
  crop?: number;
  /** Share of the light that comes through. */
  gain: number;
}

/** A picture at another place, in another light: bilinear; what comes from outside repeats the edge. */
export function placed(
  pixels: Uint8Array,
  { mirror, angle, moveX, moveY, crop = 1, gain }: Placement,
  shape = FACE,
): Uint8Array<ArrayBuffer> {
  const { height, width, channels } = shape;
  const [cos, sin] = [crop * Math.cos(angle), crop * Math.sin(angle)];
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const out = new Uint8Array(sizeOf(shape));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [dx, dy] = [(x - middleX) * (mirror ? -1 : 1), y - middleY];
      const [fromX, fromY] = [middleX + cos * dx - sin * dy + moveX, middleY + sin * dx + cos * dy + moveY];
      for (let c = 0; c < channels; c++) {
        const level = bilinear(pixels, shape, fromX, fromY, c);
        out[(y * width + x) * channels + c] = Math.max(0, Math.min(255, Math.round(level * gain)));
      }
    }
  }
  return out;
}

function bilinear(
  pixels: Uint8Array,
  { height, width, channels }: PictureShape,
  x: number,
  y: number,
  channel: number,
): number {
  const clamp = (value: number, side: number): number => Math.max(0, Math.min(side - 1, value));
  const [x0, y0] = [Math.floor(x), Math.floor(y)];
  const at = (column: number, row: number): number =>
    pixels[(clamp(row, height) * width + clamp(column, width)) * channels + channel] ?? 0;
  const top = at(x0, y0) + (at(x0 + 1, y0) - at(x0, y0)) * (x - x0);
  const bottom = at(x0, y0 + 1) + (at(x0 + 1, y0 + 1) - at(x0, y0 + 1)) * (x - x0);
  return top + (bottom - top) * (y - y0);
}

/**
 * Weights of the seven labels that make each present one count the same: `n / (present * n_c)`, whose mean over the faces is
 * 1 (the "balanced" heuristic of King and Zeng 2001). Labels that are absent weigh nothing.
 */
export function balancedWeights(labels: Uint8Array, classes: number): number[] {
  const counts = Array.from({ length: classes }, (_, label) => labels.filter((other) => other === label).length);
  const present = counts.filter((count) => count > 0).length;
  return counts.map((count) => (count === 0 ? 0 : labels.length / (present * count)));
}
