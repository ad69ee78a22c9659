import { decodeCheckpoint, encodeCheckpoint } from "../model/checkpoint";
import { DeltaDecoder, encodeDelta } from "./codecs/delta";
import { DIFFERENCE_CODECS, isForDifferences, type DifferenceCodec } from "./codecs/registry";
import type { ModelSummary } from "../model/model";
import { decodeHeader, FormatError, joinPieces, matchTensors, tensorPieces } from "../model/safetensors";

/**
 * The difference of a checkpoint to the one before, for clients that have that one. It is no approximation: where a round sends
 * differences, its checkpoint *is* the base plus what the difference decodes to, and what the codec loses goes into the next
 * round's difference (error feedback on the server's side; DoubleSqueeze, Tang et al. 2019, arXiv 1905.05957, algorithm 1).
 */

/**
 * Makes a round's checkpoint and its difference, in place: `base` becomes the checkpoint, and `candidate`, which holds what the
 * server's step wants (with the residual of the round before added to it), becomes the residual.
 * @returns the difference's payload
 * @throws FormatError `not-finite`
 */
export function quantizeStep(
  model: ModelSummary,
  base: Float32Array,
  candidate: Float32Array,
  codec: DifferenceCodec,
  seed: number,
): Uint8Array<ArrayBuffer> {
  for (let i = 0; i < candidate.length; i++) candidate[i] = (candidate[i] as number) - (base[i] as number);
  const payload = encodeDelta(model, candidate, { codec, share: 1, seed });
  addPayload(model, base, payload, codec, (at, value) => {
    candidate[at] = (candidate[at] as number) - value;
  });
  return payload;
}

/** A difference's file. @param metadata of the checkpoint that it leads to */
export const encodeDifference = (
  payload: Uint8Array<ArrayBuffer>,
  metadata: Record<string, string>,
  codec: DifferenceCodec,
): Uint8Array<ArrayBuffer> =>
  joinPieces(
    tensorPieces([{ name: "payload", shape: [payload.length], data: payload }], { ...metadata, difference: codec }),
  );

/**
 * The file of the checkpoint that a difference leads to, byte for byte as the edge published it.
 * @throws FormatError when either file is not what it should be
 */
export function applyDifference(
  model: ModelSummary,
  base: Uint8Array<ArrayBuffer>,
  difference: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const header = decodeHeader(difference);
  matchTensors(header, [{ name: "payload", dtype: "U8", shape: [header.dataBytes] }]);
  const { difference: codec, ...metadata } = header.metadata;
  if (!isForDifferences(codec)) {
    throw new FormatError(
      "bad-header",
      `The difference's codec is ${codec}; there are ${DIFFERENCE_CODECS.join(", ")}.`,
    );
  }
  const weights = decodeCheckpoint(base, model).slice();
  addPayload(model, weights, difference.subarray(header.headerBytes), codec);
  return encodeCheckpoint(model, weights, metadata, "float32");
}

function addPayload(
  model: ModelSummary,
  weights: Float32Array,
  payload: Uint8Array,
  codec: DifferenceCodec,
  onValue?: (at: number, value: number) => void,
): void {
  const decoder = new DeltaDecoder(model, codec);
  // In pieces, so that no more than one of them is decoded at a time.
  const PIECE = 1 << 18;
  for (let from = 0; from < payload.length; from += PIECE) {
    for (const { start, values } of decoder.push(payload.subarray(from, from + PIECE))) {
      values.forEach((value, i) => {
        weights[start + i] = (weights[start + i] as number) + value;
        onValue?.(start + i, value);
      });
    }
  }
  decoder.finish();
}
