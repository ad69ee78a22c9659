/** A worker thread of the lab in Node: see worker.ts. */
import v8 from "node:v8";
import { parentPort } from "node:worker_threads";
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { load } from "../load.mjs";
import { isFile, loadStrategy } from "./strategy-file.mjs";

// Fused multiply-add: browsers have had it since 2023, Node 20 still behind this flag.
v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
const { makeWorker, STRATEGIES } = await load("tools/lab/worker.ts");
const worker = makeWorker(async (name) => (isFile(name) ? (await loadStrategy(name)).strategy : STRATEGIES.get(name)));
Comlink.expose(worker, nodeEndpoint(parentPort));
