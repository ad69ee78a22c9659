import * as tf from "@tensorflow/tfjs-core";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import simd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import { realGpu } from "./adapter";
import { compileFrom, download } from "./download";
import { chooseThreads, registerFusedKernels } from "./fused";
import { KernelPool } from "./kernels/pool";
import relaxed from "./kernels/kernels-relaxed.wasm?url";
import relaxedSingle from "./kernels/kernels-relaxed-single.wasm?url";
import portable from "./kernels/kernels-simd.wasm?url";
import portableSingle from "./kernels/kernels-simd-single.wasm?url";
import { startOnWasm, type WasmBackend } from "./on-wasm";
import { isThreaded, RUNGS, type Rung, type Started } from "./rungs";

/** More threads than this only wait for memory; how many of them work is measured. */
const MAX_THREADS = 8;

/** tfjs's own modules, in shared memory and in memory of one thread; it has one without SIMD too, for browsers that are no longer served. */
const THREADED = "tfjs-backend-wasm-threaded-simd.wasm";
const SINGLE = "tfjs-backend-wasm-simd.wasm";

export type Backend = "webgpu" | "wasm";

const noGpu = (): Error =>
  Object.assign(new Error("This browser gives us no GPU (WebGPU) on this machine."), { name: "NoGpuError" });

/** Starts tfjs in this worker on a backend. @throws NoGpuError (by name) when the machine has none, or as `startWasm` does */
export async function startBackend(backend: Backend): Promise<void> {
  if (backend === "wasm") {
    await startWasm();
    // It may have been started before, and another one used since.
    await tf.setBackend("wasm");
  } else {
    // It comes when it is asked for: most devices compute on WASM.
    const [{ startKernels }, { openWithFeatures }] = await Promise.all([
      import("./webgpu/start"),
      import("./webgpu/open"),
    ]);
    openWithFeatures();
    if (!(await tf.setBackend(backend))) throw noGpu();
    const { device } = tf.backend() as unknown as { device: GPUDevice };
    startKernels(device, await realGpu());
    void device.lost.then(({ reason, message }) => {
      // Nothing more will come from it: end as a crash, which the page answers with the next backend.
      if (reason !== "destroyed") reportError(new Error(`The GPU was lost: ${message}`));
    });
  }
  await tf.ready();
}

/** Where the wasm modules come from, and on how many threads they may run. */
export interface WasmSource {
  /** Where tfjs finds one of its own modules, by its name. @throws EdgeAwayError (by name) when it does not come */
  locate: (name: string) => Promise<string>;
  /** Compiles our kernels. @throws WebAssembly.CompileError when the engine does not know their instructions */
  compile: (rung: Rung) => Promise<WebAssembly.Module>;
  threads: number;
}

/** From our own origin. */
function ownOrigin(threads: number): WasmSource {
  const urls = { relaxed, simd: portable, "relaxed-single": relaxedSingle, "simd-single": portableSingle };
  return {
    locate: async (name) => URL.createObjectURL(await download(name === THREADED ? threaded : simd)),
    compile: (rung) => compileFrom(urls[rung]),
    threads: Math.min(MAX_THREADS, navigator.hardwareConcurrency, threads),
  };
}

/** Running kernels. */
export interface Wasm extends Started {
  pool: KernelPool;
}

let wasm: Promise<Wasm> | undefined;

/**
 * Starts tfjs's wasm backend, once, and adds our kernels to it.
 * @param highest the first rung to try; those below it follow where the engine lacks what it needs
 * @throws ThreadStartError (by name), or what the engine makes of our modules
 */
export function startWasm(source = ownOrigin(MAX_THREADS), highest: Rung = RUNGS[0]): Promise<Wasm> {
  wasm ??= (async () => {
    const begun = performance.now();
    const threads = isThreaded(highest) ? source.threads : 1;
    // Its own kernels run on one thread, ours on all.
    setThreadsCount(1);
    // tfjs then takes its module for one thread, whose memory is its own.
    if (threads === 1) tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    // On its way with tfjs's own module; whether it fits is seen when that one is there.
    const first = source.compile(highest);
    first.catch(() => undefined);
    // Left to itself, tfjs waits for ever for a module that does not come.
    const path = await source.locate((await tf.env().getAsync("WASM_HAS_MULTITHREAD_SUPPORT")) ? THREADED : SINGLE);
    setWasmPaths({ [THREADED]: path, [SINGLE]: path, "tfjs-backend-wasm.wasm": path });
    const compile = (rung: Rung): Promise<WebAssembly.Module> => (rung === highest ? first : source.compile(rung));
    if (!(await tf.setBackend("wasm"))) throw new Error("This browser does not run WebAssembly.");
    URL.revokeObjectURL(path);
    const backend = tf.backend() as unknown as WasmBackend;
    const memory = backend.wasm.wasmMemory ?? backend.wasm.asm.memory;
    // What tfjs has made, and not what the browser says of itself: WebKitGTK is cross-origin isolated without shared memory.
    const isShared = Object.prototype.toString.call(memory.buffer) === "[object SharedArrayBuffer]";
    const rungs = RUNGS.slice(RUNGS.indexOf(highest)).filter((rung) => isThreaded(rung) === isShared);
    const { module, rung } = await compileBest(compile, rungs);
    const allocate = (bytes: number): number => {
      const { dataId } = backend.makeOutput([bytes / 4], "float32");
      return backend.dataIdMap.get(dataId).memoryOffset;
    };
    const pool = await KernelPool.start(module, memory, isShared ? threads : 1, allocate);
    chooseThreads(backend, pool);
    registerFusedKernels(backend, pool);
    startOnWasm(backend, pool);
    return { pool, rung, threads: pool.threads, active: pool.active, startMs: performance.now() - begun };
  })();
  return wasm;
}

/** Starts the wasm backend on one thread: many workers are then as many clients. */
export const startWasmSingle = (): Promise<Wasm> => startWasm(ownOrigin(1), "relaxed-single");

/** Starts the wasm backend on a rung, or on one below it where the engine lacks what that needs. @throws as `startWasm` does */
export async function prepareWasm(highest: Rung): Promise<Started> {
  const { pool: _, ...started } = await startWasm(ownOrigin(MAX_THREADS), highest);
  return started;
}

/** The kernels of the first rung whose instructions this engine knows. */
async function compileBest(
  compile: WasmSource["compile"],
  rungs: Rung[],
): Promise<{ module: WebAssembly.Module; rung: Rung }> {
  for (const rung of rungs) {
    try {
      return { module: await compile(rung), rung };
    } catch (error) {
      if (!(error instanceof WebAssembly.CompileError) || rung === rungs.at(-1)) throw error;
    }
  }
  throw new Error("No build of the kernels fits this memory.");
}
