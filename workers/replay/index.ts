import * as Comlink from "comlink";
import { showLife } from "../life";
import type { ReplayApi } from "./api";
import { encodeReplay } from "./encode";

const api: ReplayApi = {
  async encode(frames, onProgress) {
    const file = await encodeReplay(frames, onProgress);
    return Comlink.transfer(file, [file.buffer]);
  },
};

Comlink.expose(api);
showLife();
