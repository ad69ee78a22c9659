import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import plain from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import simd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import { registerComposedKernels } from "./composed-kernels";
import { registerFusedKernels, type WasmBackend } from "./fused";
import { KernelPool, loadKernels } from "./kernels/pool";

/** More threads than this only wait for memory. */
const MAX_THREADS = 8;

export type Backend = "webgpu" | "wasm";

/** Starts tfjs in this worker on the wanted backend, or on the best that this machine has. Returns its name. */
export async function startBackend(wanted?: Backend): Promise<Backend> {
  const backend = wanted ?? ((await hasRealGpu()) ? "webgpu" : "wasm");
  if (backend === "wasm") await startWasm();
  else if (!(await tf.setBackend(backend))) {
    if (wanted === undefined) return startBackend("wasm");
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

let wasm: Promise<KernelPool | null> | undefined;

/** Starts tfjs's wasm backend, once, and adds our kernels to it; null where there is no shared memory for them. */
export function startWasm(): Promise<KernelPool | null> {
  wasm ??= (async () => {
    setWasmPaths({
      "tfjs-backend-wasm.wasm": plain,
      "tfjs-backend-wasm-simd.wasm": simd,
      "tfjs-backend-wasm-threaded-simd.wasm": threaded,
    });
    const memory = captureSharedMemory();
    const kernels = crossOriginIsolated ? loadKernels() : undefined;
    if (!(await tf.setBackend("wasm"))) throw new Error("This browser does not run WebAssembly.");
    const shared = memory();
    if (!kernels || !shared) {
      registerComposedKernels();
      return null;
    }
    const backend = tf.backend() as unknown as WasmBackend;
    const allocate = (bytes: number): number => {
      const { dataId } = backend.makeOutput([bytes / 4], "float32");
      return backend.dataIdMap.get(dataId).memoryOffset;
    };
    const { module } = await kernels;
    const pool = await KernelPool.start(module, shared, Math.min(MAX_THREADS, navigator.hardwareConcurrency), allocate);
    registerFusedKernels(backend, pool);
    return pool;
  })();
  return wasm;
}

/**
 * tfjs keeps the memory of its threaded wasm module to itself; our kernels have to work in it. Notes the shared memory
 * that is made from now on until the returned function is called, which gives it.
 */
function captureSharedMemory(): () => WebAssembly.Memory | undefined {
  const { Memory } = WebAssembly;
  const made: WebAssembly.Memory[] = [];
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super(descriptor);
      if (descriptor.shared) made.push(this);
    }
  };
  return () => {
    WebAssembly.Memory = Memory;
    return made.at(-1);
  };
}
