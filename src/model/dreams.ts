import { gunzip } from "../base/gzip";

/**
 * Dreamed faces: pictures that no camera took, made of noise until the shipped checkpoint's batch normalization sees in them what
 * it saw in its training faces (DeepInversion, Yin et al. 2020, arXiv 1912.08795; `tools/pretrain/dream.py`). A training that
 * rehearses what the base checkpoint says of them keeps what it knows, without any face of those it learned from. A task says where
 * its file lies.
 */

/** The file is no gzip of whole pictures. */
export class DreamsError extends Error {
  override readonly name = "DreamsError";
}

/**
 * Reads such a file.
 * @param file gzip of pictures, one after the other
 * @param inputs numbers of one picture
 * @returns all their pixels
 * @throws DreamsError when it is not such a file
 */
export async function decodeDreams(file: Uint8Array<ArrayBuffer>, inputs: number): Promise<Uint8Array<ArrayBuffer>> {
  const pixels = await gunzip(file).catch((cause: unknown) => {
    throw new DreamsError("The dreamed faces are no gzip file.", { cause });
  });
  if (pixels.length === 0 || pixels.length % inputs !== 0) {
    throw new DreamsError(`The dreamed faces have ${pixels.length} bytes, not ${inputs} for each.`);
  }
  return pixels;
}
