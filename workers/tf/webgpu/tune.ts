import { convFilterGradient, convForward, convInputGradient } from "./conv";
import type { Device, Kernel } from "./device";
import { pixelsOf, type ConvLayer, type Layout } from "./layout";
import { defaultTiles, suited, tileKey, type ProductName, type Tiles } from "./tiles";
import type { Tile } from "./product";
import { filterParts } from "./update";

/** Finds the tiles that are fastest on the player's own GPU: nobody can know here what is there. */

/** Dispatches that are timed together: a clock may tell tenths of milliseconds only. */
const REPEATS = 4;

interface Trial {
  key: string;
  tile: Tile;
  kernel: Kernel;
}

function trialsOf(name: ProductName, layer: ConvLayer, before: ConvLayer | undefined): Trial[] {
  const kernelOf = (tile: Tile): Kernel | null => {
    switch (name) {
      case "forward":
        return convForward(layer, before, tile, layer.norm !== null);
      case "input":
        return before ? convInputGradient(layer, before, tile, before.norm !== null) : null;
      case "filter":
        return convFilterGradient(layer, before, tile, { parts: filterParts(layer, tile), place: 0 });
    }
  };
  return suited(name, layer).flatMap((tile) => {
    const kernel = kernelOf(tile);
    return kernel ? [{ key: tileKey(name, layer), tile, kernel }] : [];
  });
}

/**
 * Times the tiles that suit each product on n inputs, the largest products first, and gives the fastest; what there was no time for keeps
 * the tile that suits most cards.
 * @param device has room for n inputs; what its buffers hold of a step is overwritten
 */
export async function tune(layout: Layout, device: Device, n: number, budgetMs: number): Promise<Tiles> {
  const { convs } = layout;
  const deadline = performance.now() + budgetMs;
  const tiles: Record<string, Tile> = { ...defaultTiles(layout) };
  const products = convs
    .flatMap((layer) => (["forward", "input", "filter"] as const).map((name) => ({ name, layer })))
    .toSorted((a, b) => workOf(b.layer) - workOf(a.layer));
  for (const { name, layer } of products) {
    const trials = trialsOf(name, layer, convs[layer.index - 1]);
    if (trials.length < 2) continue;
    // All of a product are compiled beside each other.
    await device.prepare(trials.map(({ kernel }) => kernel));
    let best = Infinity;
    for (const { key, tile, kernel } of trials) {
      if (performance.now() > deadline) return tiles;
      const ms = await device.time(kernel, n, REPEATS);
      if (ms >= best) continue;
      best = ms;
      tiles[key] = tile;
    }
  }
  return tiles;
}

const workOf = (layer: ConvLayer): number => pixelsOf(layer) * layer.S ** 2 * layer.I * layer.O;
