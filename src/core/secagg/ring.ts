import type { Totals } from "../fedavg";
import type { ModelSummary } from "../model";
import { hash32 } from "../random";

/**
 * Updates as vectors of whole numbers modulo 2^bits, which can be masked and summed exactly. A delta is clipped, rotated so that
 * all its coordinates have about the same size, rounded at random to -levels .. levels on a range that everybody knows, and
 * multiplied by its client's weight (Suresh et al. 2017, arXiv 1611.00429, section 3, for the rotation; Bonawitz et al. 2017,
 * section 8.2, for the ring). After it come the counts that a round shows: weights, losses, hits.
 *
 * The rotation multiplies by random signs and by a Walsh-Hadamard matrix, block by block; a block takes every n-th coordinate, so
 * that the large ones of a tensor are spread over all.
 */
export interface Ring {
  parameters: number;
  /** Coordinates of a block, a power of two, and how many blocks there are. */
  block: number;
  blocks: number;
  /** Numbers of a vector: the blocks and the {@link FACTS}. */
  length: number;
  levels: number;
  maxWeight: number;
  /** Bits of a number: wide enough for the sum over the whole cohort. */
  bits: number;
  /** The largest rotated coordinate that is told; larger ones are cut. */
  range: number;
}

/** What a client folds in beside its delta, and the sum of a cohort tells. Losses count up to {@link MOST_LOSS}. */
export interface RingFacts {
  weight: number;
  trainLoss: number;
  trainAccuracy: number;
  /** Held-out faces, at most the ring's largest weight. */
  evalExamples: number;
  evalLoss: number;
  evalAccuracy: number;
  /** 1 where the update's norm lies below the clip. */
  below: number;
}
export const FACTS = 7;
export const MOST_LOSS = 10;
/** Faces above this many count as this many: every bit of the weight is a bit of every number. */
export const MOST_WEIGHT = 64;
const LEVELS = { int8: 127, int4: 7 } as const;
export type RingCodec = keyof typeof LEVELS;
/** Coordinates beyond this many standard deviations are cut: one in 5 * 10^8 of a Gaussian. */
const DEVIATIONS = 6;

export interface RingOptions {
  codec: RingCodec;
  /** Clients whose vectors may be summed. */
  cohort: number;
  /** The largest norm of a delta. */
  clip: number;
  /** Standard deviation of the noise that a client adds to each coordinate. */
  deviation: number;
  /** Every client weighs 1, whatever it has. */
  equally: boolean;
}

/** @throws RangeError where 32 bits do not hold the cohort's sum */
export function ringOf({ parameters }: ModelSummary, options: RingOptions): Ring {
  const { codec, cohort, clip, deviation, equally } = options;
  const block = 2 ** Math.max(0, Math.min(16, Math.floor(Math.log2(parameters / 16))));
  const blocks = Math.ceil(parameters / block);
  const levels = LEVELS[codec];
  const maxWeight = equally ? 1 : MOST_WEIGHT;
  const bits = Math.ceil(Math.log2(2 * cohort * maxWeight * levels + 1));
  if (bits > 32) throw new RangeError(`A cohort of ${cohort} needs ${bits} bits a number; there are 32.`);
  const range = DEVIATIONS * Math.sqrt(clip ** 2 / (block * blocks) + deviation ** 2);
  return { parameters, block, blocks, length: block * blocks + FACTS, levels, maxWeight, bits, range };
}

/**
 * A client's vector, before it is masked.
 * @param delta clipped already, and with its noise
 * @param seed decides the rounding
 * @param rotation the round's, the same for all
 */
export function toRing(
  ring: Ring,
  delta: Float32Array,
  facts: RingFacts,
  { seed, rotation }: { seed: number; rotation: number },
): Uint32Array<ArrayBuffer> {
  const { block, blocks, levels, range, length, maxWeight } = ring;
  const weight = Math.max(1, Math.min(maxWeight, Math.round(facts.weight)));
  const out = new Uint32Array(length);
  const values = new Float64Array(block);
  for (let b = 0; b < blocks; b++) {
    for (let j = 0; j < block; j++) values[j] = sign(rotation, j * blocks + b) * (delta[j * blocks + b] ?? 0);
    walshHadamard(values);
    for (let j = 0; j < block; j++) {
      const scaled = Math.max(-levels, Math.min(levels, ((values[j] as number) / range) * levels));
      const below = Math.floor(scaled);
      const q = below + (hash32(seed, b * block + j) < (scaled - below) * 2 ** 32 ? 1 : 0);
      out[b * block + j] = weight * q; // Negative ones wrap around, as the ring wants.
    }
  }
  const held = Math.min(maxWeight, facts.evalExamples);
  const loss = (value: number): number => Math.min(MOST_LOSS, value) / MOST_LOSS;
  const share = (of: number, value: number): number => Math.round(of * levels * Math.max(0, Math.min(1, value)));
  out.set(
    [
      ...[weight, share(weight, loss(facts.trainLoss)), share(weight, facts.trainAccuracy)],
      ...[held, share(held, loss(facts.evalLoss)), share(held, facts.evalAccuracy), facts.below],
    ],
    block * blocks,
  );
  return out;
}

