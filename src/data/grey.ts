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
