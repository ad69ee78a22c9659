/** The platform's gzip, which is what every update and difference travels in. */

/** Compresses. */
export const gzip = (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  through(bytes, new CompressionStream("gzip"));

/** Decompresses what our own edge has compressed. @throws TypeError when it is not gzip, or cut off */
export const gunzip = (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  through(bytes, new DecompressionStream("gzip"));

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  transform: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(transform)).arrayBuffer());
}

/** What does not unpack. */
export class PackedError extends Error {
  override readonly name = "PackedError";
}

/**
 * Unpacks piece by piece.
 * @param packed is let go of when its reader stops, and throws what it throws
 * @throws PackedError where it is damaged, or cut off
 */
export async function* gunzipped(packed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = packed[Symbol.asyncIterator]();
  let broken: { error: unknown } | undefined;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        try {
          const next = await source.next();
          if (next.done === true) controller.close();
          else controller.enqueue(next.value as Uint8Array<ArrayBuffer>);
        } catch (error) {
          broken = { error };
          controller.error(error);
        }
      },
      async cancel() {
        await source.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  try {
    yield* piecesOf<Uint8Array>(stream.pipeThrough(new DecompressionStream("gzip")));
  } catch (error) {
    if (broken) throw broken.error;
    throw new PackedError("It cannot be unpacked: it is damaged.", { cause: error });
  }
}

/** The pieces of a stream, where the browser has no way to go through it. It is let go of when its reader stops. */
export async function* piecesOf<T>(stream: ReadableStream<T>): AsyncGenerator<T, undefined> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
