import { secureBits, type RandomBits } from "./random-bits";

/**
 * The discrete Gaussian N_Z(c, v): P(x) ~ exp(-(x - c)^2 / (2 v)) for whole x (Canonne, Kamath, Steinke 2020, arXiv 2004.00010). Drawn
 * exactly: a uniform number is drawn bit by bit, and the sampler answers as soon as all numbers that begin with these bits give the same
 * x. Nearly always 16 or 32 bits and a table decide; what they do not is decided by whole numbers of as many digits as it takes.
 */
export class DiscreteGaussian {
  /** What 16 bits say: an x, or that they say too little. */
  readonly #first = new Int16Array(2 ** 16).fill(UNDECIDED);
  /** For the value at each place: where its share of the 32-bit numbers ends. */
  readonly #ends: Float64Array;
  #table: Table;

  /** @param variance a whole number from 1 to 10^6: v, of a center that is whole */
  constructor(readonly variance: number) {
    if (!Number.isInteger(variance) || variance < 1 || variance > 1e6) {
      throw new RangeError(`A table is made for variances from 1 to 1,000,000, not ${variance}.`);
    }
    this.#table = tableOf(variance, 128);
    const { most, ends } = this.#table;
    this.#ends = Float64Array.from(ends, (end) => Number(end >> 96n));
    for (let i = 0; i <= 2 * most; i++) {
      const from = i === 0 ? 2 ** 16 : Math.floor((this.#ends[i - 1] as number) / 2 ** 16) + 1;
      const to = Math.floor((this.#ends[i] as number) / 2 ** 16);
      // A cell that touches no end is all of one value's.
      if (from < to) this.#first.fill(i - most, from, to);
    }
  }

  /** Draws one number. */
  draw(bits: RandomBits): number {
    const high = bits.next16();
    const found = this.#first[high] as number;
    if (found !== UNDECIDED) return found;
    const u = high * 2 ** 16 + bits.next16();
    const ends = this.#ends;
    let [low, top] = [0, ends.length - 1];
    while (low < top) {
      const middle = (low + top) >> 1;
      if ((ends[middle] as number) < u) low = middle + 1;
      else top = middle;
    }
    // The end lies within the very cell, or as near as the table is wrong by.
    const isNear = (i: number): boolean => Math.abs((ends[i] ?? -2) - u) <= 1;
    if (low === 0 || isNear(low) || isNear(low - 1)) return this.#decide(BigInt(u), bits);
    return low - this.#table.most;
  }

  #decide(u: bigint, bits: RandomBits): number {
    return decide(u, bits, (precision) => {
      if (this.#table.precision < precision) this.#table = tableOf(this.variance, precision);
      const { most, ends, precision: given } = this.#table;
      return { ends: ends.map((end) => end >> BigInt(given - precision)), valueAt: (i) => i - most };
    });
  }
}
const UNDECIDED = -(2 ** 15);

const made = new Map<number, DiscreteGaussian>();
/** The sampler of a variance, made once. */
export function gaussianOf(variance: number): DiscreteGaussian {
  const found = made.get(variance) ?? new DiscreteGaussian(variance);
  made.set(variance, found);
  return found;
}

/** r^2: the variance of {@link roundAtRandom}. Wide enough for {@link divergence} to be nothing. */
export const ROUNDING = 3;
/** exp(-j^2 / (2 r^2)) for j from 0 on. */
const BELL = Array.from({ length: 40 }, (_, j) => Math.exp((-j * j) / (2 * ROUNDING)));
const FLAT = 1 / Math.sqrt(2 * Math.PI * ROUNDING);
/** More than the arithmetic of a float64 is wrong by here, and half of a 32-bit number's cell. */
const DOUBT = 1e-12 + 2 ** -33;

/**
 * Rounds to a whole number near x: N_Z(x, r^2), exactly, as the float64 x is. Unlike a rounding up or down it costs no sensitivity: with
 * noise behind it, it is noise itself.
 */
export function roundAtRandom(x: number, bits: RandomBits): number {
  const whole = Math.round(x);
  const rest = x - whole; // Without an error, while x has a fraction at all.
  const u = bits.next32();
  const t = u / 2 ** 32 + 2 ** -33;
  // The values from the middle outwards. All their weights together are sqrt(2 pi) r to 25 digits, whatever the center is.
  const middle = FLAT * Math.exp((-rest * rest) / (2 * ROUNDING));
  const growth = Math.exp(rest / ROUNDING);
  let sum = middle;
  let [up, down] = [1, 1];
  for (let j = 1; ; j++) {
    if (Math.abs(t - sum) <= DOUBT || j === BELL.length) break;
    if (t < sum) return whole + (j === 1 ? 0 : 1 - j);
    up *= growth;
    sum += middle * (BELL[j] as number) * up;
    if (Math.abs(t - sum) <= DOUBT) break;
    if (t < sum) return whole + j;
    down /= growth;
    sum += middle * (BELL[j] as number) * down;
  }
  return whole + decide(BigInt(u), bits, (precision) => roundingTable(rest, precision));
}

/** Where the shares of values end, as whole numbers of 2^-precision, each wrong by less than 2; and which value is at which place. */
interface Ends {
  ends: bigint[];
  valueAt: (place: number) => number;
}

/** The value of the number that begins with the 32 bits u, as many more of which are drawn as it takes. */
function decide(u: bigint, bits: RandomBits, endsOf: (precision: number) => Ends): number {
  let drawn = 32;
  for (let precision = 128; ; precision *= 2) {
    const { ends, valueAt } = endsOf(precision);
    for (; drawn <= precision - 32; drawn += 32) {
      const rest = BigInt(precision - drawn);
      const [from, to] = [u << rest, (u + 1n) << rest];
      const place = ends.findIndex((end) => to <= end - 2n);
      if (place === 0 || (place > 0 && from >= (ends[place - 1] as bigint) + 2n)) return valueAt(place);
      u = (u << 32n) | BigInt(bits.next32());
    }
  }
}

interface Table {
  precision: number;
  /** The values go from -most to most; what lies beyond has less than 2^-precision. */
  most: number;
  ends: bigint[];
}

/** Bits behind those that are asked for: more than all roundings below add up to. */
const GUARD = 64n;

function tableOf(variance: number, precision: number): Table {
  const bits = BigInt(precision) + GUARD;
  const one = 1n << bits;
  const most = Math.ceil(Math.sqrt(2 * variance * Math.LN2 * (precision + 8)));
  // w_j = b^(j^2) with b = exp(-1 / (2 v)): each from the last by the next odd power.
  const base = expOf(-one / BigInt(2 * variance), bits);
  const square = (base * base) >> bits;
  const weights = [one];
  for (let j = 1, odd = base; j <= most; j++) {
    weights.push(((weights[j - 1] as bigint) * odd) >> bits);
    odd = (odd * square) >> bits;
  }
  const values = Array.from({ length: 2 * most + 1 }, (_, i) => weights[Math.abs(i - most)] as bigint);
  return { precision, most, ends: endsOf(values, precision) };
}

function roundingTable(rest: number, precision: number): Ends {
  const bits = BigInt(precision) + GUARD;
  const most = Math.ceil(Math.sqrt(2 * ROUNDING * Math.LN2 * (precision + 8))) + 1;
  // The float64 as it is, down to 2^-1000.
  const center = (BigInt(Math.trunc(rest * 2 ** 1000)) << bits) >> 1000n;
  // From the middle outwards, as roundAtRandom goes.
  const order = [0, ...Array.from({ length: 2 * most }, (_, i) => (i % 2 === 0 ? i / 2 + 1 : -(i + 1) / 2))];
  const weights = order.map((j) => {
    const away = (BigInt(j) << bits) - center;
    return expOf(-((away * away) >> bits) / BigInt(2 * ROUNDING), bits);
  });
  return { ends: endsOf(weights, precision), valueAt: (place) => order[place] as number };
}

/** Running sums of weights, as shares of their sum. */
function endsOf(weights: readonly bigint[], precision: number): bigint[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0n);
  let sum = 0n;
  return weights.map((weight) => {
    sum += weight;
    return (sum << BigInt(precision)) / total;
  });
}

/** exp(x) of a fixed-point number x <= 0 with so many bits behind the point. */
function expOf(x: bigint, bits: bigint): bigint {
  // exp(x) = exp(x / 2^k)^(2^k), and Taylor's series of what is small.
  let halvings = 0n;
  while (-x >> halvings > (1n << bits) >> 4n) halvings += 1n;
  const small = x >> halvings;
  let term = 1n << bits;
  let sum = term;
  for (let n = 1n; term !== 0n && term !== -1n; n++) {
    term = ((term * small) >> bits) / n;
    sum += term;
  }
  for (; halvings > 0n; halvings--) sum = (sum * sum) >> bits;
  return sum;
}

/** Of the noise that the edge adds: a step of its grid is a 256th of a deviation. */
const CENTRAL = 2 ** 16;

/**
 * Adds Gaussian noise of a standard deviation, in place: each number becomes a multiple of a 256th of the deviation, by a discrete
 * Gaussian around where it was. Nothing of a float64's last digits is told (Mironov 2012).
 */
export function addGaussian(values: Float64Array, deviation: number, bits: RandomBits = secureBits): void {
  const central = gaussianOf(CENTRAL);
  const step = deviation / Math.sqrt(CENTRAL);
  for (let i = 0; i < values.length; i++) {
    values[i] = step * (roundAtRandom((values[i] as number) / step, bits) + central.draw(bits));
  }
}
