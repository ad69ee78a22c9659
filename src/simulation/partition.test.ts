import fc from "fast-check";
import { expect, test } from "vitest";
import { countLabels, partition, PartitionError, type PartitionRule } from "./partition";

const CLASSES = 7;
const labelsOf = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => (i * 3) % CLASSES);
const RULE: PartitionRule = {
  ...{ clients: 10, partition: "iid", alpha: 0.5, shardsPerClient: 2, sizeSpread: 0, examplesPerClient: 0, seed: 3 },
};

test("every partition gives each example at most once, all of them when asked, and the same again for the same seed", () => {
  fc.assert(
    fc.property(
      fc.record({
        clients: fc.integer({ min: 1, max: 40 }),
        partition: fc.constantFrom("iid" as const, "dirichlet" as const, "shards" as const),
        alpha: fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
        shardsPerClient: fc.integer({ min: 1, max: 4 }),
        sizeSpread: fc.double({ min: 0, max: 2, noNaN: true }),
        examplesPerClient: fc.integer({ min: 0, max: 6 }),
        seed: fc.nat(),
      }),
      fc.integer({ min: 240, max: 700 }),
      (rule, count) => {
        // So few examples that they do not make the shards are refused: see below.
        fc.pre(rule.examplesPerClient === 0 || rule.examplesPerClient >= rule.shardsPerClient);
        const labels = labelsOf(count);
        const parts = partition(labels, CLASSES, rule);
        expect(parts).toHaveLength(rule.clients);
        expect(Math.min(...parts.map(({ length }) => length))).toBeGreaterThan(0);
        const all = parts.flatMap((part) => [...part]);
        expect(new Set(all).size).toBe(all.length);
        expect(Math.max(...all)).toBeLessThan(count);
        expect(all).toHaveLength(rule.examplesPerClient === 0 ? count : rule.clients * rule.examplesPerClient);
        expect(partition(labels, CLASSES, rule)).toEqual(parts);
      },
    ),
  );
});

test("shards give each client few labels, and a small alpha fewer than a large one", () => {
  const labels = labelsOf(7000);
  const kinds = (rule: Partial<PartitionRule>): number => {
    const counts = countLabels(partition(labels, CLASSES, { ...RULE, clients: 50, ...rule }), labels, CLASSES);
    // The effective number of labels: the exponential of the entropy.
    const effective = counts.map((row) => {
      const total = row.reduce((a, b) => a + b, 0);
      return Math.exp(-row.reduce((sum, n) => sum + (n > 0 ? (n / total) * Math.log(n / total) : 0), 0));
    });
    return effective.reduce((a, b) => a + b, 0) / effective.length;
  };
  expect(kinds({ partition: "shards" })).toBeLessThan(2.6);
  const [few, some, many] = [0.1, 1, 100].map((alpha) => kinds({ partition: "dirichlet", alpha }));
  expect(few).toBeLessThan(some as number);
  expect(some).toBeLessThan(many as number);
  expect(many).toBeGreaterThan(6);
  expect(kinds({})).toBeGreaterThan(5);
});

test("sizes spread as a log-normal does", () => {
  const sizes = partition(labelsOf(100_000), CLASSES, { ...RULE, clients: 500, sizeSpread: 1 }).map((p) => p.length);
  const logs = sizes.map(Math.log);
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const deviation = Math.sqrt(logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logs.length);
  expect(deviation).toBeGreaterThan(0.9);
  expect(deviation).toBeLessThan(1.1);
});

test("too few examples are refused, with what to do", () => {
  const ask = (rule: Partial<PartitionRule>) => () => partition(labelsOf(100), CLASSES, { ...RULE, ...rule });
  expect(ask({ clients: 101 })).toThrow(PartitionError);
  expect(ask({ examplesPerClient: 11 })).toThrow("110 examples are asked for, and there are 100");
  expect(ask({ partition: "shards", shardsPerClient: 20 })).toThrow("do not make 200 shards");
});
