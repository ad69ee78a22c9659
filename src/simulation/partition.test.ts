import fc from "fast-check";
import { expect, test } from "vitest";
import { countLabels, partition, type PartitionRule } from "./partition";
import { PartitionError } from "./partition-error";

const CLASSES = 7;
const labelsOf = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => (i * 3) % CLASSES);
const RULE: PartitionRule = {
  clients: 10,
  partition: "iid",
  alpha: 0.5,
  labelsPerClient: 2,
  shardsPerClient: 2,
  sizeSpread: 0,
  examplesPerClient: 0,
  seed: 3,
  sizePower: 0,
};

test("every partition gives each example at most once, all of them when asked, and the same again for the same seed", () => {
  fc.assert(
    fc.property(
      fc.record({
        clients: fc.integer({ min: 1, max: 40 }),
        partition: fc.constantFrom("iid" as const, "dirichlet" as const, "shards" as const),
        alpha: fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
        labelsPerClient: fc.constant(2),
        shardsPerClient: fc.integer({ min: 1, max: 4 }),
        sizeSpread: fc.double({ min: 0, max: 2, noNaN: true }),
        sizePower: fc.constantFrom(0, 1.2),
        examplesPerClient: fc.integer({ min: 0, max: 6 }),
        seed: fc.nat(),
      }),
      fc.integer({ min: 240, max: 700 }),
      (rule, count) => {
        // So few examples that they do not make the shards are refused: see below.
        fc.pre(rule.examplesPerClient === 0 || rule.examplesPerClient >= rule.shardsPerClient);
        const labels = labelsOf(count);
        const parts = partition({ labels }, CLASSES, rule);
        expect(parts).toHaveLength(rule.clients);
        expect(Math.min(...parts.map(({ length }) => length))).toBeGreaterThan(0);
        const all = parts.flatMap((part) => [...part]);
        expect(new Set(all).size).toBe(all.length);
        expect(Math.max(...all)).toBeLessThan(count);
        expect(all).toHaveLength(rule.examplesPerClient === 0 ? count : rule.clients * rule.examplesPerClient);
        expect(partition({ labels }, CLASSES, rule)).toEqual(parts);
      },
    ),
  );
});

test("shards give each client few labels, and a small alpha fewer than a large one", () => {
  const labels = labelsOf(7000);
  const kinds = (rule: Partial<PartitionRule>): number => {
    const counts = countLabels(partition({ labels }, CLASSES, { ...RULE, clients: 50, ...rule }), labels, CLASSES);
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
  const sizes = partition({ labels: labelsOf(100_000) }, CLASSES, { ...RULE, clients: 500, sizeSpread: 1 }).map(
    (p) => p.length,
  );
  const logs = sizes.map(Math.log);
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const deviation = Math.sqrt(logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logs.length);
  expect(deviation).toBeGreaterThan(0.9);
  expect(deviation).toBeLessThan(1.1);
});

test("too few examples are refused, with what to do", () => {
  const ask = (rule: Partial<PartitionRule>) => () =>
    partition({ labels: labelsOf(100) }, CLASSES, { ...RULE, ...rule });
  expect(ask({ clients: 101 })).toThrow(PartitionError);
  expect(ask({ examplesPerClient: 11 })).toThrow("110 examples are asked for, and there are 100");
  expect(ask({ partition: "shards", shardsPerClient: 20 })).toThrow("do not make 200 shards");
  expect(ask({ partition: "labels", labelsPerClient: 8 })).toThrow("There are 7 labels");
  expect(ask({ partition: "labels", clients: 100, examplesPerClient: 1 })).toThrow("fewer examples than clients");
});

test("labels gives each client so many labels, its own number's first, and those who have a label the same of it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: CLASSES }),
      fc.integer({ min: 400, max: 700 }),
      fc.nat(),
      (clients, labelsPerClient, count, seed) => {
        const labels = labelsOf(count);
        const rule = { ...RULE, partition: "labels" as const, clients, labelsPerClient, seed };
        const parts = partition({ labels }, CLASSES, rule);
        const rows = countLabels(parts, labels, CLASSES);
        for (const [client, row] of rows.entries()) {
          expect(row.filter((n) => n > 0)).toHaveLength(labelsPerClient);
          expect(row[client % CLASSES]).toBeGreaterThan(0);
        }
        for (let label = 0; label < CLASSES; label++) {
          const shares = rows.map((row) => row[label] as number).filter((n) => n > 0);
          // Nobody may have it; who has it shares all of it.
          if (shares.length === 0) continue;
          expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
          expect(shares.reduce((a, b) => a + b, 0)).toBe(labels.filter((one) => one === label).length);
        }
        const all = parts.flatMap((part) => [...part]);
        expect(new Set(all).size).toBe(all.length);
        expect(partition({ labels }, CLASSES, rule)).toEqual(parts);
      },
    ),
  );
});

/** Means over some seeds: the share of a client's most frequent label, how many labels a client has, and the largest client's share of all. */
function skew(
  rule: Partial<PartitionRule>,
  classes: number,
  count: number,
  seeds: number,
): { main: number; kinds: number; largest: number } {
  const labels = Uint8Array.from({ length: count }, (_, i) => i % classes);
  const draws = Array.from({ length: seeds }, (_, seed) =>
    countLabels(partition({ labels }, classes, { ...RULE, ...rule, seed }), labels, classes),
  );
  const rows = draws.flat();
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const mean = (values: number[]): number => sum(values) / values.length;
  return {
    main: mean(rows.map((row) => Math.max(...row) / sum(row))),
    kinds: mean(rows.map((row) => row.filter((n) => n > 0).length)),
    largest: mean(draws.map((draw) => Math.max(...draw.map(sum)) / count)),
  };
}

