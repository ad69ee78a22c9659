import { CODECS, type RingCodec } from "../codecs/registry";
import type { Totals } from "../fedavg";
import type { ModelSummary } from "../../model/model";
import { gaussianOf, roundAtRandom, ROUNDING } from "../privacy/discrete-gaussian";
import { RING_NOISE, type BelowNoise } from "../privacy/distributed";
import { secureBits, type RandomBits } from "../privacy/random-bits";
import { hash32 } from "../../base/random";

/**
 * Updates as vectors of whole numbers modulo 2^bits, which can be masked and summed exactly. A delta is clipped, rotated so that
 * all its coordinates have about the same size, rounded at random to -levels .. levels on a range that everybody knows, and
 * multiplied by its client's weight (Suresh et al. 2017, arXiv 1611.00429, section 3, for the rotation; Bonawitz et al. 2017,
 * section 8.2, for the ring). After it come the counts that a round shows: weights, losses, hits.
 *
 * The rotation multiplies by random signs and by a Walsh-Hadamard matrix, block by block; a block takes every n-th coordinate, so
 * that the large ones of a tensor are spread over all.
 *
 * With noise (Kairouz, Liu, Steinke 2021, arXiv 2102.06387) the rounding is a discrete Gaussian and so is what is added to it: see
 * src/federation/privacy/distributed.ts.
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
  /** One of a vector's whole numbers is so much of a coordinate. */
  step: number;
  /** With noise: its variance in steps, and how the vectors tell of norms below the clip, if they do. */
  noise: { variance: number; below: BelowNoise | null } | null;
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
  /** 1 where the update's norm lies below the clip; the sum of a round with noise has it on this, and need be no count. */
  below: number;
}
export const FACTS = 7;
export const MOST_LOSS = 10;
/** Faces above this many count as this many: every bit of the weight is a bit of every number. */
export const MOST_WEIGHT = 64;
/** Coordinates beyond this many standard deviations are cut: one in 5 * 10^8 of a Gaussian. */
const DEVIATIONS = 6;

export interface RingOptions {
  codec: RingCodec;
  /** Clients whose vectors may be summed. */
  cohort: number;
  /** The largest norm of a delta. */
  clip: number;
  /** Standard deviation of the noise that a client adds to each coordinate, rounding included; 0 for none. */
  deviation: number;
  /** With noise: how a client tells whether its norm lies below the clip; absent where that is not asked. */
  below?: BelowNoise | undefined;
  /** The most that a client weighs. */
  mostExamples: number;
}

/** Deviations of the noise of a sum that its numbers have room for: beyond it is one in 10^15. */
const ROOM = 8;

/** @throws RangeError where 32 bits do not hold the cohort's sum */
export function ringOf({ parameters }: ModelSummary, options: RingOptions): Ring {
  const { codec, cohort, clip, deviation, mostExamples, below = null } = options;
  const block = 2 ** Math.max(0, Math.min(16, Math.floor(Math.log2(parameters / 16))));
  const blocks = Math.ceil(parameters / block);
  const levels = CODECS[codec].ringLevels;
  const maxWeight = Math.min(mostExamples, MOST_WEIGHT);
  const range = (DEVIATIONS * clip) / Math.sqrt(block * blocks);
  const size = { parameters, block, blocks, length: block * blocks + FACTS, levels, maxWeight, range };
  if (deviation === 0) {
    return { ...size, bits: bitsFor(cohort * maxWeight * levels, cohort), step: range / levels, noise: null };
  }
  const variance = RING_NOISE[codec];
  const step = deviation / Math.sqrt(variance + ROUNDING);
  const noises = Math.sqrt(cohort) * ROOM;
  const most = [
    cohort * (range / step) + noises * Math.sqrt(variance + ROUNDING),
    ...(below ? [cohort * below.unit + noises * Math.sqrt(below.variance)] : []),
  ];
  return { ...size, bits: bitsFor(Math.ceil(Math.max(...most)), cohort), step, noise: { variance, below } };
}

