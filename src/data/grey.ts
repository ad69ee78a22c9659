/**
 * Grey levels of colour pictures: luma as JPEG and OpenCV define it (ITU-R BT.601).
 * @param data red, green, blue, and whatever else a pixel has
 * @param channels numbers of a pixel, at least 3
 */
export function greyLevels(data: ArrayLike<number>, channels: number): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(data.length / channels);
  for (let i = 0, j = 0; i < pixels.length; i++, j += channels) {
    pixels[i] = Math.round(0.299 * (data[j] ?? 0) + 0.587 * (data[j + 1] ?? 0) + 0.114 * (data[j + 2] ?? 0));
  }
  return pixels;
}

/** The largest middle of a picture that has the proportions of a shape, in the picture's pixels. */
export function middleOf(
  picture: { width: number; height: number },
  shape: { width: number; height: number },
): { x: number; y: number; width: number; height: number } {
  const scale = Math.min(picture.width / shape.width, picture.height / shape.height);
  const [width, height] = [shape.width * scale, shape.height * scale];
  return { x: (picture.width - width) / 2, y: (picture.height - height) / 2, width, height };
}

/** Levels of pixels with one or three numbers each as those with three or one: grey is as much of red, green and blue. */
export function inChannels(pixels: Uint8Array<ArrayBuffer>, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (from === to) return pixels;
  if (to === 1) return greyLevels(pixels, from);
  return Uint8Array.from({ length: pixels.length * to }, (_, i) => pixels[Math.floor(i / to)] ?? 0);
}
