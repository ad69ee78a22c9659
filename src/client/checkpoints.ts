import { applyDifference } from "../federation/difference";
import { IntegrityError, sha256Hex, verified } from "../base/digest";
import { gunzip } from "../base/gzip";
import { summarize, type ModelSummary } from "../model/model";
import type { CheckpointInfo } from "../federation/protocol";
import { networkOf } from "../federation/tasks/network";
import type { TaskName } from "../federation/tasks/registry";
import { EdgeAwayError, PATIENCE, request } from "./http";

/** A download broke off; what has come is kept. */
export class DownloadBrokeOffError extends EdgeAwayError {
  override readonly name = "DownloadBrokeOffError";
}

export const CHECKPOINT_CACHE = "checkpoints";

/**
 * A checkpoint's file: from this device if it is here, else from the edge, as the difference to one that is here where there is
 * such a difference. Its SHA-256 is checked either way. The latest three are kept:
 * a version, what its server remembers, and a candidate.
 * @returns the file, and how many bytes were downloaded for it.
 * @throws IntegrityError, EdgeAwayError, EdgeRefusalError
 */
export async function getCheckpoint(
  task: TaskName,
  { sha256, bytes, difference }: CheckpointInfo,
  onProgress?: (share: number) => void,
  signal?: AbortSignal,
): Promise<{ file: Uint8Array<ArrayBuffer>; bytesDown: number }> {
  const cache = await caches.open(CHECKPOINT_CACHE);
  const known = await fromCache(cache, sha256);
  if (known) return { file: known, bytesDown: 0 };
  const base = difference && (await fromCache(cache, difference.from));
  let bytesDown = base ? difference.bytes : 0;
  let file = base && (await fromDifference(summarize(networkOf(task)), base, sha256, difference.bytes, signal));
  if (!file) {
    const whole = await download(urlOf(sha256), bytes, onProgress, signal);
    bytesDown += bytes;
    file = await verified(whole, sha256);
  }
  for (const old of (await cache.keys()).slice(0, -2)) await cache.delete(old);
  await cache.put(urlOf(sha256), new Response(file));
  return { file, bytesDown };
}

/**
 * A checkpoint's file to see faces with, as {@link getCheckpoint} where that costs less, else in int8: a quarter of the bytes, for
 * weights that are nearly the same. Who trains needs them exactly.
 */
export async function getLightCheckpoint(
  task: TaskName,
  checkpoint: CheckpointInfo,
  onProgress?: (share: number) => void,
): ReturnType<typeof getCheckpoint> {
  const { sha256, version, light, difference } = checkpoint;
  const cache = await caches.open(CHECKPOINT_CACHE);
  const isHere = async (one: string): Promise<boolean> => (await cache.match(urlOf(one))) !== undefined;
  const isCheap = (await isHere(sha256)) || (difference !== undefined && (await isHere(difference.from)));
  return getCheckpoint(task, light && !isCheap ? { ...light, version } : checkpoint, onProgress);
}

/** A checkpoint's file, exact or in int8, if it is on this device: nothing is downloaded for it. */
export async function checkpointHere({ sha256, light }: CheckpointInfo): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const cache = await caches.open(CHECKPOINT_CACHE);
  return (await fromCache(cache, sha256)) ?? (light && (await fromCache(cache, light.sha256)));
}

const urlOf = (sha256: string): string => `/api/checkpoints/${sha256}`;

/** A checkpoint that is on this device, and undamaged. */
async function fromCache(cache: Cache, sha256: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const cached = await cache.match(urlOf(sha256));
  if (!cached) return undefined;
  const file = new Uint8Array(await cached.arrayBuffer());
  if ((await sha256Hex(file)) === sha256) return file;
  await cache.delete(urlOf(sha256));
  return undefined;
}

/** A checkpoint made of the one before; undefined where that does not lead to it: then there is still the whole. */
async function fromDifference(
  model: ModelSummary,
  base: Uint8Array<ArrayBuffer>,
  sha256: string,
  bytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const packed = await download(`${urlOf(sha256)}/difference`, bytes, undefined, signal);
    const file = applyDifference(model, base, await gunzip(packed));
    return (await sha256Hex(file)) === sha256 ? file : undefined;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof EdgeAwayError) throw error;
    console.warn("The difference to the next checkpoint could not be used:", error);
    return undefined;
  }
}

/** A download that broke off goes on from here: so many bytes are written down at a time. */
const PART_BYTES = 1 << 20;

/**
 * A file of a known length. What has come before it broke off, with the page or with the connection, is kept, and is not
 * downloaded again.
 * @throws IntegrityError when it has another length
 */
async function download(
  url: string,
  bytes: number,
  onProgress?: (share: number) => void,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const cache = await caches.open(CHECKPOINT_CACHE);
  const partUrl = (part: number): string => `${url}/part/${part}`;
  const file = new Uint8Array(bytes);
  let received = 0;
  let parts = 0;
  for (let kept = await cache.match(partUrl(0)); kept; kept = await cache.match(partUrl(++parts))) {
    const part = new Uint8Array(await kept.arrayBuffer());
    if (received + part.length >= bytes) break;
    file.set(part, received);
    received += part.length;
  }
  const init = { ...(signal && { signal }), ...(received > 0 && { headers: { range: `bytes=${received}-` } }) };
  const response = await request(url, init, PATIENCE.transfer);
  if (response.status !== 206) received = parts = 0;
  let kept = received;
  const keep = async (): Promise<void> => {
    const part = new Response(file.subarray(kept, received));
    // A device without room downloads all of it once more.
    await cache.put(partUrl(parts++), part).catch(() => undefined);
    kept = received;
  };
  const reader = response.body?.getReader();
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      return (await reader?.read())?.value;
    } catch (error) {
      await keep();
      signal?.throwIfAborted();
      throw new DownloadBrokeOffError(
        "The download of the model broke off. It goes on from there when you try again.",
        {
          cause: error,
        },
      );
    }
  };
  for (let part = await next(); part; part = await next()) {
    if (received + part.length > bytes) throw new IntegrityError("The checkpoint is longer than announced.");
    file.set(part, received);
    received += part.length;
    onProgress?.(received / bytes);
    if (received - kept >= PART_BYTES && received < bytes) await keep();
  }
  for (let part = 0; part < parts; part++) await cache.delete(partUrl(part));
  if (received !== bytes) throw new IntegrityError("The checkpoint is shorter than announced. Try again.");
  return file;
}
