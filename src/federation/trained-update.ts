import type { Evaluation } from "../model/evaluation";
import { summarize, type ModelSummary } from "../model/model";
import { compress } from "./codecs/delta";
import { isRingCodec } from "./codecs/registry";
import { clipTo } from "./privacy/clip";
import type { Assignment } from "./protocol";
import { SecureError } from "./secagg/client";
import { maskedBody, type SecureMember } from "./secagg/member";
import type { StepOf } from "./secagg/messages";
import { ringOf, type RingFacts } from "./secagg/ring";
import { personalSpans } from "./strategies/live";
import type { Span } from "./strategies/strategy";
import { networkOf } from "./tasks/network";
import { encodeUpdate, type UpdateMetadata } from "./update";

/** What every client makes of a training, whoever trained: an update in the plan's codec, or a masked vector. */

/** What came of a training, as far as the edge is told. */
export interface Trained {
  /** The trained weights minus the base checkpoint's. */
  delta: Float32Array;
  examples: number;
  /** Means over the last epoch. */
  train: Pick<Evaluation, "loss" | "accuracy">;
  /** The base checkpoint on the examples that were held out. */
  heldOut: Pick<Evaluation, "examples" | "loss" | "accuracy">;
  /** Mean loss of the base checkpoint on the training examples, where the plan asks for it. */
  initialLoss: number | null;
  trainingMs: number;
  backend: UpdateMetadata["backend"];
}

const modelOf = ({ task }: Assignment): ModelSummary => summarize(networkOf(task));

/**
 * The update of a training in the plan's codec, to be gzipped.
 * @param left what the codec has lost of this client's earlier updates, if anything
 * @param seed of what the codec rounds at random
 * @returns the file, and what the codec has lost of this one; undefined where that is nothing
 * @throws FormatError `not-finite`
 */
export function encodeTrained(
  assignment: Assignment,
  trained: Trained,
  { left, seed, bytesDown }: { left: Float32Array | undefined; seed: number; bytesDown: number },
): { file: Uint8Array<ArrayBuffer>; residual: Float32Array<ArrayBuffer> | undefined } {
  const { codec, topShare: share } = assignment.plan;
  const { train, heldOut, initialLoss } = trained;
  const model = modelOf(assignment);
  const own = personalSpans(assignment.plan, model);
  // What an earlier round's codec has lost of layers that are the client's own now stays here with them.
  const lost = left && without(left, own);
  const packed = codec === "float32" ? undefined : compress(model, trained.delta, lost, { codec, share, seed });
  const file = encodeUpdate(model, packed?.payload ?? trained.delta, {
    codec,
    task: assignment.task,
    round: assignment.round,
    base: assignment.checkpoint.sha256,
    examples: trained.examples,
    trainLoss: train.loss,
    trainAccuracy: train.accuracy,
    evalExamples: heldOut.examples,
    evalLoss: heldOut.loss,
    evalAccuracy: heldOut.accuracy,
    bytesDown,
    trainingMs: trained.trainingMs,
    backend: trained.backend,
    ...(initialLoss === null ? {} : { initialLoss }),
  });
  return { file, residual: packed?.residual };
}

/** Numbers with zeros in some places; themselves where there are none. */
function without(numbers: Float32Array, spans: readonly Span[]): Float32Array {
  if (spans.length === 0) return numbers;
  const rest = numbers.slice();
  for (const { offset, size } of spans) rest.fill(0, offset, offset + size);
  return rest;
}

/** A training's delta as a masked vector takes it: no longer than the clip, and with the facts that are summed beside it. */
export function clipTrained(
  { delta: whole, examples, train, heldOut }: Trained,
  clip: number,
): { delta: Float32Array; facts: RingFacts } {
  const { delta, isBelow } = clipTo(whole, clip);
  return {
    delta,
    facts: {
      weight: examples,
      trainLoss: train.loss,
      trainAccuracy: train.accuracy,
      evalExamples: heldOut.examples,
      evalLoss: heldOut.loss,
      evalAccuracy: heldOut.accuracy,
      below: isBelow ? 1 : 0,
    },
  };
}

/**
 * The body of an upload under secure aggregation: with this client's share of the noise, and random to everybody else.
 * @param clipped see {@link clipTrained}
 * @param seed of what the codec rounds at random
 * @throws SecureError
 */
export function maskClipped(
  member: SecureMember,
  step: StepOf<"mask">,
  assignment: Assignment,
  clipped: { delta: Float32Array; facts: RingFacts },
  seed: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { secure, plan, round } = assignment;
  if (!secure || !isRingCodec(plan.codec)) {
    throw new SecureError(`The edge asks for a masked vector in ${plan.codec}.`);
  }
  const ring = ringOf(modelOf(assignment), { codec: plan.codec, ...secure });
  return maskedBody(member, step, ring, { delta: clipped.delta, facts: clipped.facts, seed, rotation: round });
}
