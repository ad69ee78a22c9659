import { seededRandom } from "../../base/random";

/** Random bits, as many as a sampler asks for. */
export interface RandomBits {
  /** A uniform whole number of 16 bits. */
  next16(): number;
  /** A uniform whole number of 32 bits. */
  next32(): number;
}

/** getRandomValues gives at most so many bytes at once. */
const DRAWN = 65_536;

/** The platform's cryptographic generator. */
class SecureBits implements RandomBits {
  readonly #drawn = new Uint16Array(DRAWN / 2);
  #at = this.#drawn.length;

  next16(): number {
    if (this.#at === this.#drawn.length) {
      crypto.getRandomValues(this.#drawn);
      this.#at = 0;
    }
    return this.#drawn[this.#at++] as number;
  }

  next32(): number {
    return this.next16() * 2 ** 16 + this.next16();
  }
}

/** Bits that come again with their seed: of rehearsals, which protect nobody. */
export function seededBits(seed: number): RandomBits {
  const random = seededRandom(seed);
  return { next16: () => Math.floor(random() * 2 ** 16), next32: () => Math.floor(random() * 2 ** 32) };
}

/** Of this worker or object: nothing is drawn before somebody asks. */
export const secureBits: RandomBits = new SecureBits();
