import { layOut } from "../../workers/tf/webgpu/layout";
import type { Tile } from "../../workers/tf/webgpu/product";
import { registerTrainer } from "../../workers/tf/webgpu/registry";
import { defaultTiles } from "../../workers/tf/webgpu/tiles";
import { WebGpuTrainer } from "../../workers/tf/webgpu/trainer";

/**
 * Has models that are made from now on run in our kernels, as the app starts them but with nothing kept of earlier visits, and shows the
 * last one's.
 */
export function watchTrainers(device: GPUDevice, isReal: boolean): { own?: WebGpuTrainer | null } {
  const seen: { own?: WebGpuTrainer | null } = {};
  registerTrainer((spec) => {
    const layout = layOut(spec);
    const choose = isReal ? chooseAnew : undefined;
    return (seen.own = layout && new WebGpuTrainer(layout, device, defaultTiles(layout, !isReal), choose));
  });
  return seen;
}

export const chooseAnew: ConstructorParameters<typeof WebGpuTrainer>[3] = async (find, settle) => settle(await find());

/** A tile in words. */
export const tileInWords = ({ rows, columns, depth, threadRows, threadColumns, halves, quads }: Tile): string => {
  const variant = `${halves ? ", f16" : ""}${quads ? ", quads" : ""}`;
  return `${rows}x${columns}x${depth} by ${threadRows}x${threadColumns}${variant}`;
};

/** The tiles that a model took, in words, by product. */
export const tilesInWords = ({ tiles }: WebGpuTrainer): Record<string, string> =>
  Object.fromEntries(Object.entries(tiles).map(([key, one]) => [key, tileInWords(one)]));
