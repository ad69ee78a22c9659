import type { ModelSpec } from "../../../src/model/model";
import { keepTiles, readTiles, tilesKey } from "./kept-tiles";
import { layOut, type Layout } from "./layout";
import { registerTrainer } from "./registry";
import { abilitiesOf, defaultTiles, type Tiles } from "./tiles";
import { WebGpuTrainer, type ChooseTiles } from "./trainer";

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
    if (gpu === null) return new WebGpuTrainer(layout, device, defaultTiles(layout, true));
    return new WebGpuTrainer(layout, device, tuned.get(spec), async (find, settle) => {
      const tiles = await fastestTiles({ gpu, device, layout, known: tuned.get(spec) }, find, settle);
      tuned.set(spec, tiles);
      return tiles;
    });
  });
}

/** What was chosen before, or is found now; in either case as far as it agrees with the plain tiles on this training's first batch. */
async function fastestTiles(
  { gpu, device, layout, known }: { gpu: GPUAdapterInfo; device: GPUDevice; layout: Layout; known: Tiles | undefined },
  ...[find, settle]: Parameters<ChooseTiles>
): Promise<Tiles> {
  const can = abilitiesOf(device);
  const key = tilesKey(gpu, layout, can);
  const kept = known ?? (await readTiles(key, layout, can));
  const settled = await settle(kept ?? (await find()));
  if (JSON.stringify(settled) !== JSON.stringify(kept)) await keepTiles(key, settled);
  return settled;
}