/** What the sum of a cohort's vectors says: the weighted mean of the deltas, and the facts as sums and weighted means. */
export function fromRing(
  ring: Ring,
  sum: Uint32Array,
  rotation: number,
): { mean: Float32Array<ArrayBuffer>; facts: RingFacts } {
  const { block, blocks, levels, range, bits, parameters } = ring;
  const [weight = 0, loss = 0, hits = 0, held = 0, heldLoss = 0, heldHits = 0, below = 0] = sum
    .subarray(block * blocks)
    .map((value) => whole(value, bits));
  const mean = new Float32Array(parameters);
  const values = new Float64Array(block);
  for (let b = 0; b < blocks; b++) {
    for (let j = 0; j < block; j++) {
      values[j] = (signed(sum[b * block + j] as number, bits) * range) / levels / weight;
    }
    walshHadamard(values);
    for (let j = 0; j < block; j++) {
      const i = j * blocks + b;
      if (i < parameters) mean[i] = sign(rotation, i) * (values[j] as number);
    }
  }
  const per = (value: number, of: number): number => (of === 0 ? 0 : value / levels / of);
  return {
    mean,
    facts: {
      weight,
      trainLoss: per(loss, weight) * MOST_LOSS,
      trainAccuracy: per(hits, weight),
      evalExamples: held,
      evalLoss: per(heldLoss, held) * MOST_LOSS,
      evalAccuracy: per(heldHits, held),
      below,
    },
  };
}

/** A running sum of vectors, modulo 2^32: as a WeightedSum is one of deltas. */
export class RingSum {
  readonly sum: Uint32Array<ArrayBuffer>;
  #count = 0;

  constructor(readonly length: number) {
    this.sum = new Uint32Array(length);
  }

  /** Nobody knows how many examples stand behind it, and nothing but the vectors tells. */
  get totals(): Totals {
    return { count: this.#count, examples: 0, denominator: 0 };
  }

  addPart(start: number, values: Uint32Array): void {
    for (let i = 0; i < values.length; i++) {
      this.sum[start + i] = (this.sum[start + i] as number) + (values[i] as number);
    }
  }

  addTotals({ count }: Totals): void {
    this.#count += count;
  }
}

/** A ring's number in 0 .. 2^bits - 1, and in -2^(bits - 1) .. 2^(bits - 1) - 1. */
const whole = (value: number, bits: number): number => (bits === 32 ? value : value & (2 ** bits - 1)) >>> 0;
const signed = (value: number, bits: number): number => (value << (32 - bits)) >> (32 - bits);

const sign = (rotation: number, i: number): number => (hash32(rotation, i) & 1 ? 1 : -1);

/** The orthonormal Walsh-Hadamard transform in place, its own inverse. Length a power of two. */
function walshHadamard(values: Float64Array): void {
  for (let half = 1; half < values.length; half *= 2) {
    for (let from = 0; from < values.length; from += 2 * half) {
      for (let i = from; i < from + half; i++) {
        const [a, b] = [values[i] as number, values[i + half] as number];
        values[i] = a + b;
        values[i + half] = a - b;
      }
    }
  }
  const scale = 1 / Math.sqrt(values.length);
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) * scale;
}

/** The low `bits` bits of each number, one after the other, from the lowest bit of each byte on. */
export function pack(values: Uint32Array, bits: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((values.length * bits) / 8));
  let [at, held, count] = [0, 0, 0];
  for (const value of values) {
    let rest = value;
    for (let left = bits; left > 0;) {
      const taken = Math.min(left, 8 - count);
      held |= (rest & (2 ** taken - 1)) << count;
      rest >>>= taken;
      left -= taken;
      count += taken;
      if (count === 8) {
        out[at++] = held;
        held = count = 0;
      }
    }
  }
  if (count > 0) out[at] = held;
  return out;
}

/** Unpacks what {@link pack} has packed, as its bytes arrive. */
export class Unpacker {
  #value = 0;
  #count = 0;
  #left: number;

  constructor(
    readonly bits: number,
    length: number,
  ) {
    this.#left = length;
  }

  /** Numbers that are still to come. */
  get left(): number {
    return this.#left;
  }

  /** The numbers that are complete with these bytes; what follows the last one is ignored. */
  push(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
    const out = new Uint32Array(Math.min(this.#left, Math.ceil((bytes.length * 8 + this.#count) / this.bits)));
    let at = 0;
    for (const byte of bytes) {
      let [rest, left] = [byte, 8];
      while (left > 0 && this.#left > 0) {
        const taken = Math.min(left, this.bits - this.#count);
        // A product, since a shift by 31 would make a negative number.
        this.#value += (rest & (2 ** taken - 1)) * 2 ** this.#count;
        rest >>>= taken;
        left -= taken;
        this.#count += taken;
        if (this.#count === this.bits) {
          out[at++] = this.#value;
          this.#value = this.#count = 0;
          this.#left -= 1;
        }
      }
    }
    return out.subarray(0, at);
  }
}
