import { placed } from "../augment";
import { FACE_PIXELS } from "../expressions";
import type { Camera } from "../lab/config";

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
