import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import plain from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import simd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import { registerWasmTrainingKernels } from "./wasm-kernels";

export type Backend = "webgpu" | "wasm";

/** Starts tfjs in this worker on the wanted backend, or on the best that this machine has. Returns its name. */
export async function startBackend(wanted?: Backend): Promise<Backend> {
  const backend = wanted ?? ((await hasRealGpu()) ? "webgpu" : "wasm");
  if (backend === "wasm") prepareWasm();
  if (!(await tf.setBackend(backend))) {
    if (wanted === undefined && backend === "webgpu") return startBackend("wasm");
    throw new Error(`The ${backend} backend does not start on this machine.`);
  }
  await tf.ready();
  return backend;
}

/** Whether WebGPU would run on hardware: a software adapter is correct, but forty times slower than WASM. */
async function hasRealGpu(): Promise<boolean> {
  if (!("gpu" in navigator)) return false;
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    return adapter !== null && !adapter.info.isFallbackAdapter && adapter.info.architecture !== "swiftshader";
  } catch {
    return false; // A browser that offers no adapter has no GPU for us.
  }
}

function prepareWasm(): void {
  setWasmPaths({
    "tfjs-backend-wasm.wasm": plain,
    "tfjs-backend-wasm-simd.wasm": simd,
    "tfjs-backend-wasm-threaded-simd.wasm": threaded,
  });
  // tfjs's C++ takes half of what the browser reports as its number of threads, so that two cores get one: we report
  // twice as much, in this worker alone, before it asks.
  const cores = navigator.hardwareConcurrency;
  if (Object.getOwnPropertyDescriptor(navigator, "hardwareConcurrency") === undefined) {
    Object.defineProperty(navigator, "hardwareConcurrency", { value: cores * 2 });
  }
  registerWasmTrainingKernels();
}
