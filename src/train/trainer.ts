import type { TrainerApi } from "../../workers/trainer/api";
import { WorkerBridge } from "../client/worker-bridge";

export const createTrainer = (): WorkerBridge<TrainerApi> =>
  new WorkerBridge(
    "trainer",
    (name) => new Worker(new URL("../../workers/trainer/index.ts", import.meta.url), { type: "module", name }),
    (api, highest) => api.prepare(highest),
  );
