/** What this browser has of the platform, looked for and not concluded from its name. */

const validates = (...bytes: number[]): boolean =>
  typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, ...bytes]));

/** Whether the option `type` of a worker is read at all. No worker is made: asking ends in an error. */
function readsWorkerType(): boolean {
  let isRead = false;
  try {
    new Worker("", {
      get type(): WorkerType {
        isRead = true;
        throw new Error("No worker is wanted.");
      },
    });
  } catch {
    // As meant.
  }
  return isRead;
}

/**
 * What the app uses beside all that and is in no older browser than these: `own/platform` in eslint.config.js names whatever is missing
 * here.
 */
const MODERN = [
  "AbortSignal.any",
  "AbortSignal.timeout",
  "AbortSignal.abort",
  "AbortSignal.prototype.reason",
  "AbortSignal.prototype.throwIfAborted",
  "Array.prototype.at",
  "Array.prototype.findLast",
  "Array.prototype.toReversed",
  "Array.prototype.toSorted",
  "Array.prototype.with",
  "Uint8Array.prototype.at",
  "Object.hasOwn",
  "Element.prototype.checkVisibility",
  "CanvasRenderingContext2D.prototype.roundRect",
];

/** Whether there is such a member of the platform. It is not read: a getter of a prototype throws. */
function isThere(path: string): boolean {
  const parts = path.split(".");
  const last = parts.pop() ?? "";
  const owner = parts.reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], globalThis);
  return owner !== undefined && last in Object(owner);
}

/** Each looks for one thing; the two small programs are those of wasm-feature-detect. */
const FEATURES = {
  simd: () => validates(1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11),
  moduleWorkers: readsWorkerType,
  offscreenCanvas: () => typeof OffscreenCanvas === "function" && new OffscreenCanvas(1, 1).getContext("2d") !== null,
  imageBitmap: () => typeof createImageBitmap === "function",
  compression: () => typeof CompressionStream === "function",
  modern: () => MODERN.every(isThere),
  secureContext: () => isSecureContext,
  indexedDb: () => typeof indexedDB === "object",
  relaxedSimd: () =>
    validates(1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11),
  sharedMemory: () => crossOriginIsolated && typeof SharedArrayBuffer === "function",
  webGpu: () => "gpu" in navigator,
  locks: () => "locks" in navigator,
  persistence: () => "storage" in navigator && "persist" in navigator.storage,
} as const satisfies Record<string, () => boolean>;
export type Feature = keyof typeof FEATURES;

/** Without these there is no game; without the others it goes on with less. */
const NEEDED: readonly Feature[] = [
  "simd",
  "moduleWorkers",
  "offscreenCanvas",
  "imageBitmap",
  "compression",
  "modern",
  "secureContext",
];

export const features = (): { feature: Feature; isThere: boolean }[] =>
  (Object.keys(FEATURES) as Feature[]).map((feature) => ({ feature, isThere: FEATURES[feature]() }));

/** What the game cannot go on without and this browser lacks. */
export const lacking = (): Feature[] => NEEDED.filter((feature) => !FEATURES[feature]());
