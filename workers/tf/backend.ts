import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import plain from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import simd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import { chooseThreads, registerFusedKernels, type WasmBackend } from "./fused";
import { KernelPool } from "./kernels/pool";
import relaxed from "./kernels/kernels-relaxed.wasm?url";
import relaxedSingle from "./kernels/kernels-relaxed-single.wasm?url";
import portable from "./kernels/kernels-simd.wasm?url";
import portableSingle from "./kernels/kernels-simd-single.wasm?url";

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

/** Where the wasm modules come from, and on how many threads they may run. */
export interface WasmSource {
  /** Of tfjs's own modules, by their names. */
  paths: Record<string, string>;
  /** Compiles our kernels. @throws WebAssembly.CompileError when the engine does not know their instructions */
  compile: (variant: "relaxed" | "simd" | "relaxed-single" | "simd-single") => Promise<WebAssembly.Module>;
  threads: number;
}

/** From our own origin; on every core where the page is cross-origin isolated and so has shared memory. */
function ownOrigin(threads: number): WasmSource {
  const urls = { relaxed, simd: portable, "relaxed-single": relaxedSingle, "simd-single": portableSingle };
  return {
    paths: {
      "tfjs-backend-wasm.wasm": plain,
      "tfjs-backend-wasm-simd.wasm": simd,
      "tfjs-backend-wasm-threaded-simd.wasm": threaded,
    },
    compile: (variant) => WebAssembly.compileStreaming(fetch(urls[variant])),
    threads: crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency, threads) : 1,
  };
}

let wasm: Promise<KernelPool> | undefined;

/** Starts tfjs's wasm backend, once, and adds our kernels to it. */
export function startWasm(source = ownOrigin(MAX_THREADS)): Promise<KernelPool> {
  wasm ??= (async () => {
    const { threads } = source;
    setWasmPaths(source.paths);
    // Its own kernels run on one thread, ours on all.
    setThreadsCount(1);
    const module = compileKernels(source);
    // tfjs then takes its module for one thread, whose memory is its own.
    if (threads === 1) tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    if (!(await tf.setBackend("wasm"))) throw new Error("This browser does not run WebAssembly.");
    const backend = tf.backend() as unknown as WasmBackend;
    const memory = backend.wasm.wasmMemory ?? backend.wasm.asm.memory;
    const allocate = (bytes: number): number => {
      const { dataId } = backend.makeOutput([bytes / 4], "float32");
      return backend.dataIdMap.get(dataId).memoryOffset;
    };
    const pool = await KernelPool.start(await module, memory, threads, allocate);
    if (pool.threads > 1) chooseThreads(backend, pool);
    registerFusedKernels(backend, pool);
    return pool;
  })();
  return wasm;
}

/** Starts the wasm backend on one thread: many workers are then as many clients. */
export const startWasmSingle = (): Promise<KernelPool> => startWasm(ownOrigin(1));

/** Our kernels, with fused multiply-add where this engine has relaxed SIMD. */
async function compileKernels({ compile, threads }: WasmSource): Promise<WebAssembly.Module> {
  const single = threads === 1;
  try {
    return await compile(single ? "relaxed-single" : "relaxed");
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    return compile(single ? "simd-single" : "simd");
  }
}
