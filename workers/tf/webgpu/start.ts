import type { ModelSpec } from "../../../src/model/model";
import { keepTiles, readTiles, tilesKey } from "./kept-tiles";
import { layOut, type Layout } from "./layout";
import { registerTrainer } from "./registry";
import { defaultTiles, type Tiles } from "./tiles";
import { WebGpuTrainer } from "./trainer";

/** By model, as this worker's GPU has shown, or has shown before. */
const tuned = new Map<ModelSpec, Tiles>();

/**
 * Registers our kernels on the device of tfjs's backend.
 * @param gpu what is behind it: a model's first step then takes the tiles that are fastest there, and finds them the first time. null for
 * a software adapter: it takes seconds for what a GPU does in some milliseconds, and has tiles of its own.
 */
export function startKernels(device: GPUDevice, gpu: GPUAdapterInfo | null): void {
  registerTrainer((spec) => {
    const layout = layOut(spec);
    if (!layout) return null;
    const known = tuned.get(spec);
    const tiles = known ?? defaultTiles(layout, gpu === null);
    if (gpu === null || known) return new WebGpuTrainer(layout, device, tiles);
    return new WebGpuTrainer(layout, device, tiles, async (find) => {
      const fastest = await fastestTiles(gpu, layout, find);
      tuned.set(spec, fastest);
      return fastest;
    });
  });
}

async function fastestTiles(gpu: GPUAdapterInfo, layout: Layout, find: () => Promise<Tiles>): Promise<Tiles> {
  const key = tilesKey(gpu, layout);
  const kept = await readTiles(key, layout);
  if (kept) return kept;
  const found = await find();
  await keepTiles(key, found);
  return found;
}
