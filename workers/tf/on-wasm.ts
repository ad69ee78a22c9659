import * as tf from "@tensorflow/tfjs-core";
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import type { KernelPool } from "./kernels/pool";

/** tfjs's wasm backend with our kernels in its memory, for whoever works in that memory without tfjs's operations. */

/** What we use of tfjs's wasm backend. */
export type WasmBackend = Pick<
  BackendWasm,
  "dataIdMap" | "makeOutput" | "typedArrayFromHeap" | "disposeData" | "incRef"
> & {
  /** The Emscripten module: it imports its memory where that is shared, and else exports it. */
  wasm: { wasmMemory?: WebAssembly.Memory; asm: { memory: WebAssembly.Memory } };
};

interface Running {
  backend: WasmBackend;
  pool: KernelPool;
}
let running: Running | undefined;

/** Says that the kernels run, once for this worker. */
export function startOnWasm(backend: WasmBackend, pool: KernelPool): void {
  running = { backend, pool };
}

/** Backend and kernels, where tfjs computes on them. */
export const onWasm = (): Running | undefined => (tf.getBackend() === "wasm" ? running : undefined);

/** A tensor's address. */
export const pointerOf = ({ backend }: Running, { dataId }: tf.TensorInfo): number =>
  backend.dataIdMap.get(dataId).memoryOffset;

/** A tensor whose numbers are still to be written. */
export const emptyTensor = ({ backend }: Running, shape: number[]): tf.Tensor =>
  tf.engine().makeTensorFromTensorInfo(backend.makeOutput(shape, "float32"));

/** A tensor's numbers where they lie, until memory is next allocated: it may then be another array. */
export const numbersIn = ({ backend }: Running, tensor: tf.TensorInfo): Float32Array =>
  backend.typedArrayFromHeap(tensor) as Float32Array;
