/** A file of at most some hundred kilobytes that has not come after so long, does not come. */
const PATIENCE_MS = 60_000;

/** A part of the app did not arrive: that is the network's fault, by the name by which the pages know it, and no rung's. */
class PartAwayError extends Error {
  override readonly name = "EdgeAwayError";
}

/** @throws EdgeAwayError (by name) when the file has not come, whole, within `ms` */
async function within<T>(ms: number, get: (signal: AbortSignal) => Promise<T>): Promise<T> {
  try {
    return await get(AbortSignal.timeout(ms));
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) throw error;
    throw new PartAwayError("A part of the app did not arrive.", { cause: error });
  }
}

/** A file of the app, whole. @throws EdgeAwayError (by name) */
export const download = (url: string, ms = PATIENCE_MS): Promise<Blob> =>
  within(ms, async (signal) => {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`${url} was answered with ${response.status}.`);
    return response.blob();
  });

/**
 * A WebAssembly module, compiled while it comes.
 * @throws EdgeAwayError (by name), WebAssembly.CompileError when the engine does not know its instructions
 */
export const compileFrom = (url: string, ms = PATIENCE_MS): Promise<WebAssembly.Module> =>
  within(ms, (signal) => WebAssembly.compileStreaming(fetch(url, { signal })));
