import { placed } from "./augment";
import { FACE_PIXELS } from "../model/expressions";

/** A camera unlike those that a model knows. */
export interface Camera {
  /** Share of the light that comes through. */
  gain: number;
  /** Degrees that the picture is turned by. */
  angle: number;
  mirror: boolean;
}
export const PLAIN_CAMERA: Camera = { gain: 1, angle: 0, mirror: false };

/** Faces as a camera unlike those of the data would have taken them. The plain camera gives the same bytes back. */
export function throughCamera(pixels: Uint8Array, { gain, angle, mirror }: Camera): Uint8Array {
  if (gain === 1 && angle === 0 && !mirror) return pixels;
  const out = new Uint8Array(pixels.length);
  const turn = { mirror, angle: (angle * Math.PI) / 180, moveX: 0, moveY: 0, gain };
  for (let at = 0; at < pixels.length; at += FACE_PIXELS) {
    out.set(placed(pixels.subarray(at, at + FACE_PIXELS), turn), at);
  }
  return out;
}
