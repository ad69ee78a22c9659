/** Where an update's decoded numbers go on their way into the store: nothing is stored of one that is never closed. */

type Numbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** The store could not take an update. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

const notStored = (cause: unknown): StoreError => new StoreError(String(cause), { cause });

export interface Sink {
  /** @throws StoreError */
  write: (values: Numbers) => Promise<void>;
  /** Stores all that was written. @returns the numbers, where they were kept @throws StoreError */
  close: () => Promise<ArrayBuffer | null>;
  abort: (error: unknown) => Promise<void>;
}

/** Keeps all numbers and stores them at once, in the end. @param length how many there will be */
export function keepingSink(store: R2Bucket, key: string, length: number): Sink {
  const bytes = new Uint8Array(length * 4);
  let at = 0;
  return {
    write: (values) => {
      bytes.set(new Uint8Array(values.buffer), at);
      at += values.byteLength;
      return Promise.resolve();
    },
    close: async () => {
      try {
        await store.put(key, bytes);
      } catch (error) {
        throw notStored(error);
      }
      return bytes.buffer;
    },
    abort: () => Promise.resolve(),
  };
}

/** Stores numbers as they come and keeps none but the last: the store keeps nothing that lacks its end. */
export function streamingSink(store: R2Bucket, key: string, length: number): Sink {
  const sized = new FixedLengthStream(length * 4);
  const target = sized.writable.getWriter();
  const put = store.put(key, sized.readable);
  // A store that fails at once reads nothing, and writing would wait for it for ever.
  const failed = put.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => {
      throw notStored(error);
    },
  );
  failed.catch(() => undefined);
  let last: Numbers | undefined;
  const send = async (): Promise<void> => {
    if (last) await Promise.race([target.write(new Uint8Array(last.buffer)), failed]);
  };
  return {
    write: async (values) => {
      await send();
      last = values;
    },
    close: async () => {
      await send();
      await Promise.race([Promise.all([target.close(), put]), failed]);
      return null;
    },
    abort: async (error) => {
      await Promise.allSettled([target.abort(error), put]);
    },
  };
}