/** Bits of numbers from -most to most. */
function bitsFor(most: number, cohort: number): number {
  const bits = Math.ceil(Math.log2(2 * most + 1));
  if (bits > 32) throw new RangeError(`A cohort of ${cohort} needs ${bits} bits a number; there are 32.`);
  return bits;
}

/**
 * A client's vector, before it is masked. In a round with noise it gets its share of it here, from the platform's secure generator, and
 * tells nothing of its training but whether its norm lies below the clip, with noise, where the clip follows the norms.
 * @param delta clipped already
 * @param seed decides the rounding in a round without noise
 * @param rotation the round's, the same for all
 */
export function toRing(
  ring: Ring,
  delta: Float32Array,
  facts: RingFacts,
  { seed, rotation }: { seed: number; rotation: number },
  random: RandomBits = secureBits,
): Uint32Array<ArrayBuffer> {
  const { block, blocks, range, step, length, noise, maxWeight } = ring;
  const weight = Math.max(1, Math.min(maxWeight, Math.round(facts.weight)));
  const out = new Uint32Array(length);
  const values = new Float64Array(block);
  const gaussian = noise && gaussianOf(noise.variance);
  for (let b = 0; b < blocks; b++) {
    for (let j = 0; j < block; j++) values[j] = sign(rotation, j * blocks + b) * (delta[j * blocks + b] ?? 0);
    walshHadamard(values);
    for (let j = 0; j < block; j++) {
      const scaled = Math.max(-range, Math.min(range, values[j] as number)) / step;
      const below = Math.floor(scaled);
      const q = gaussian
        ? roundAtRandom(scaled, random) + gaussian.draw(random)
        : below + (hash32(seed, b * block + j) < (scaled - below) * 2 ** 32 ? 1 : 0);
      out[b * block + j] = weight * q; // Negative ones wrap around, as the ring wants.
    }
  }
  out.set(noise ? noisyFacts(noise.below, facts.below, random) : plainFacts(ring, facts, weight), block * blocks);
  return out;
}

function plainFacts({ maxWeight, levels }: Ring, facts: RingFacts, weight: number): number[] {
  const held = Math.min(maxWeight, facts.evalExamples);
  const loss = (value: number): number => Math.min(MOST_LOSS, value) / MOST_LOSS;
  const share = (of: number, value: number): number => Math.round(of * levels * Math.max(0, Math.min(1, value)));
  return [
    ...[weight, share(weight, loss(facts.trainLoss)), share(weight, facts.trainAccuracy)],
    ...[held, share(held, loss(facts.evalLoss)), share(held, facts.evalAccuracy), facts.below],
  ];
}

/** A vector with noise counts, and says of its norm only what its noise hides. */
function noisyFacts(below: BelowNoise | null, isBelow: number, random: RandomBits): number[] {
  const told = below ? below.unit * (2 * isBelow - 1) + gaussianOf(below.variance).draw(random) : 0;
  return [1, 0, 0, 0, 0, 0, told];
}

/** What the sum of a cohort's vectors says: the weighted mean of the deltas, and the facts as sums and weighted means. */
export function fromRing(
  ring: Ring,
  sum: Uint32Array,
  rotation: number,
): { mean: Float32Array<ArrayBuffer>; facts: RingFacts } {
  const { block, blocks, levels, step, bits, noise, parameters } = ring;
  const told = sum.subarray(block * blocks);
  const [weight = 0, loss = 0, hits = 0, held = 0, heldLoss = 0, heldHits = 0, isBelow = 0] = told.map((value) =>
    whole(value, bits),
  );
  const below = noise?.below ? (weight + signed(told[FACTS - 1] as number, bits) / noise.below.unit) / 2 : isBelow;
  const mean = new Float32Array(parameters);
  const values = new Float64Array(block);
  for (let b = 0; b < blocks; b++) {
    for (let j = 0; j < block; j++) {
      values[j] = (signed(sum[b * block + j] as number, bits) * step) / weight;
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
