import { greyLevels } from "../src/data/grey";

/** What shows through a picture that is not opaque: a page's paper. */
const PAPER = "white";

/** Part of a picture. */
export interface Square {
  x: number;
  y: number;
  side: number;
}

const canvases = new Map<number, OffscreenCanvasRenderingContext2D>();

/**
 * A square of a picture as `size` x `size` grey levels. The canvas is shared by all calls and painted over first: what a picture leaves
 * transparent would else show the picture before it.
 */
export function greyPicture(picture: ImageBitmap, { x, y, side }: Square, size: number): Uint8Array<ArrayBuffer> {
  const context = canvases.get(size) ?? new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser gives workers no 2D canvas.");
  canvases.set(size, context);
  context.imageSmoothingQuality = "high";
  context.fillStyle = PAPER;
  context.fillRect(0, 0, size, size);
  context.drawImage(picture, x, y, side, side, 0, 0, size, size);
  return greyLevels(context.getImageData(0, 0, size, size).data, 4);
}