/**
 * What NumPy finds with the papers' own rules, ten clients and ten labels: for `dirichlet-symmetric` NIID-Bench's code (utils.py,
 * `noniid-labeldir`) on 7,000 examples, 60 draws (with 0.01 300); for `dirichlet` the largest of numpy.random.dirichlet([alpha / 10] * 10), 5,000 draws.
 */
test.each([
  ["dirichlet-symmetric", 0.01, 0.875],
  ["dirichlet-symmetric", 0.1, 0.647],
  ["dirichlet-symmetric", 0.5, 0.386],
  ["dirichlet-symmetric", 1, 0.298],
  ["dirichlet", 1e-6, 1],
  ["dirichlet", 0.001, 1],
  ["dirichlet", 0.1, 0.946],
  ["dirichlet", 0.5, 0.787],
  ["dirichlet", 1, 0.664],
] as const)("%s with alpha %d gives a client's main label the share that NumPy finds", (name, alpha, expected) => {
  // A tenth of the data is shared out by client, so that no label is used up.
  const asked = name === "dirichlet" ? { examplesPerClient: alpha < 0.1 ? 7 : 70 } : {};
  const { main } = skew({ partition: name, alpha, ...asked }, 10, 7000, 60);
  expect(Math.abs(main - expected)).toBeLessThan(0.03);
});

/** NIID-Bench's code (utils.py, `noniid-#label`) with NumPy, ten clients and ten labels, 7,000 examples, 3,000 draws. */
test.each([
  [1, 1, 0.1],
  [2, 0.633, 0.147],
  [3, 0.457, 0.15],
] as const)("%d labels a client give shares and sizes as NumPy finds them", (labelsPerClient, expected, size) => {
  const { main, kinds, largest } = skew({ partition: "labels", labelsPerClient }, 10, 7000, 60);
  expect(kinds).toBe(labelsPerClient);
  expect(Math.abs(main - expected)).toBeLessThan(0.015);
  expect(Math.abs(largest - size)).toBeLessThan(0.01);
});

test.each(["dirichlet", "dirichlet-symmetric", "labels", "shards", "iid"] as const)(
  "%s gives its first clients no other labels than its last",
  (name) => {
    const labels = labelsOf(2100);
    const kinds = (part: Uint32Array): number => new Set([...part].map((i) => labels[i])).size;
    let [first, last] = [0, 0];
    const seeds = 60;
    for (let seed = 0; seed < seeds; seed++) {
      const parts = partition({ labels }, CLASSES, { ...RULE, clients: 30, partition: name, alpha: 1, seed });
      for (let i = 0; i < 10; i++) {
        first += kinds(parts[i] as Uint32Array) / (10 * seeds);
        last += kinds(parts[29 - i] as Uint32Array) / (10 * seeds);
      }
    }
    // 600 clients each with a deviation of about a label and a half: the difference of the means deviates by 0.09.
    expect(Math.abs(first - last)).toBeLessThan(0.3);
  },
);

test("sizes of a power law fall on a line of its slope in ranks, and no place in the row is the largest's own", () => {
  const largest = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const rule = { ...RULE, clients: 100, sizePower: 1.5, seed };
    const sizes = partition({ labels: labelsOf(200_000) }, CLASSES, rule).map(({ length }) => length);
    largest.add(sizes.indexOf(Math.max(...sizes)));
    const ranked = sizes.sort((a, b) => b - a);
    // Zipf's law: the tenth has 10^-1.5 of the first, the hundredth 100^-1.5.
    expect((ranked[9] as number) / (ranked[0] as number)).toBeCloseTo(0.0316, 3);
    expect((ranked[99] as number) / (ranked[0] as number)).toBeCloseTo(0.001, 3);
  }
  expect(largest.size).toBeGreaterThan(10);
});

test("a natural partition gives everybody what is theirs, and says what it lacks", () => {
  const labels = labelsOf(60);
  const clients = Uint32Array.from(labels, (_, i) => [4, 9, 2][i % 3] as number);
  const ask = (rule: Partial<PartitionRule>, owners?: Uint32Array) =>
    partition({ labels, clients: owners }, CLASSES, { ...RULE, partition: "natural", ...rule });
  const parts = ask({ clients: 3 }, clients);
  expect(parts.map(({ length }) => length)).toEqual([20, 20, 20]);
  for (const part of parts) expect(new Set([...part].map((i) => clients[i])).size).toBe(1);
  expect(ask({ clients: 2, examplesPerClient: 5 }, clients).map(({ length }) => length)).toEqual([5, 5]);
  expect(() => ask({ clients: 4 }, clients)).toThrow("These data are of 3 clients");
  // What is nobody's is left out, and nobody is a client by that.
  const some = clients.map((client) => (client === 9 ? 0 : client));
  expect(
    ask({ clients: 2 }, some)
      .flatMap((part) => [...part])
      .every((i) => some[i] !== 0),
  ).toBe(true);
  expect(() => ask({ clients: 3 }, some)).toThrow("These data are of 2 clients");
  expect(() => ask({ clients: 3 })).toThrow("do not say whose each example is");
});
