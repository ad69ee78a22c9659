import * as Comlink from "comlink";
import { createTrainer } from "../../src/client/trainer";
import { initializeWeights } from "../../src/core/initialize";
import { SEED_CNN, summarize } from "../../src/core/model";
import { encodeSafetensors } from "../../src/core/safetensors";
import type { Backend } from "../../workers/tf/backend";
import type { Probe } from "../../workers/trainer/api";
import type { HarnessWorker } from "./worker";

/** Takes training steps of the seed CNN in a fresh trainer of the app. `totalMs` is from the worker's start to its answer. */
async function train(backend: Backend, faces: number, steps: number): Promise<Probe & { totalMs: number }> {
  const { tensors } = summarize(SEED_CNN);
  const file = encodeSafetensors(tensors, initializeWeights(SEED_CNN, 2013), {});
  const begun = performance.now();
  const trainer = createTrainer();
  try {
    const probe = await trainer.call((api) => api.probe(Comlink.transfer(file, [file.buffer]), faces, steps, backend));
    return { ...probe, totalMs: performance.now() - begun };
  } finally {
    trainer.stop();
  }
}

const worker = (): Comlink.Remote<HarnessWorker> =>
  Comlink.wrap<HarnessWorker>(new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }));

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

const harness = { train, worker, fromBase64 };
export type Harness = typeof harness;

declare global {
  interface Window {
    /** What benchmarks and tests call in this page. */
    harness: Harness;
  }
}
window.harness = harness;
