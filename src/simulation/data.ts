import { throughCamera, type Camera } from "../data/camera";
import { drawFaces } from "../data/drawn";
import type { LabData } from "./pool";

/** Drawn faces for training and for the test. */
export const DRAWN = { train: 3500, test: 700 } as const;

export const drawnData = (): LabData => ({ train: drawFaces(DRAWN.train, 1), test: drawFaces(DRAWN.test, 2) });

/** One labelled picture of a data set, as a file has it. */
export interface Sample {
  label: number;
  pixels: Uint8Array;
  /** `Training`, `PublicTest` or `PrivateTest`; null where the file does not say. */
  usage: string | null;
}

/** Where the file does not say what an example is for, every tenth tests. */
const TEST_EVERY = 10;

/** Whether an example, the `index`th of its file, is kept for the test. */
export const isTest = (usage: string | null, index: number): boolean =>
  usage === null ? index % TEST_EVERY === TEST_EVERY - 1 : usage !== "Training";

/** Bytes in memory that workers can share, where there is any. */
export function shared(bytes: Uint8Array): Uint8Array {
  if (typeof SharedArrayBuffer === "undefined") return bytes;
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** A run's examples, taken by its camera, where every worker can read them. Dreams stay as they are. */
export function prepare({ train, test, rehearsal }: LabData, camera: Camera): LabData {
  const ready = ({ pixels, labels }: LabData["train"]): LabData["train"] => ({
    pixels: shared(throughCamera(pixels, camera)),
    labels: shared(labels),
  });
  return { train: ready(train), test: ready(test), ...(rehearsal && { rehearsal: shared(rehearsal) }) };
}
