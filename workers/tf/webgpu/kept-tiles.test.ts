import "fake-indexeddb/auto";
import { expect, test } from "vitest";
import { MODELS } from "../../../src/model/model";
import { forgetTiles, keepTiles, readTiles, tilesKey } from "./kept-tiles";
import { layOut, type Layout } from "./layout";
import { defaultTiles, suited, tileKey, variantsOf } from "./tiles";

const GPU: Omit<GPUAdapterInfo, "__brand"> = {
  vendor: "a",
  architecture: "b",
  device: "",
  description: "",
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  isFallbackAdapter: false,
};
const layoutOf = (model: "compact" | "seed"): Layout => {
  const layout = layOut(MODELS[model]);
  if (!layout) throw new Error("no kernels");
  return layout;
};
const compact = layoutOf("compact");
const PLAIN = { halves: false, quads: false };
const ALL = { halves: true, quads: true };

test("tiles come back on the same GPU for the same convolutions, and for no others", async () => {
  const [layer] = compact.convs;
  if (!layer) throw new Error("no convolution");
  // Another choice than the one that nothing was measured for.
  const last = suited("forward", layer).at(-1);
  if (!last) throw new Error("no tile");
  const found = { ...defaultTiles(compact), [tileKey("forward", layer)]: last };
  expect(found).not.toEqual(defaultTiles(compact));
  await keepTiles(tilesKey(GPU, compact, PLAIN), found);
  expect(await readTiles(tilesKey(GPU, compact, PLAIN), compact, PLAIN)).toEqual(found);
  expect(await readTiles(tilesKey({ ...GPU, architecture: "c" }, compact, PLAIN), compact, PLAIN)).toBeNull();
  expect(await readTiles(tilesKey(GPU, layoutOf("seed"), PLAIN), layoutOf("seed"), PLAIN)).toBeNull();
});

test("variants come back where the device still has what they take, and nothing does where it has not", async () => {
  const [layer] = compact.convs;
  if (!layer) throw new Error("no convolution");
  const [best] = suited("filter", layer);
  const variants = best ? variantsOf(best, ALL) : [];
  expect(variants.map(({ halves, quads }) => [halves, quads])).toEqual([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ]);
  const kinds = [PLAIN, { halves: false, quads: true }, { halves: true, quads: false }, ALL];
  expect(new Set(kinds.map((can) => tilesKey(GPU, compact, can))).size).toBe(4);
  for (const variant of variants.slice(1)) {
    const found = { ...defaultTiles(compact), [tileKey("filter", layer)]: variant };
    for (const can of kinds) {
      await forgetTiles();
      await keepTiles(tilesKey(GPU, compact, ALL), found);
      const key = tilesKey(GPU, compact, can);
      expect(await readTiles(key, compact, can)).toEqual(can === ALL ? found : null);
      // Nor where somebody had kept them under its name.
      await keepTiles(key, found);
      const isThere = (!variant.halves || can.halves) && (!variant.quads || can.quads);
      expect(await readTiles(key, compact, can)).toEqual(isThere ? found : null);
    }
  }
});

test("what another version of the kernels has kept is found anew", async () => {
  const key = tilesKey(GPU, compact, PLAIN);
  const tiles = defaultTiles(compact);
  const [first = ""] = Object.keys(tiles);
  for (const kept of [
    {},
    null,
    { ...tiles, [first]: { ...tiles[first], depth: 3 } },
    { ...tiles, [first]: undefined },
  ]) {
    await keepTiles(key, kept as typeof tiles);
    expect(await readTiles(key, compact, PLAIN), JSON.stringify(kept)).toBeNull();
  }
  await keepTiles(key, tiles);
  expect(await readTiles(key, compact, PLAIN)).toEqual(tiles);
});

test("what is kept does not grow without end", async () => {
  for (let i = 0; i < 200; i++) await keepTiles(`gpu ${i}`, defaultTiles(compact));
  const { indexedDB } = globalThis;
  const count = await new Promise<number>((resolve, reject) => {
    const opening = indexedDB.open("best-actor-tiles");
    opening.onerror = () => reject(new Error("not opened"));
    opening.onsuccess = () => {
      const counting = opening.result.transaction("tiles").objectStore("tiles").count();
      counting.onsuccess = () => resolve(counting.result);
    };
  });
  expect(count).toBeLessThanOrEqual(64);
  expect(count).toBeGreaterThan(0);
});
