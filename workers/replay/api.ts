import type { Progress, ReplayFrame } from "./encode";

export interface ReplayApi {
  /**
   * Makes an animated GIF that runs for ever. To cancel, stop the worker.
   * @param frames in the order in which they are seen; all of one size
   */
  encode(frames: ReplayFrame[], onProgress: Progress): Promise<Uint8Array<ArrayBuffer>>;
}
