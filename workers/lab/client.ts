import * as Comlink from "comlink";
import { showLife } from "../life";
import { startBackend, startWasmSingle } from "../tf/backend";
import "../tf/gradients";
import { LabWorker } from "./worker";

/** One of the lab's workers in a browser: the clients that it simulates, one after the other, on one thread or on the GPU. */
showLife();
Comlink.expose(new LabWorker((backend) => (backend === "wasm" ? startWasmSingle() : startBackend(backend))));
