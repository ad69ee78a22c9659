import fc from "fast-check";
import { expect, test } from "vitest";
import { FACE_PIXELS, FACE_SIZE } from "../model/expressions";
import { distance, fingerprintOf, lookalikes } from "./lookalikes";

/** A smooth picture with a few waves, other ones for other seeds. */
const picture = (seed: number, brightness = 0): Uint8Array =>
  Uint8Array.from({ length: FACE_PIXELS }, (_, i) => {
    const [x, y] = [(i % FACE_SIZE) / FACE_SIZE, Math.floor(i / FACE_SIZE) / FACE_SIZE];
    return Math.round(100 + brightness + 60 * Math.sin(seed + x * (5 + seed)) * Math.cos(seed * 2 + y * (4 + seed)));
  });

test("a little light or noise does not change whom a face looks like, another picture does", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: -20, max: 20 }), (seed, brightness) => {
      const [one, lighter, other] = [picture(seed), picture(seed, brightness), picture(seed + 7)].map(fingerprintOf);
      if (!one || !lighter || !other) throw new Error("unreachable");
      expect(distance(one, lighter)).toBeLessThanOrEqual(4);
      expect(distance(one, other)).toBeGreaterThan(4);
      expect(distance(one, one)).toBe(0);
    }),
  );
});

test("of faces that look alike the first is no double", () => {
  const faces = [
    { id: 3, pixels: picture(1, 4) },
    { id: 1, pixels: picture(1) },
    { id: 2, pixels: picture(9) },
  ];
  expect([...lookalikes(faces)]).toEqual([3]);
});
