import type { TrainerApi } from "../../workers/trainer/api";
import type { Backend } from "../../workers/tf/backend";
import { Watch } from "../client/watch";
import { WorkerBridge, WorkerSilentError } from "../client/worker-bridge";

export const createTrainer = (): WorkerBridge<TrainerApi> =>
  new WorkerBridge(
    "trainer",
    (name) => new Worker(new URL("../../workers/trainer/index.ts", import.meta.url), { type: "module", name }),
    (api, highest) => api.prepare(highest),
  );

/** A training that has not ended another batch for so long stands still; a software GPU takes half a minute for one. */
const STANDSTILL_SECONDS = 300;

/**
 * Ends a training that stands still although its worker answers, as a GPU may that hangs: nobody has told the watch for long that it is
 * alive. What a GPU does says nothing of WebAssembly's threads.
 */
export const watchTraining = (trainer: Pick<WorkerBridge<TrainerApi>, "stop">, backend: Backend): Watch =>
  new Watch(STANDSTILL_SECONDS, () => {
    trainer.stop(new WorkerSilentError(STANDSTILL_SECONDS, backend === "wasm"));
  });
