// All of tfjs: in Node its gradients come with no smaller part of it.
import "@tensorflow/tfjs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { AnyStrategy } from "../../src/federation/strategies/registry";
import { LabWorker } from "../../workers/lab/worker";
import { startWasm } from "../../workers/tf/backend";

/** One client after the other, on one thread, with the files of tfjs's package and our kernels from the disk. */

const tfjs = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"));
const kernels = join(import.meta.dirname, "../../workers/tf/kernels");

const start = () =>
  startWasm({
    threads: 1,
    locate: (name) => Promise.resolve(join(tfjs, name)),
    compile: async (rung) => WebAssembly.compile(await readFile(join(kernels, `kernels-${rung}.wasm`))),
  });

/** @param strategyNamed finds strategies beside the built-in ones */
export const makeWorker = (strategyNamed?: (name: string) => Promise<AnyStrategy | undefined>): LabWorker =>
  new LabWorker(start, strategyNamed);
export const worker = makeWorker();
export { STRATEGIES } from "../../src/federation/strategies/registry";
