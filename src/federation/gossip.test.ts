import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockGossip, GossipHub, type GossipMessage, type Mass } from "./gossip";
import { seededRandom } from "../base/random";

const LENGTH = 5;

interface Network {
  /** Chance that a message is lost, comes twice, is late. */
  loss: number;
  repeat: number;
  late: number;
}

function makeHubs(count: number, random: () => number): { hubs: GossipHub[]; own: Mass[] } {
  const own = Array.from({ length: count }, () => ({
    sum: Float64Array.from({ length: LENGTH }, () => (random() - 0.5) * 20),
    weight: 1 + Math.floor(random() * 30),
  }));
  return { hubs: own.map((mass, i) => new GossipHub(String(i), mass)), own };
}

/** The global weighted mean, computed at a centre. */
function central(own: readonly Mass[]): number[] {
  const weight = own.reduce((sum, mass) => sum + mass.weight, 0);
  return Array.from({ length: LENGTH }, (_, i) => own.reduce((sum, mass) => sum + (mass.sum[i] ?? NaN), 0) / weight);
}

const worstError = (hubs: readonly GossipHub[], mean: readonly number[]): number =>
  Math.max(...hubs.flatMap((hub) => Array.from(hub.estimate(), (value, i) => Math.abs(value - (mean[i] ?? NaN)))));

/** Lets every living pair exchange what it last sent, so that nothing is on the way. */
function settle(hubs: readonly GossipHub[]): void {
  for (const hub of hubs) {
    for (const to of hub.neighbours()) {
      const message = hub.resend(to);
      const other = hubs.find(({ name }) => name === to);
      if (message && other) other.receive(message);
    }
  }
}

/** Steps of gossip; `reaches` says which links are up. Gives the largest error after each step. */
function gossip(
  hubs: readonly GossipHub[],
  steps: number,
  random: () => number,
  network: Network,
  mean: readonly number[],
  reaches: (from: number, to: number) => boolean = () => true,
): number[] {
  let onTheWay: GossipMessage[] = [];
  const errors: number[] = [];
  for (let step = 0; step < steps; step++) {
    const next: GossipMessage[] = [];
    hubs.forEach((hub, i) => {
      const others = hubs.flatMap((_, j) => (j !== i && reaches(i, j) ? [j] : []));
      const to = others[Math.floor(random() * others.length)];
      if (to === undefined) return;
      const message = hub.send((hubs[to] as GossipHub).name);
      if (random() >= network.loss) onTheWay.push(message);
      if (random() < network.repeat) onTheWay.push(message);
    });
    // In any order.
    onTheWay.sort(() => random() - 0.5);
    for (const message of onTheWay) {
      if (random() < network.late) next.push(message);
      else hubs.find(({ name }) => name === message.to)?.receive(message);
    }
    onTheWay = next;
    errors.push(worstError(hubs, mean));
  }
  return errors;
}

test.each([2, 3, 8, 16, 64])("%i hubs come to the central mean, exponentially fast", (count) => {
  const random = seededRandom(count);
  const { hubs, own } = makeHubs(count, random);
  const mean = central(own);
  const errors = gossip(hubs, 150, random, { loss: 0, repeat: 0, late: 0 }, mean);
  expect(errors.at(-1)).toBeLessThan(1e-6);
  // Ten times less error at least every 25 steps, until rounding is all that is left.
  for (let step = 25; step + 25 < errors.length && (errors[step] ?? 0) > 1e-9; step += 25) {
    expect(errors[step + 25]).toBeLessThan((errors[step] ?? 0) / 10);
  }
});

test("no mass is made or lost, whatever the network does, and the mean is the central one", () => {
  const chance = fc.double({ min: 0, max: 0.4, noNaN: true });
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 24 }),
      fc.nat(),
      fc.record({ loss: chance, repeat: chance, late: chance }),
      (count, seed, network) => {
        const random = seededRandom(seed);
        const { hubs, own } = makeHubs(count, random);
        const mean = central(own);
        gossip(hubs, 40, random, network, mean);
        settle(hubs);
        const weight = hubs.reduce((sum, hub) => sum + hub.mass.weight, 0);
        expect(weight).toBeCloseTo(
          own.reduce((sum, mass) => sum + mass.weight, 0),
          8,
        );
        for (let i = 0; i < LENGTH; i++) {
          const held = hubs.reduce((sum, hub) => sum + (hub.mass.sum[i] ?? NaN), 0);
          expect(held).toBeCloseTo(
            own.reduce((sum, mass) => sum + (mass.sum[i] ?? NaN), 0),
            7,
          );
        }
        gossip(hubs, 400, random, network, mean);
        settle(hubs);
        gossip(hubs, 150, random, { loss: 0, repeat: 0, late: 0 }, mean);
        expect(worstError(hubs, mean)).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 30 },
  );
});

