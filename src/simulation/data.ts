import { sha256Hex } from "../base/digest";
import { hash32 } from "../base/random";
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

/** Where the file does not say what an example is for, one of so many of each label tests. */
const TEST_EVERY = 10;
/** Of the draw. Another would be another split of the same data. */
const SPLIT_SEED = 0x7e57;

/**
 * Decides example by example, in the order of a file, which of them are kept for the test. Where the file says it, that holds. Otherwise it is
 * one of every ten of a label, drawn by a hash of its place among them: every label of ten examples or more has one, in whatever order the
 * labels come, and the same file is always split alike. Of ten examples one tests, however many labels they have.
 */
export function testSplit(): (usage: Usage, label: number) => boolean {
  const counts = new Map<number, number>();
  let [seen, tested] = [0, 0];
  return (usage, label) => {
    if (usage !== null) return usage === "test";
    seen += 1;
    const count = counts.get(label) ?? 0;
    counts.set(label, count + 1);
    const drawn = hash32(hash32(SPLIT_SEED, label), Math.floor(count / TEST_EVERY)) % TEST_EVERY;
    const isTest = count % TEST_EVERY === drawn || (tested === 0 && seen === TEST_EVERY);
    tested += Number(isTest);
    return isTest;
  };
}

/** What to do about a data set of which all is said to be for the training, or for the test. */
export const ONE_SIDED = `All are said to be for the same: without the column that says so, one of ${TEST_EVERY} of each label tests.`;

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

/**
 * Numbers for the names of those whose examples these are, from 1, in the order in which they come; 0 for an example that is nobody's.
 * Null where all are.
 */
export function clientNumbers(names: readonly (string | null)[]): Uint32Array<ArrayBuffer> | null {
  const numbers = new Map<string, number>();
  const all = Uint32Array.from(names, (name) => {
    if (name === null) return 0;
    const number = numbers.get(name) ?? numbers.size + 1;
    numbers.set(name, number);
    return number;
  });
  return numbers.size > 0 ? all : null;
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
