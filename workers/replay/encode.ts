import { applyPalette, GIFEncoder, quantize } from "gifenc";

/** One picture of an animation. */
export interface ReplayFrame {
  width: number;
  height: number;
  /** RGBA, row by row; opaque. */
  data: Uint8ClampedArray<ArrayBuffer>;
  /** How long it is seen, in milliseconds; a GIF counts in hundredths of a second. */
  delay: number;
}

/** Told after each frame how many are done. */
export type Progress = (done: number) => unknown;

/** A GIF's palette at most. */
const COLORS = 256;

/**
 * Frames as an animated GIF (89a) that runs for ever, each frame with the 256 colours that serve it best.
 * @param onProgress waited for, so that messages come through between two frames
 */
export async function encodeReplay(
  frames: readonly ReplayFrame[],
  onProgress?: Progress,
): Promise<Uint8Array<ArrayBuffer>> {
  const gif = GIFEncoder();
  for (const [i, { width, height, data, delay }] of frames.entries()) {
    const palette = quantize(data, COLORS);
    gif.writeFrame(applyPalette(data, palette), width, height, { palette, delay });
    await onProgress?.(i + 1);
  }
  gif.finish();
  return gif.bytes();
}
