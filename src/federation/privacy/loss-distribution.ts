import { fft, type Complex } from "./fft";
import type { RenyiCurve } from "./renyi";

/**
 * Epsilon by privacy loss distributions (Koskela, Jälkö, Honkela 2020, arXiv 1906.03049): the distribution of log P(x) / Q(x) under P,
 * on a grid, composed by Fourier's transform. Between two points of the grid a loss is split so that its probability under P and
 * under Q stay what they are ("connecting the dots", Doroshenko et al. 2022, arXiv 2207.04380), which never makes epsilon less.
 */

interface Sampled {
  /** q and z of one round, and how many there are. */
  sampling: number;
  noise: number;
  rounds: number;
}

/** Points of the grid. */
const POINTS = 2 ** 15;
/** What is cut off at both ends together, as a share of delta; all of it counts as lost. */
const CUT = 1e-4;
/** Cells of the noise on each deviation, and how many deviations of it count. */
const CELLS = 100;
const DEVIATIONS = 14;
/** More than the transform is wrong by, on each of its numbers. */
const DOUBT = 1e-17;

/**
 * The smallest epsilon of these rounds together for a delta, of adding and of removing one client.
 * @param curve of the same rounds, which bounds where losses can lie
 * @returns infinite where the grid cannot tell
 */
export function lossEpsilon(mechanisms: readonly Sampled[], curve: RenyiCurve, delta: number): number {
  // Rounds without sampling are one round with less noise: Gaussians compose to a Gaussian.
  const whole = mechanisms.filter(({ sampling }) => sampling === 1);
  const precision = whole.reduce((sum, { noise, rounds }) => sum + rounds / noise ** 2, 0);
  const rounds = [
    ...mechanisms.filter(({ sampling }) => sampling < 1),
    ...(precision > 0 ? [{ sampling: 1, noise: precision ** -0.5, rounds: 1 }] : []),
  ];
  const log = Math.log(delta * CUT);
  // Chernoff's bounds, of a loss above `high` and one below `-low`.
  let [high, low] = [Infinity, Infinity];
  for (const { order, divergence } of curve) {
    high = Math.min(high, divergence - log / (order - 1));
    low = Math.min(low, ((order - 1) * divergence - log) / order);
  }
  if (!Number.isFinite(high + low)) return Infinity;
  const step = (high + low) / (POINTS - 2);
  const grid = { first: -Math.ceil(low / step), step };
  return Math.max(...([1, -1] as const).map((direction) => composed(rounds, grid, delta, direction)));
}

interface Grid {
  /** The lowest loss, in steps. */
  first: number;
  step: number;
}

function composed(mechanisms: readonly Sampled[], grid: Grid, delta: number, direction: 1 | -1): number {
  const { first, step } = grid;
  const product: Complex = { re: new Float64Array(POINTS).fill(1), im: new Float64Array(POINTS) };
  let lost = 2 * CUT * delta;
  for (const mechanism of mechanisms) {
    const { masses, beyond } = lossesOf(mechanism, grid, direction);
    lost += mechanism.rounds * beyond;
    const all = masses.reduce((sum, mass) => sum + mass, beyond);
    // No figure is better than one that rounding has made.
    if (!(Math.abs(all - 1) < 1e-9)) return Infinity;
    const one: Complex = { re: masses, im: new Float64Array(POINTS) };
    fft(one);
    for (let i = 0; i < POINTS; i++) {
      const [x, y] = [one.re[i] as number, one.im[i] as number];
      const size = Math.hypot(x, y) ** mechanism.rounds;
      const angle = Math.atan2(y, x) * mechanism.rounds;
      const [a, b] = [size * Math.cos(angle), size * Math.sin(angle)];
      const [c, d] = [product.re[i] as number, product.im[i] as number];
      product.re[i] = a * c - b * d;
      product.im[i] = a * d + b * c;
    }
  }
  fft(product, true);
  // Place i holds the loss of i steps, or of i - POINTS where that is what lies on the grid.
  const massAt = (steps: number): number =>
    Math.max(0, (product.re[((steps % POINTS) + POINTS) % POINTS] as number) / POINTS) + DOUBT;
  // delta(e) = lost + sum over losses l > e of (1 - exp(e - l)), from the highest loss down.
  let [above, weighted] = [lost, 0];
  if (!(above < delta)) return Infinity;
  for (let steps = first + POINTS - 1; ; steps--) {
    const loss = steps * step;
    // weighted is the sum of mass * exp(loss - l).
    if (above - weighted >= delta) {
      // Between this loss and the one above it: above - weighted * exp(e - loss) = delta.
      return Math.max(0, loss + Math.log((above - delta) / weighted));
    }
    if (loss <= 0 || steps <= first) return 0;
    above += massAt(steps);
    weighted = (weighted + massAt(steps)) * Math.exp(-step);
  }
}

/**
 * The losses of one round on the grid. Removing a client (1): P is (1 - q) N(0, z^2) + q N(1, z^2) and Q is N(0, z^2); adding one (-1):
 * the other way round. What lies beyond the upper end is told apart; what lies below the lower one counts as at it.
 */
function lossesOf({ sampling: q, noise: z }: Sampled, { first, step }: Grid, direction: 1 | -1) {
  const masses = new Float64Array(POINTS);
  let beyond = 0;
  /** log((1 - q) + q exp((2 x - 1) / (2 z^2))): the loss of removing a client. */
  const ratioOf = (x: number): number => {
    const power = (2 * x - 1) / (2 * z * z);
    if (q === 1) return power;
    return power > 30
      ? power + Math.log(q) + Math.log1p(((1 - q) / q) * Math.exp(-power))
      : Math.log1p(q * Math.expm1(power));
  };
  /** Puts mass of P at a loss: split between its neighbours on the grid. */
  const put = (loss: number, mass: number): void => {
    const at = Math.max(0, loss / step - first);
    const below = Math.floor(at);
    if (below + 1 >= POINTS) {
      beyond += mass;
      return;
    }
    const share = Math.expm1(-(at - below) * step) / Math.expm1(-step);
    for (const [place, part] of [
      [below, 1 - share],
      [below + 1, share],
    ] as const) {
      const index = (((place + first) % POINTS) + POINTS) % POINTS;
      masses[index] = (masses[index] as number) + mass * part;
    }
  };
  const width = z / CELLS;
  const scale = width / (z * Math.sqrt(2 * Math.PI));
  const [from, to] = [-DEVIATIONS * z, 1 + DEVIATIONS * z];
  let left = ratioOf(from);
  for (let x = from; x < to; x += width) {
    const right = ratioOf(x + width);
    const [low, high] = direction === 1 ? [left, right] : [-right, -left];
    left = right;
    // The cell's probability under P, and what of it has to lie at the upper end for the one under Q to be right too.
    let [mass, upper] = [0, 0];
    for (const [node, weight] of NODES) {
      const at = x + width * node;
      const ratio = ratioOf(at);
      const part = weight * scale * Math.exp((direction === 1 ? ratio : 0) - (at * at) / (2 * z * z));
      mass += part;
      if (high > low) upper += (part * Math.expm1(low - direction * ratio)) / Math.expm1(low - high);
    }
    put(low, mass - upper);
    put(high, upper);
  }
  return { masses, beyond };
}

/** Three points and weights of Gauss and Legendre on [0, 1]. */
const NODES = [-Math.sqrt(0.6), 0, Math.sqrt(0.6)].map(
  (node, i) => [(1 + node) / 2, i === 1 ? 4 / 9 : 5 / 18] as const,
);
