import { FACE_PIXELS, FACE_SIZE } from "../model/expressions";
import { seededRandom } from "../base/random";

/** How far an augmented face may be turned (radians), moved (pixels) and brightened (share of the level). */
const RANGE = { angle: 0.17, shift: 3, gain: 0.15 } as const;

/**
 * A face as it could also have been seen: mirrored or not, turned by up to 10 degrees, moved by up to three pixels, lighter
 * or darker by up to 15 %: see {@link placed}.
 * @param pixels 48 x 48 grey levels, which stay as they are
 */
export function augmentFace(pixels: Uint8Array, seed: number): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const around = (range: number): number => (random() * 2 - 1) * range;
  const mirror = random() < 0.5;
  const angle = around(RANGE.angle);
  const [moveX, moveY] = [around(RANGE.shift), around(RANGE.shift)];
  return placed(pixels, { mirror, angle, moveX, moveY, gain: 1 + around(RANGE.gain) });
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

/** A face at another place, in another light: bilinear; what comes from outside repeats the edge. */
export function placed(
  pixels: Uint8Array,
  { mirror, angle, moveX, moveY, crop = 1, gain }: Placement,
): Uint8Array<ArrayBuffer> {
  const [cos, sin] = [crop * Math.cos(angle), crop * Math.sin(angle)];
  const middle = (FACE_SIZE - 1) / 2;
  const out = new Uint8Array(FACE_PIXELS);
  for (let y = 0; y < FACE_SIZE; y++) {
    for (let x = 0; x < FACE_SIZE; x++) {
      const [dx, dy] = [(x - middle) * (mirror ? -1 : 1), y - middle];
      const level = bilinear(pixels, middle + cos * dx - sin * dy + moveX, middle + sin * dx + cos * dy + moveY);
      out[y * FACE_SIZE + x] = Math.max(0, Math.min(255, Math.round(level * gain)));
    }
  }
  return out;
}

function bilinear(pixels: Uint8Array, x: number, y: number): number {
  const clamp = (value: number): number => Math.max(0, Math.min(FACE_SIZE - 1, value));
  const [x0, y0] = [Math.floor(x), Math.floor(y)];
  const at = (column: number, row: number): number => pixels[clamp(row) * FACE_SIZE + clamp(column)] ?? 0;
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
