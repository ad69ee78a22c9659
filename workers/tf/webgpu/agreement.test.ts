import { expect, test } from "vitest";
import { MODELS } from "../../../src/model/model";
import { agree } from "./agreement";
import { layOut } from "./layout";
import { defaultTiles, isPlain, lessAndLess, type Tiles } from "./tiles";

// Norms of 5 and 13.
const STRETCHES = [
  { start: 0, size: 2 },
  { start: 3, size: 2 },
];
const reference = { loss: 2, flat: Float32Array.of(3, 4, 99, 5, 12) };
const withChange = (place: number, by: number, loss = 2): typeof reference => ({
  loss,
  flat: reference.flat.map((value, i) => (i === place ? value + by : value)),
});

test("gradients agree up to a thousandth of each layer's norm, losses up to a thousandth", () => {
  expect(agree(reference, reference, STRETCHES)).toBe(true);
  expect(agree(withChange(1, 0.0049), reference, STRETCHES)).toBe(true);
  expect(agree(withChange(1, 0.0051), reference, STRETCHES)).toBe(false);
  expect(agree(withChange(4, 0.0129), reference, STRETCHES)).toBe(true);
  expect(agree(withChange(4, 0.0131), reference, STRETCHES)).toBe(false);
  expect(agree(withChange(0, 0, 2.0009), reference, STRETCHES)).toBe(true);
  expect(agree(withChange(0, 0, 2.0011), reference, STRETCHES)).toBe(false);
  // What no layer holds does not count.
  expect(agree(withChange(2, 100), reference, STRETCHES)).toBe(true);
});

test("what is no number agrees with nothing, and nothing with it", () => {
  for (const wrong of [NaN, Infinity, -Infinity]) {
    const odd = withChange(0, wrong);
    expect(agree(odd, reference, STRETCHES)).toBe(false);
    expect(agree(reference, odd, STRETCHES)).toBe(false);
    expect(agree(odd, odd, STRETCHES)).toBe(false);
    expect(agree({ ...reference, loss: wrong }, reference, STRETCHES)).toBe(false);
    expect(agree({ ...reference, loss: wrong }, { ...reference, loss: wrong }, STRETCHES)).toBe(false);
  }
  expect(agree({ loss: 2, flat: new Float32Array() }, reference, STRETCHES)).toBe(false);
  // A layer that learns nothing has no gradient in either.
  const still = { loss: 2, flat: new Float32Array(5) };
  expect(agree(still, still, STRETCHES)).toBe(true);
  expect(agree(withChange(0, 0), still, STRETCHES)).toBe(false);
});

test("half precision is taken back where it errs the furthest first, and plain tiles are last", () => {
  const layout = layOut(MODELS.compact);
  if (!layout) throw new Error("no kernels");
  const all: Tiles = Object.fromEntries(
    Object.entries(defaultTiles(layout)).map(([key, one]) => [key, { ...one, halves: true, quads: true }]),
  );
  const inHalves = (tiles: Tiles): Set<string> =>
    new Set(Object.entries(tiles).flatMap(([key, { halves }]) => (halves ? [key.split(" ")[0] ?? ""] : [])));
  const choices = lessAndLess(all);
  expect(choices.map((one) => [...inHalves(one)])).toEqual([
    ["forward", "input", "filter"],
    ["input", "filter"],
    ["filter"],
    [],
    [],
  ]);
  expect(choices.map(isPlain)).toEqual([false, false, false, false, true]);
  expect(choices.at(-1)).toEqual(defaultTiles(layout));
  expect(lessAndLess(defaultTiles(layout))).toEqual([defaultTiles(layout)]);
});
