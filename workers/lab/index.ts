import * as Comlink from "comlink";
import { request } from "../../src/client/http";
import { WorkerBridge } from "../../src/client/worker-bridge";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { drawnLabels } from "../../src/data/drawn";
import { STRATEGIES } from "../../src/federation/strategies/registry";
import { BUILT_IN, taskOf } from "../../src/federation/tasks/registry";
import { FACE_PIXELS } from "../../src/model/expressions";
import { decodeDreams } from "../../src/model/dreams";
import { initializeWeights } from "../../src/model/initialize";
import type { DatasetName, LabConfig } from "../../src/simulation/config";
import { throughCameras } from "../../src/simulation/cameras";
import { poison } from "../../src/simulation/attack";
import { DRAWN, drawnData, prepare } from "../../src/simulation/data";
import { LabPool, type LabData, type LabWorkerApi } from "../../src/simulation/pool";
import { picture } from "../../src/simulation/cohort";
import { runLab } from "../../src/simulation/simulation";
import { summarize, type ModelSpec } from "../../src/model/model";
import { networkFor } from "../../src/simulation/network";
import { readDataset, readShareable, readRun, saveRound, type RunRecord } from "../../src/lab/store";
import { showLife } from "../life";
import { hasRealGpu } from "../tf/adapter";
import type { Backend } from "../tf/backend";
import { NO_DATA, type LabApi } from "./api";

/** The lab's conductor: holds the server's side of a simulation and gives the clients' side to workers of its own. */

/** More workers than this want more memory than a browser gives. */
const MAX_WORKERS = 8;

const named = (name: string, message: string): Error => Object.assign(new Error(message), { name });
const isMissing = (name: DatasetName): Error => named(NO_DATA, `The data set ${name} has not been imported here.`);
/** A file of our own server. @throws EdgeAwayError (by name) */
async function download(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await (await request(path)).arrayBuffer());
}

async function dataOf({ dataset, rehearse }: LabConfig): Promise<LabData> {
  const data = dataset === "drawn" ? drawnData() : await readDataset(dataset);
  if (!data) throw isMissing(dataset);
  if (rehearse === 0) return data;
  return { ...data, rehearsal: await decodeDreams(await download(BUILT_IN.expressions.dreams), FACE_PIXELS) };
}

async function startOf({ start, model, seed }: LabConfig, network: ModelSpec): Promise<Float32Array<ArrayBuffer>> {
  const task = taskOf(model);
  if (start === "initialize" || !task) return initializeWeights(network, seed);
  return decodeCheckpoint(await download(BUILT_IN[task].firstCheckpoint), summarize(network));
}

const createClient = (name: string): Worker =>
  new Worker(new URL("./client.ts", import.meta.url), { type: "module", name });

const preview: LabApi["preview"] = async (config) => {
  const { dataset } = config;
  const data =
    dataset === "drawn" ? { labels: drawnLabels(DRAWN.train), kind: undefined } : await readShareable(dataset);
  if (!data) throw isMissing(dataset);
  // Pictures that the model does not take are told before the run.
  networkFor(config, data.kind);
  return picture(config, data);
};

const run: LabApi["run"] = async (id, onUpdate) => {
  const { run, state } = await readRun(id);
  if (!run) throw named("RunGoneError", "This run has been deleted.");
  const { config } = run;
  const loaded = await dataOf(config);
  const network = networkFor(config, loaded.kind);
  const data = poison(throughCameras(prepare(loaded, config.camera), config), config);
  // A GPU is one device, whoever uses it; cores are as many as there are.
  const contrasts = config.strategy !== null && STRATEGIES.get(config.strategy)?.client.contrast !== undefined;
  const backend: Backend = !contrasts && (await hasRealGpu()) ? "webgpu" : "wasm";
  const count = backend === "webgpu" ? 1 : Math.max(1, Math.min(MAX_WORKERS, navigator.hardwareConcurrency));
  const bridges = Array.from({ length: count }, () => new WorkerBridge<LabWorkerApi>("lab-client", createClient));
  // One that dies or hangs ends in the error of its call, and the run with it: its last whole round is kept.
  const clients = bridges.map((bridge): LabWorkerApi => ({
    start: (...given) => bridge.call((api) => api.start(...given)),
    train: (task) => bridge.call((api) => api.train(task)),
    evaluate: (job) => bridge.call((api) => api.evaluate(job)),
  }));
  try {
    await Promise.all(clients.map((client) => client.start(network, data, backend, config.strategy)));
    const on = backend === "webgpu" ? "WebGPU" : `WASM, ${count} ${count === 1 ? "worker" : "workers"}`;
    await runLab({
      config,
      data,
      pool: new LabPool(clients),
      start: await startOf(config, network),
      commit: __COMMIT__,
      resume: state,
      onProgress: (progress) => onUpdate({ kind: "progress", progress }),
      onRound: async (state) => {
        const { rounds, columns, evaluation, ended, data, kind, commits } = state;
        const record: RunRecord = {
          ...run,
          on,
          problem: null,
          rounds,
          columns,
          evaluation,
          ended,
          ...(data !== undefined && { data }),
          ...(kind && { kind }),
          ...(commits && { commits }),
        };
        await saveRound(record, state);
        onUpdate({ kind: "round", run: record });
      },
    });
  } finally {
    for (const bridge of bridges) bridge.stop();
  }
};

showLife();
Comlink.expose({ run, preview } satisfies LabApi);
