import * as Comlink from "comlink";
import { decodeCheckpoint } from "../../src/core/checkpoint";
import { drawnLabels } from "../../src/core/data/drawn";
import { decodeDreams, DREAMS_PATH } from "../../src/core/dreams";
import { initializeWeights } from "../../src/core/initialize";
import type { DatasetName, LabConfig } from "../../src/core/lab/config";
import { poison } from "../../src/core/lab/attack";
import { DRAWN, drawnData, prepare } from "../../src/core/lab/data";
import { LabPool, type LabData, type LabWorkerApi } from "../../src/core/lab/pool";
import { picture } from "../../src/core/lab/cohort";
import { runLab } from "../../src/core/lab/simulation";
import { MODELS, summarize } from "../../src/core/model";
import { readDataset, readLabels, readRun, saveRound, type RunRecord } from "../../src/lab/store";
import { showLife } from "../life";
import { hasRealGpu } from "../tf/adapter";
import type { Backend } from "../tf/backend";
import { NO_DATA, type LabApi } from "./api";

/** The lab's conductor: holds the server's side of a simulation and gives the clients' side to workers of its own. */

/** More workers than this want more memory than a browser gives. */
const MAX_WORKERS = 8;

const isMissing = (name: DatasetName): Error =>
  Object.assign(new Error(`The data set ${name} has not been imported here.`), { name: NO_DATA });

async function dataOf({ dataset, rehearse }: LabConfig): Promise<LabData> {
  const data = dataset === "drawn" ? drawnData() : await readDataset(dataset);
  if (!data) throw isMissing(dataset);
  if (rehearse === 0) return data;
  const response = await fetch(DREAMS_PATH);
  if (!response.ok) throw new Error(`The dreamed faces could not be loaded (${response.status}).`);
  return { ...data, rehearsal: await decodeDreams(new Uint8Array(await response.arrayBuffer())) };
}

async function startOf({ start, model, seed }: LabConfig): Promise<Float32Array<ArrayBuffer>> {
  if (start === "initialize") return initializeWeights(MODELS[model], seed);
  const response = await fetch(`/models/${model}/initial.safetensors`);
  if (!response.ok) throw new Error(`The shipped checkpoint of ${model} could not be loaded (${response.status}).`);
  return decodeCheckpoint(new Uint8Array(await response.arrayBuffer()), summarize(MODELS[model]));
}

const preview: LabApi["preview"] = async (config) => {
  const { dataset } = config;
  const labels = dataset === "drawn" ? drawnLabels(DRAWN.train) : await readLabels(dataset);
  if (!labels) throw isMissing(dataset);
  return picture(config, labels);
};

const run: LabApi["run"] = async (id, onUpdate) => {
  const { run, state } = await readRun(id);
  if (!run) throw new Error("This run has been deleted.");
  const { config } = run;
  const data = poison(prepare(await dataOf(config), config.camera), config);
  // A GPU is one device, whoever uses it; cores are as many as there are.
  const backend: Backend = (await hasRealGpu()) ? "webgpu" : "wasm";
  const count = backend === "webgpu" ? 1 : Math.max(1, Math.min(MAX_WORKERS, navigator.hardwareConcurrency));
  let fail: (reason: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const workers = Array.from({ length: count }, (_, i) => {
    const worker = new Worker(new URL("./client.ts", import.meta.url), { type: "module", name: `lab-client-${i}` });
    worker.onerror = (event) => {
      fail(new Error(event.message || "A worker of the lab could not be started."));
    };
    return worker;
  });
  try {
    const clients = workers.map((worker) => Comlink.wrap<LabWorkerApi>(worker));
    await Promise.race([Promise.all(clients.map((client) => client.start(config.model, data, backend))), failed]);
    const on = backend === "webgpu" ? "WebGPU" : `WASM, ${count} ${count === 1 ? "worker" : "workers"}`;
    const work = runLab({
      ...{ config, data, pool: new LabPool(clients), start: await startOf(config), resume: state },
      onProgress: (progress) => onUpdate({ kind: "progress", progress }),
      onRound: async (state) => {
        const { rounds, columns, evaluation, ended } = state;
        const record: RunRecord = { ...run, on, problem: null, rounds, columns, evaluation, ended };
        await saveRound(record, state);
        onUpdate({ kind: "round", run: record });
      },
    });
    await Promise.race([work, failed]);
  } finally {
    for (const worker of workers) worker.terminate();
  }
};

showLife();
Comlink.expose({ run, preview } satisfies LabApi);
