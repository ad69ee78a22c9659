/** The IDX files of MNIST (http://yann.lecun.com/exdb/mnist): a big-endian header, then one byte a number. */

/** A file that is not the IDX file that it should be. */
export class IdxError extends Error {
  override readonly name = "IdxError";
}

/**
 * @param file whole
 * @returns the bytes behind the header, and the size of each dimension, the first of which counts the items
 * @throws IdxError
 */
export function decodeIdx(file: Uint8Array): { data: Uint8Array; shape: number[] } {
  const [zero, alsoZero, type, dimensions = 0] = file;
  if (zero !== 0 || alsoZero !== 0 || type !== 8 || dimensions < 1 || dimensions > 3) {
    throw new IdxError("This is not an IDX file of bytes: it must begin with 0, 0, 8 and its number of dimensions.");
  }
  const head = 4 + 4 * dimensions;
  if (file.length < head) throw new IdxError("The IDX file ends in its header.");
  const view = new DataView(file.buffer, file.byteOffset);
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  const size = shape.reduce((a, b) => a * b, 1);
  if (file.length - head !== size) {
    throw new IdxError(
      `The IDX file should hold ${size} numbers (${shape.join(" x ")}); it holds ${file.length - head}.`,
    );
  }
  return { data: file.subarray(head), shape };
}
