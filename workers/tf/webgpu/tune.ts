import { convFilterGradient, convForward, convInputGradient } from "./conv";
import { isPipelineError, type Device, type Kernel } from "./device";
import { pixelsOf, type ConvLayer, type Layout } from "./layout";
import { abilitiesOf, defaultTiles, suited, tileKey, variantsOf, type ProductName, type Tiles } from "./tiles";
import { memoryOf, type Tile } from "./product";
import { filterParts } from "./update";

/** Finds the tiles that are fastest on the player's own GPU: nobody can know here what is there. */

/** Dispatches that are timed together: a clock may tell tenths of milliseconds only. */
const REPEATS = 4;

interface Trial {
  key: string;
  tile: Tile;
  kernel: Kernel;
}

function trialsOf(
  name: ProductName,
  layer: ConvLayer,
  before: ConvLayer | undefined,
  candidates: readonly Tile[],
): Trial[] {
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
  return candidates.flatMap((tile) => {
    const kernel = kernelOf(tile);
    return kernel ? [{ key: tileKey(name, layer), tile, kernel }] : [];
  });
}

/**
 * Times the tiles that suit each product on n inputs, the largest products first, and gives the fastest; then, where the GPU can run them,
 * the variants of those. What there was no time for keeps the tile that suits most cards, and stays plain.
 * @param device has room for n inputs; what its buffers hold of a step is overwritten
 * @param budgetMs for the tiles, and as much again for the variants
 */
export async function tune(layout: Layout, device: Device, n: number, budgetMs: number): Promise<Tiles> {
  const { convs } = layout;
  const tiles: Record<string, Tile> = { ...defaultTiles(layout) };
  const products = convs
    .flatMap((layer) => (["forward", "input", "filter"] as const).map((name) => ({ name, layer })))
    .toSorted((a, b) => workOf(b.layer) - workOf(a.layer));
  const choose = async (candidatesOf: (name: ProductName, layer: ConvLayer) => readonly Tile[]): Promise<void> => {
    const deadline = performance.now() + budgetMs;
    for (const { name, layer } of products) {
      const trials = trialsOf(name, layer, convs[layer.index - 1], candidatesOf(name, layer));
      if (trials.length < 2) continue;
      // All of a product are compiled beside each other.
      try {
        await device.prepare(trials.map(({ kernel }) => kernel));
      } catch (error) {
        // A driver may know less than it says: what was chosen so far is there.
        if (!isPipelineError(error)) throw error;
        continue;
      }
      let best = Infinity;
      for (const { key, tile, kernel } of trials) {
        if (performance.now() > deadline) return;
        const ms = await device.time(kernel, n, REPEATS);
        if (ms >= best) continue;
        best = ms;
        tiles[key] = tile;
      }
    }
  };
  await choose(suited);
  const can = abilitiesOf(device.gpu);
  const most = device.gpu.limits.maxComputeWorkgroupStorageSize;
  await choose((name, layer) => {
    const tile = tiles[tileKey(name, layer)];
    return tile ? variantsOf(tile, can).filter((one) => memoryOf(one) <= most) : [];
  });
  return tiles;
}

const workOf = (layer: ConvLayer): number => pixelsOf(layer) * layer.S ** 2 * layer.I * layer.O;
