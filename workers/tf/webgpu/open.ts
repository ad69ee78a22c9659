import * as tf from "@tensorflow/tfjs-core";
import { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";

/** What our kernels use where an adapter has it. */
const FEATURES = ["timestamp-query", "shader-f16", "subgroups"] as const satisfies GPUFeatureName[];

/** What tfjs asks for: as much as there is. */
const LIMITS = [
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupSizeX",
  "maxComputeInvocationsPerWorkgroup",
] as const satisfies (keyof GPUSupportedLimits)[];

let isOurs = false;

/** Has tfjs's backend open the GPU with the features that our kernels use: by itself it asks for none of them but the clock. */
export function openWithFeatures(): void {
  // It is there where the browser has WebGPU.
  if (isOurs || !("webgpu" in tf.engine().registryFactory)) return;
  isOurs = true;
  tf.removeBackend("webgpu");
  tf.registerBackend("webgpu", async () => {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("There is no adapter.");
    const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
    return new WebGPUBackend(await adapter.requestDevice({ requiredFeatures, requiredLimits }), adapter.info);
  });
}
