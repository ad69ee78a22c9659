import { greyLevels } from "../data/grey";
import { asDigit, inkOf, type Levels } from "../data/digit";

/** Side of the sheet that is drawn on, in its own pixels. */
export const SHEET = 320;

/** A picture's file is none that this browser can read. */
export class UnreadableError extends Error {
  override readonly name = "UnreadableError";
}

/** What is drawn on a sheet, as a square of so many levels a side; null where there is nothing. Its ink is what is opaque. */
export function drawingOfSheet(context: CanvasRenderingContext2D, side: number): Uint8Array<ArrayBuffer> | null {
  const { data } = context.getImageData(0, 0, SHEET, SHEET);
  const levels = Uint8Array.from({ length: SHEET * SHEET }, (_, i) => data[4 * i + 3] ?? 0);
  return asDigit({ levels, width: SHEET, height: SHEET }, side);
}

/** A picture's file as the browser decodes it. @throws UnreadableError */
export const bitmapOf = (file: Blob): Promise<ImageBitmap> =>
  createImageBitmap(file).catch((cause: unknown) => {
    throw new UnreadableError("This is no picture that the browser can read.", { cause });
  });

/**
 * What a picture's file shows, as a square of so many levels a side; null where nothing stands out from its background.
 * @throws UnreadableError
 */
export async function drawingOfPicture(file: Blob, side: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const picture = await bitmapOf(file);
  try {
    const ink = inkOf(levelsOf(picture));
    return ink && asDigit(ink, side);
  } finally {
    picture.close();
  }
}

/** Grey levels of a picture, no larger than a sheet, on white where it is transparent. */
function levelsOf(picture: ImageBitmap): Levels {
  const scale = Math.min(1, SHEET / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (!context) throw new Error("This browser gives us no 2D canvas.");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return { levels: greyLevels(context.getImageData(0, 0, width, height).data, 4), width, height };
}
