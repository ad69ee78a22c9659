import type { ModelSpec } from "../../../src/model/model";
import { layOut } from "./layout";
import { registerTrainer } from "./registry";
import { defaultTiles, type Tiles } from "./tiles";
import { WebGpuTrainer } from "./trainer";

/** By model, as this worker's GPU has shown. */
const tuned = new Map<ModelSpec, Tiles>();

/**
 * Registers our kernels on the device of tfjs's backend.
 * @param isReal whether it is a GPU: a model's first step then finds the tiles that are fastest here. A software adapter takes seconds for
 * what a GPU does in some milliseconds, and has tiles of its own.
 */
export function startKernels(device: GPUDevice, isReal: boolean): void {
  registerTrainer((spec) => {
    const layout = layOut(spec);
    if (!layout) return null;
    const known = tuned.get(spec);
    const keep = (found: Tiles): void => void tuned.set(spec, found);
    return new WebGpuTrainer(
      layout,
      device,
      known ?? defaultTiles(layout, !isReal),
      isReal && !known ? keep : undefined,
    );
  });
}
