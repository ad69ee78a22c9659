import { EXPRESSIONS, FACE_PIXELS, FACE_SIZE } from "../model/expressions";
import { blend, type Features } from "./mask";
import { normal, seededRandom } from "../base/random";

/**
 * Drawn faces: the game's mask in grey, at another place, size, angle and light each time, mixed with a little of another
 * expression. A stand-in for photographs, so that the lab runs without any; a model learns it, but not at once.
 */

/** Units of the mask's drawing on either side of its middle. */
const HALF = 82;

/** A vector's length; V8 takes several times as long for Math.hypot. */
const length = (x: number, y: number): number => Math.sqrt(x * x + y * y);

const soft = (distance: number): number => 1 / (1 + Math.exp(distance * 1.4));

/** How dark a mask's drawing is at a point of its own coordinates, 0 to 1. */
function inkOf(f: Features): (x: number, y: number) => number {
  // A brow is a line between two points.
  const [ax, ay, bx, by] = [12, -32 - f.browInner, 46, -34 - f.browOuter] as const;
  const [dx, dy] = [bx - ax, by - ay];
  const squared = dx * dx + dy * dy;
  const lid = 7 * f.eyeOpen;
  const half = f.mouthWidth / 2;
  const rise = f.smile / 2;
  const gape = f.mouthOpen / 2 + 3;
  return (x, y) => {
    const side = Math.abs(x);
    const t = Math.max(0, Math.min(1, ((side - ax) * dx + (y - ay) * dy) / squared));
    const brow = length(side - ax - t * dx, y - ay - t * dy) - 4;
    const eye = (length((side - 29) / 11, (y + 8) / lid) - 1) * 7;
    // The mouth: between two parabolas through its corners.
    const across = Math.min(1, side / half);
    const middle = 40 - f.smile * across * across + rise;
    const open = gape * (1 - across * across);
    const mouth = side > half ? length(side - half, y - middle) : Math.abs(y - middle) - open;
    const nose = side < 13 && y > -26 && y < 4 ? f.noseWrinkle * soft(Math.abs(((y + 60) % 9) - 4.5) - 1.5) : 0;
    return Math.max(soft(Math.min(brow, eye, mouth)), 0.8 * nose);
  };
}

/** What {@link drawFaces} draws: every expression as often as the others. */
export const drawnLabels = (count: number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, i) => i % EXPRESSIONS.length);

/** Draws `count` faces, every expression as often as the others. The same seed draws the same ones. */
export function drawFaces(count: number, seed: number): { pixels: Uint8Array; labels: Uint8Array } {
  const random = seededRandom(seed);
  const around = (range: number): number => (random() * 2 - 1) * range;
  const pixels = new Uint8Array(count * FACE_PIXELS);
  const labels = drawnLabels(count);
  labels.forEach((label, face) => {
    const weights: number[] = EXPRESSIONS.map((_, i) => Number(i === label));
    const other = Math.floor(random() * EXPRESSIONS.length);
    weights[other] = (weights[other] ?? 0) + random() * 0.75;
    const features = blend(weights);
    for (const key of Object.keys(features) as (keyof Features)[]) features[key] *= 1 + around(0.35);
    const scale = HALF * (1 + around(0.15));
    const [cos, sin] = [Math.cos(around(0.25)), Math.sin(around(0.25))];
    const [shiftX, shiftY] = [around(14), around(14)];
    const [skin, slope, contrast] = [150 + around(70), around(0.6), 55 + random() * 60];
    const grain = 6 + random() * 16;
    const ink = inkOf(features);
    for (let row = 0; row < FACE_SIZE; row++) {
      for (let column = 0; column < FACE_SIZE; column++) {
        const [u, w] = [((column + 0.5) / FACE_SIZE) * 2 - 1, ((row + 0.5) / FACE_SIZE) * 2 - 1];
        const x = scale * (cos * u - sin * w) + shiftX;
        const y = scale * (sin * u + cos * w) + shiftY;
        const inside = soft((length(x / 66, y / 80) - 1) * 30);
        const level = inside * (skin + slope * x - contrast * ink(x, y)) + (1 - inside) * (skin - 60);
        const value = level + grain * normal(random);
        pixels[face * FACE_PIXELS + row * FACE_SIZE + column] = Math.max(0, Math.min(255, Math.round(value)));
      }
    }
  });
  return { pixels, labels };
}
