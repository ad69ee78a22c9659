import { decodeDreams, DREAMS_PATH } from "../model/dreams";
import { EdgeAwayError, PATIENCE, request } from "../client/http";

let known: Uint8Array<ArrayBuffer> | undefined;

/** The dreamed faces that come with the app, downloaded once. @throws EdgeAwayError, EdgeRefusalError, DreamsError */
export async function getDreams(signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  if (known) return known;
  const response = await request(DREAMS_PATH, { signal }, PATIENCE.transfer);
  const file = await response.arrayBuffer().catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new EdgeAwayError("The download of the dreamed faces broke off.", { cause });
  });
  return (known = await decodeDreams(new Uint8Array(file)));
}
