import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import plain from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import simd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import { registerComposedKernels } from "./composed-kernels";
import { chooseThreads, registerFusedKernels, type WasmBackend } from "./fused";
import { KernelPool, loadKernels } from "./kernels/pool";

/** More threads than this only wait for memory; how many of them work is measured. */
const MAX_THREADS = 8;

export type Backend = "webgpu" | "wasm";

/** Starts tfjs in this worker on a backend. @throws Error when the machine does not have it */
export async function startBackend(backend: Backend): Promise<void> {
  if (backend === "wasm") {
    await startWasm();
    // It may have been started before, and another one used since.
    await tf.setBackend("wasm");
  } else {
    if (!(await tf.setBackend(backend))) throw new Error("This browser gives us no GPU (WebGPU) on this machine.");
    const { device } = tf.backend() as unknown as { device: GPUDevice };
    void device.lost.then(({ reason, message }) => {
      // Nothing more will come from it: end as a crash, which the page answers with the next backend.
      if (reason !== "destroyed") reportError(new Error(`The GPU was lost: ${message}`));
    });
  }
  await tf.ready();
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
    if (pool.threads > 1) chooseThreads(backend, pool);
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
