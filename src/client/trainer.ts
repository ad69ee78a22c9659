import type { Backend } from "../../workers/tf/backend";
import type { TrainerApi } from "../../workers/trainer/api";
import { WorkerBridge } from "./worker-bridge";

export const createTrainer = (): WorkerBridge<TrainerApi> =>
  new WorkerBridge(() => new Worker(new URL("../../workers/trainer/index.ts", import.meta.url), { type: "module" }));

/** `?backend=webgpu` or `?backend=wasm` in the address overrides the choice. */
export function forcedBackend(): Backend | undefined {
  const wanted = new URLSearchParams(location.search).get("backend");
  return wanted === "webgpu" || wanted === "wasm" ? wanted : undefined;
}
