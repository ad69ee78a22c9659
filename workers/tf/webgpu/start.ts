import type { ModelSpec } from "../../../src/model/model";
import { layOut } from "./layout";
import { registerTrainer } from "./registry";
import type { Tiles } from "./tiles";
import { WebGpuTrainer } from "./trainer";

/** By model, as this worker's GPU has shown. */
const tuned = new Map<ModelSpec, Tiles>();

/**
 * Registers our kernels on the device of tfjs's backend.
 * @param isTuning whether a model's first step is to find the tiles that are fastest here
 */
export function startKernels(device: GPUDevice, isTuning: boolean): void {
  registerTrainer((spec) => {
    const layout = layOut(spec);
    if (!layout) return null;
    const tiles = tuned.get(spec);
    const keep = (found: Tiles): void => void tuned.set(spec, found);
    return new WebGpuTrainer(layout, device, tiles, isTuning && !tiles ? keep : undefined);
  });
}