test("a partition that heals ends in the central mean", () => {
  const random = seededRandom(6);
  const { hubs, own } = makeHubs(10, random);
  const mean = central(own);
  const network = { loss: 0.1, repeat: 0.1, late: 0.1 };
  const apart = gossip(hubs, 100, random, network, mean, (from, to) => from < 5 === to < 5);
  expect(apart.at(-1)).toBeGreaterThan(1e-3);
  const together = gossip(hubs, 250, random, network, mean);
  settle(hubs);
  gossip(hubs, 150, random, { loss: 0, repeat: 0, late: 0 }, mean);
  expect(worstError(hubs, mean)).toBeLessThan(1e-6);
  expect(together.length).toBe(250);
});

test("a hub that dies takes only its own updates with it, and they can be given to another", () => {
  const random = seededRandom(9);
  const { hubs, own } = makeHubs(7, random);
  gossip(hubs, 30, random, { loss: 0.2, repeat: 0.1, late: 0.1 }, central(own));
  const [dead, ...living] = hubs as [GossipHub, ...GossipHub[]];
  settle(living);
  for (const hub of living) hub.forget(dead.name);
  const without = central(own.slice(1));
  gossip(living, 200, random, { loss: 0, repeat: 0, late: 0 }, without);
  expect(worstError(living, without)).toBeLessThan(1e-6);
  // Its updates are still in R2: another hub takes them over.
  living[2]?.contribute(own[0] as Mass);
  const all = central(own);
  gossip(living, 200, random, { loss: 0, repeat: 0, late: 0 }, all);
  expect(worstError(living, all)).toBeLessThan(1e-6);
});

/** Gossips block by block until all have finished; each call may be lost on the way there or back. Gives the steps it took. */
function mix(hubs: readonly BlockGossip[], random: () => number, loss: number, most = 5000): number {
  for (let step = 1; step <= most; step++) {
    for (const hub of hubs) {
      const partner = hub.partner();
      const to = hubs.find(({ name }) => name === partner);
      if (!to) continue;
      const message = hub.ask(to.name);
      if (random() < loss) continue;
      const answer = to.answer(message);
      if (random() >= loss) hub.receive(answer);
    }
    if (hubs.every(({ finished }) => finished)) return step;
  }
  throw new Error(`Not finished after ${most} steps: ${hubs.map(({ progress }) => progress).join(", ")}`);
}

function makeBlocks(count: number, length: number, blockLength: number, random: () => number, epoch = 1) {
  const names = Array.from({ length: count }, (_, i) => `hub-${i}`);
  const own = names.map(() => Float64Array.from({ length }, () => (random() - 0.5) * 20));
  const values = own.map((one) => one.slice());
  const hubs = names.map((name, i) => new BlockGossip(name, names, epoch, values[i] as Own, [i, 1], blockLength));
  return { own, values, hubs };
}
type Own = Float64Array<ArrayBuffer>;

function worstOf(values: readonly Own[], own: readonly Own[]): number {
  const mean = Array.from(own[0] ?? [], (_, i) => own.reduce((sum, one) => sum + (one[i] ?? NaN), 0) / own.length);
  return Math.max(...values.flatMap((one) => mean.map((value, i) => Math.abs(value - (one[i] ?? NaN)))));
}

test.each([1, 2, 3, 4, 7, 16, 33, 64])("%i hubs hold the mean of a long vector, block by block", (count) => {
  const random = seededRandom(count);
  const { own, values, hubs } = makeBlocks(count, 37, 10, random);
  const steps = count === 1 ? 0 : mix(hubs, random, 0);
  // Four blocks to 1e-9; a step is one question of each hub.
  expect(steps).toBeLessThan(4 * 100);
  expect(worstOf(values, own)).toBeLessThan(1e-7);
  for (const hub of hubs) {
    expect(hub.finished).toBe(true);
    expect(hub.means[0]).toBeCloseTo((count - 1) / 2, 7);
    expect(hub.means[1]).toBeCloseTo(1, 9);
  }
});

test("calls that are lost, there or back, cost steps and nothing else", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 12 }),
      fc.nat(),
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      (count, seed, loss) => {
        const random = seededRandom(seed);
        const { own, values, hubs } = makeBlocks(count, 23, 8, random);
        mix(hubs, random, loss);
        expect(worstOf(values, own)).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 60 },
  );
});

test("a message of another epoch, or of a stranger, is refused", () => {
  const random = seededRandom(1);
  const [one, two] = makeBlocks(2, 5, 5, random).hubs as [BlockGossip, BlockGossip];
  const later = makeBlocks(2, 5, 5, random, 2).hubs[1] as BlockGossip;
  expect(() => one.answer(later.ask(one.name))).toThrow(RangeError);
  expect(() => one.answer({ ...two.ask(one.name), from: "stranger" })).toThrow(RangeError);
  expect(() => new BlockGossip("stranger", ["a", "b"], 1, new Float64Array(3))).toThrow(/none of the hubs/);
});
