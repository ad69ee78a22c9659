import { sha256Hex } from "../base/digest";
import { throughCamera, type Camera } from "../data/camera";
import { drawFaces } from "../data/drawn";
import type { Usage } from "../data/usage";
import type { LabData } from "./pool";

/** Drawn faces for training and for the test. */
export const DRAWN = { train: 3500, test: 700 } as const;

export const drawnData = (): LabData => ({ train: drawFaces(DRAWN.train, 1), test: drawFaces(DRAWN.test, 2) });

/** One labelled picture of a data set, as a file has it. */
export interface Sample {
  label: number;
  pixels: Uint8Array;
  /** null where the file does not say. */
  usage: Usage;
  /** Whose it is; null where the file does not say. */
  client?: string | null;
}

/** Where the file does not say what an example is for, every tenth tests. */
const TEST_EVERY = 10;

/** Whether an example, the `index`th of its file, is kept for the test. */
export const isTest = (usage: Usage, index: number): boolean =>
  usage === null ? index % TEST_EVERY === TEST_EVERY - 1 : usage === "test";

/** Bytes in memory that workers can share, where there is any. */
export function shared(bytes: Uint8Array): Uint8Array {
  if (typeof SharedArrayBuffer === "undefined") return bytes;
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** A run's examples, taken by its camera, where every worker can read them. Dreams stay as they are. */
export function prepare({ train, test, rehearsal, kind }: LabData, camera: Camera): LabData {
  const ready = ({ pixels, labels, ...rest }: LabData["train"]): LabData["train"] => ({
    ...rest,
    pixels: shared(throughCamera(pixels, camera, kind?.input)),
    labels: shared(labels),
  });
  return {
    train: ready(train),
    test: ready(test),
    ...(rehearsal && { rehearsal: shared(rehearsal) }),
    ...(kind && { kind }),
  };
}

/** Numbers for the names of those whose examples these are, in the order in which they come; null unless every example has a name. */
export function clientNumbers(names: readonly (string | null)[]): Uint32Array | null {
  if (names.length === 0 || names.includes(null)) return null;
  const numbers = new Map<string | null, number>();
  return Uint32Array.from(names, (name) => {
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    return number;
  });
}

/** SHA-256 in hex of a run's examples as its clients and its test have them: other data are another run. */
export async function digestOf({ train, test, kind }: LabData): Promise<string> {
  const parts = [train, test].flatMap(({ pixels, labels, clients }) => [
    ...[pixels, labels, new Uint8Array((clients ?? new Uint32Array()).slice().buffer)],
  ]);
  // WebCrypto takes no shared memory.
  const unshared = (part: Uint8Array): Uint8Array<ArrayBuffer> => {
    const copy = new Uint8Array(part.length);
    copy.set(part);
    return copy;
  };
  if (kind) parts.push(new TextEncoder().encode(JSON.stringify([kind.labels, Object.entries(kind.input).sort()])));
  const digests = await Promise.all(parts.map((part) => sha256Hex(unshared(part))));
  return sha256Hex(unshared(new TextEncoder().encode(digests.join(" "))));
}
