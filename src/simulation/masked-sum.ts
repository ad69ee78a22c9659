import type { ModelSummary } from "../model/model";
import { isRingCodec } from "../federation/codecs/registry";
import { clipTo } from "../federation/privacy/clip";
import { seededBits } from "../federation/privacy/random-bits";
import type { RoundConfig } from "../federation/protocol";
import { fewestVectors, ringFactsOf } from "../federation/round/secure";
import { fromRing, ringOf, RingSum, toRing, type Ring } from "../federation/secagg/ring";
import type { BlockAverage } from "../federation/aggregation/robust-average";

/**
 * The sum of a simulated round with secure aggregation: the vectors in their ring, as the app makes them and the edge opens their sum, but
 * for the masks, which the sum does not have. Rounding and noise come from the run's seed.
 */
export class MaskedSum {
  readonly #ring: Ring;
  readonly #sum: RingSum;
  readonly #rotation: number;
  /** Vectors that have to come. */
  readonly fewest: number;

  constructor(
    model: ModelSummary,
    private readonly config: RoundConfig,
    number: number,
    claims: readonly number[],
  ) {
    const { codec } = config;
    if (!isRingCodec(codec)) throw new Error(`There is no ring for ${codec}.`);
    this.#ring = ringOf(model, { codec, ...ringFactsOf(config, claims) });
    this.#sum = new RingSum(this.#ring.length);
    this.#rotation = number;
    this.fewest = fewestVectors(claims.length, config);
  }

  /** Adds a client's delta. @returns the bytes of its vector */
  add(update: Float32Array, examples: number, seed: number): number {
    const { delta, isBelow } = clipTo(update, this.config.updateClip);
    const facts = { ...UNTOLD, weight: examples, below: isBelow ? 1 : 0 };
    const rotation = this.#rotation;
    this.#sum.addPart(0, toRing(this.#ring, delta, facts, { seed, rotation }, seededBits(seed)));
    return Math.ceil((this.#ring.length * this.#ring.bits) / 8);
  }

  /** @param denominator what DP-FedAvg divides by; null for the weights */
  open(denominator: number | null): { average: BlockAverage; examples: number; below: number } {
    const { mean, facts } = fromRing(this.#ring, this.#sum.sum, this.#rotation);
    const factor = denominator === null ? 1 : facts.weight / denominator;
    const average: BlockAverage = (start, length) =>
      Promise.resolve(Float64Array.from(mean.subarray(start, start + length), (value) => value * factor));
    return { average, examples: facts.weight, below: facts.below };
  }
}

/** What the lab charts it knows from the clients themselves. */
const UNTOLD = { trainLoss: 0, trainAccuracy: 0, evalExamples: 0, evalLoss: 0, evalAccuracy: 0 };
