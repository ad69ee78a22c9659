import { greyLevels, inChannels, middleOf } from "../src/data/grey";
import type { PictureShape } from "../src/data/own-labels";

/** What shows through a picture that is not opaque: a page's paper. */
const PAPER = "white";

/** Part of a picture. */
export interface Square {
  x: number;
  y: number;
  side: number;
}

const canvases = new Map<string, OffscreenCanvasRenderingContext2D>();

/**
 * Part of a picture at another size: red, green, blue and an opacity of each pixel. The canvas is shared by all calls and painted over
 * first: what a picture leaves transparent would else show the picture before it.
 */
function scaled(
  picture: ImageBitmap,
  from: Omit<Square, "side"> & { width: number; height: number },
  { width, height }: Pick<PictureShape, "width" | "height">,
): Uint8ClampedArray {
  const key = `${width}x${height}`;
  const context =
    canvases.get(key) ?? new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser gives workers no 2D canvas.");
  canvases.set(key, context);
  context.imageSmoothingQuality = "high";
  context.fillStyle = PAPER;
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, from.x, from.y, from.width, from.height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** A square of a picture as `size` x `size` grey levels. */
export const greyPicture = (picture: ImageBitmap, { x, y, side }: Square, size: number): Uint8Array<ArrayBuffer> =>
  greyLevels(scaled(picture, { x, y, width: side, height: side }, { width: size, height: size }), 4);

/** The largest middle of a picture that has the proportions of a shape, in it. */
export function pictureLevels(picture: ImageBitmap, shape: PictureShape): Uint8Array<ArrayBuffer> {
  return inChannels(withoutOpacity(scaled(picture, middleOf(picture, shape), shape)), 3, shape.channels);
}

function withoutOpacity(data: Uint8ClampedArray): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array((data.length / 4) * 3);
  for (let i = 0, j = 0; i < data.length; i += 4, j += 3) pixels.set(data.subarray(i, i + 3), j);
  return pixels;
}
