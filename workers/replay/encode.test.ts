import sharp from "sharp";
import { expect, test } from "vitest";
import { encodeReplay, type ReplayFrame } from "./encode";

const [width, height] = [32, 40];

/** A frame of one colour, whose lower half goes from black to white. */
function frameOf([red, green, blue]: readonly number[], delay: number): ReplayFrame {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const grey = Math.round((255 * (i % width)) / (width - 1));
    data.set(i < (width * height) / 2 ? [red ?? 0, green ?? 0, blue ?? 0, 255] : [grey, grey, grey, 255], i * 4);
  }
  return { width, height, data, delay };
}

test("another decoder finds every frame, its colours and its time, and that the animation runs for ever", async () => {
  const colors = [
    [255, 122, 98],
    [169, 209, 90],
    [127, 184, 255],
  ];
  const told: number[] = [];
  const file = await encodeReplay(
    colors.map((color, i) => frameOf(color, 1000 + 500 * i)),
    (done) => told.push(done),
  );
  expect(told).toEqual([1, 2, 3]);
  expect(await sharp(file, { animated: true }).metadata()).toMatchObject({
    format: "gif",
    width,
    pageHeight: height,
    pages: 3,
    delay: [1000, 1500, 2000],
    loop: 0,
  });
  for (const [page, color] of colors.entries()) {
    const pixels = await sharp(file, { page }).removeAlpha().raw().toBuffer();
    // Palettes are of 5 or 6 bits for a channel.
    const off = (pixel: number, wanted: number[]): number =>
      Math.max(...wanted.map((level, i) => Math.abs((pixels[pixel * 3 + i] ?? NaN) - level)));
    expect(off(0, color)).toBeLessThanOrEqual(8);
    const lower = (width * height) / 2;
    expect(off(lower, [0, 0, 0])).toBeLessThanOrEqual(8);
    expect(off(lower + width - 1, [255, 255, 255])).toBeLessThanOrEqual(8);
  }
});
