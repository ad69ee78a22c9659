import type { ModelSpec } from "../../../src/model/model";
import type { WebGpuTrainer } from "./trainer";

/** Whether models of this worker run in our kernels on WebGPU; what they are made of is loaded with that backend alone. */

type Make = (spec: ModelSpec) => WebGpuTrainer | null;
let make: Make | null = null;

/** Has models that are made from now on run in our kernels, where they fit; null: in tfjs's. */
export function registerTrainer(own: Make | null): void {
  make = own;
}

/** A model in our kernels; null where there are none for it. */
export const ownTrainer = (spec: ModelSpec): WebGpuTrainer | null => make?.(spec) ?? null;
