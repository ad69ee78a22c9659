import { expect, test } from "vitest";
import { PLAIN_CAMERA } from "./camera";
import { throughCamera } from "./camera";
import { drawFaces, drawnLabels } from "./drawn";

test("drawn faces are the same for the same seed, unlike one another, and as often of each expression", () => {
  const { pixels, labels } = drawFaces(21, 4);
  expect(drawFaces(21, 4)).toEqual({ pixels, labels });
  expect(drawFaces(21, 5).pixels).not.toEqual(pixels);
  expect(labels).toEqual(drawnLabels(21));
  const faces = labels.map((_, i) => i);
  const texts = new Set([...faces].map((i) => pixels.subarray(i * 2304, (i + 1) * 2304).join()));
  expect(texts.size).toBe(21);
});

test("a camera darkens, mirrors and turns, and the plain one gives the same bytes", () => {
  const { pixels } = drawFaces(2, 1);
  expect(throughCamera(pixels, PLAIN_CAMERA)).toBe(pixels);
  const mirrored = throughCamera(pixels, { ...PLAIN_CAMERA, mirror: true });
  expect(throughCamera(mirrored, { ...PLAIN_CAMERA, mirror: true })).toEqual(pixels);
  expect(mirrored.subarray(0, 48)).toEqual(pixels.slice(0, 48).reverse());
  const mean = (values: Uint8Array): number => values.reduce((a, b) => a + b, 0) / values.length;
  expect(mean(throughCamera(pixels, { ...PLAIN_CAMERA, gain: 0.5 })) / mean(pixels)).toBeCloseTo(0.5, 2);
  // A turn by 180 degrees is exact: the last pixel comes first.
  expect(throughCamera(pixels, { ...PLAIN_CAMERA, angle: 180 }).slice(0, 2304)).toEqual(
    pixels.slice(0, 2304).reverse(),
  );
});
