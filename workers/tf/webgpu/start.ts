import { layOut } from "./layout";
import { registerTrainer } from "./registry";
import { WebGpuTrainer } from "./trainer";

/** Registers our kernels on the device of tfjs's backend, which shares its queue. */
export function startKernels(device: GPUDevice): void {
  registerTrainer((spec) => {
    const layout = layOut(spec);
    return layout && new WebGpuTrainer(layout, device);
  });
}
