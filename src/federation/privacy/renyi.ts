/**
 * The Rényi differential privacy of the sampled Gaussian mechanism (Mironov, Talwar, Zhang 2019, arXiv 1908.10530), composed over
 * rounds and turned into (epsilon, delta) by Canonne, Kamath, Steinke 2020, arXiv 2004.00010, proposition 12.
 */

/** The orders that are tried: those of TensorFlow Privacy, and two large ones. */
const ORDERS = [
  ...Array.from({ length: 99 }, (_, i) => 1 + (i + 1) / 10),
  ...Array.from({ length: 52 }, (_, i) => i + 12),
  ...[128, 256, 512, 1024, 4096],
];

/** The divergence of all rounds together, by order. Orders that the arithmetic does not come to an end with are left out. */
export type RenyiCurve = { order: number; divergence: number }[];

/** @param mechanisms q, z, and how many rounds of them */
export const renyiCurve = (mechanisms: readonly { sampling: number; noise: number; rounds: number }[]): RenyiCurve =>
  ORDERS.map((order) => ({
    order,
    divergence: mechanisms.reduce(
      (sum, { sampling, noise, rounds }) => sum + rounds * renyi(sampling, noise, order),
      0,
    ),
  })).filter(({ divergence }) => Number.isFinite(divergence));

/** The smallest epsilon for a delta that the curve gives; infinite where it gives none. */
export function renyiEpsilon(curve: RenyiCurve, delta: number): number {
  let best = Infinity;
  for (const { order, divergence } of curve) {
    const bound = divergence + Math.log1p(-1 / order) - (Math.log(delta) + Math.log(order)) / (order - 1);
    // The bound can fall below zero, where nothing is said at all.
    best = Math.min(best, Math.max(0, bound));
  }
  return best;
}

/** The Rényi divergence of one round, of an order above 1. @param q probability of being drawn, @param z noise multiplier */
export function renyi(q: number, z: number, order: number): number {
  if (q === 1) return order / (2 * z ** 2);
  return (Number.isInteger(order) ? logMomentWhole(q, z, order) : logMoment(q, z, order)) / (order - 1);
}

/** log A_alpha of section 3.3 for a whole alpha: a binomial sum, in logarithms. */
function logMomentWhole(q: number, z: number, order: number): number {
  let sum = -Infinity;
  let logBinomial = 0;
  for (let i = 0; i <= order; i++) {
    sum = logAdd(sum, logBinomial + i * Math.log(q) + (order - i) * Math.log1p(-q) + (i * i - i) / (2 * z ** 2));
    logBinomial += Math.log((order - i) / (i + 1));
  }
  return sum;
}

const MOST_TERMS = 10_000;

/** log A_alpha of section 3.3 for any alpha: two series, until their terms no longer matter. */
function logMoment(q: number, z: number, order: number): number {
  const split = z ** 2 * Math.log(1 / q - 1) + 0.5;
  let [low, high] = [-Infinity, -Infinity];
  let binomial = 1;
  for (let i = 0; ; i++) {
    const j = order - i;
    const size = Math.log(Math.abs(binomial));
    const [logQ, logRest] = [Math.log(q), Math.log1p(-q)];
    const below =
      size + i * logQ + j * logRest + (i * i - i) / (2 * z ** 2) + logHalfErfc((i - split) / (Math.SQRT2 * z));
    const above =
      size + j * logQ + i * logRest + (j * j - j) / (2 * z ** 2) + logHalfErfc((split - j) / (Math.SQRT2 * z));
    const add = binomial > 0 ? logAdd : logSubtract;
    low = add(low, below);
    high = add(high, above);
    // Behind alpha their signs alternate: what is left out is less than the last terms. With much noise those of a low order get small slowly.
    const enough = i < MOST_TERMS ? -30 : -25;
    if (i > order && Math.max(below, above) < Math.max(low, high) + enough) return logAdd(low, high);
    // With very little noise the terms grow beyond all numbers: nothing is known of this order then.
    if (i >= MOST_TERMS || Number.isNaN(low + high)) return Infinity;
    binomial *= j / (i + 1);
  }
}

/** log(e^a + e^b) */
const logAdd = (a: number, b: number): number => {
  const [most, least] = a > b ? [a, b] : [b, a];
  return least === -Infinity ? most : most + Math.log1p(Math.exp(least - most));
};

/** log(e^a - e^b), where a is the larger one but for rounding. */
const logSubtract = (a: number, b: number): number => (b >= a ? -Infinity : a + Math.log1p(-Math.exp(b - a)));

/** log(erfc(x) / 2), also where erfc is too small for a float64. */
export function logHalfErfc(x: number): number {
  if (x < 2) {
    if (x < -6) return 0;
    // Abramowitz and Stegun 7.1.6: erf(x) = 2 / sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return Math.log(0.5 - (sum * Math.exp(-x * x)) / Math.sqrt(Math.PI));
  }
  // 7.1.14, from behind: sqrt(pi) e^(x^2) erfc(x) = 1 / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...))))
  let fraction = x;
  for (let n = 200; n > 0; n--) fraction = x + n / 2 / fraction;
  return -x * x - Math.log(2 * Math.sqrt(Math.PI) * fraction);
}
