import { placed } from "./augment";
import { FACE, sizeOf } from "./own-labels";

/** A camera unlike those that a model knows. */
export interface Camera {
  /** Share of the light that comes through. */
  gain: number;
  /** Degrees that the picture is turned by. */
  angle: number;
  mirror: boolean;
}
export const PLAIN_CAMERA: Camera = { gain: 1, angle: 0, mirror: false };

/** Pictures as a camera unlike those of the data would have taken them. The plain camera gives the same bytes back. */
export function throughCamera(pixels: Uint8Array, { gain, angle, mirror }: Camera, shape = FACE): Uint8Array {
  if (gain === 1 && angle === 0 && !mirror) return pixels;
  const out = new Uint8Array(pixels.length);
  const turn = { mirror, angle: (angle * Math.PI) / 180, moveX: 0, moveY: 0, gain };
  const size = sizeOf(shape);
  for (let at = 0; at < pixels.length; at += size) {
    out.set(placed(pixels.subarray(at, at + size), turn, shape), at);
  }
  return out;
}
