import { hkdfSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MODELS, summarize, type ModelSummary } from "../../model/model";
import { seededRandom, shuffle } from "../../base/random";
import {
  beginSecure,
  check,
  confirm,
  keysOf,
  maskVector,
  reveal,
  SecureError,
  share,
  type SecureClient,
} from "./client";
import { degreeOf, neighbours, thresholdOf } from "./graph";
import type { Keys, Reveal } from "./messages";
import { fromRing, pack, ringOf, toRing, Unpacker, type RingFacts } from "./ring";
import { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
import { addMask, agree, newKeyPair, publicKeyOf, randomBytes } from "./secrets";
import { corrections, UnmaskingError } from "./server";

const ROUND = "expressions/1";

/** When clients leave: before their shares, before their vector, before their confirmation, or before their reveal. */
type Leaves = "shares" | "vector" | "confirmation" | "reveal";

/** A whole round of clients in memory. @returns the unmasked sum, and the plain sum of those whose vectors came */
async function federate(
  vectors: Uint32Array[],
  leaving: ReadonlyMap<number, Leaves> = new Map(),
): Promise<{ unmasked: Uint32Array; plain: Uint32Array; masked: Uint32Array[] }> {
  const n = vectors.length;
  const length = vectors[0]?.length ?? 0;
  const all = vectors.map((_, i) => i);
  const stays = (member: number, step: Leaves): boolean => {
    const ORDER: Leaves[] = ["shares", "vector", "confirmation", "reveal"];
    const when = leaving.get(member);
    return when === undefined || ORDER.indexOf(when) > ORDER.indexOf(step);
  };
  const states: SecureClient[] = await Promise.all(all.map(() => beginSecure(ROUND)));
  const keys: Keys[] = await Promise.all(states.map(keysOf));
  const around = neighbours(shuffle([...all], seededRandom(n)));
  const threshold = thresholdOf(n);
  const mailbox = new Map<number, { member: number; sealed: string }[]>(all.map((i) => [i, []]));
  const shared = all.filter((i) => stays(i, "shares"));
  const outbox = await Promise.all(
    shared.map((me) => {
      const peers = (around[me] ?? []).map((member) => ({ member, ...(keys[member] as Keys) }));
      return share(states[me] as SecureClient, { step: "shares", me, threshold, peers });
    }),
  );
  for (const [i, me] of shared.entries()) {
    const { state, message } = outbox[i] as (typeof outbox)[0];
    states[me] = state;
    for (const { to, sealed } of message.shares) mailbox.get(to)?.push({ member: me, sealed });
  }
  const survivors = shared.filter((i) => stays(i, "vector"));
  const [sum, plain] = [new Uint32Array(length), new Uint32Array(length)];
  const masked: Uint32Array[] = [];
  await Promise.all(
    survivors.map(async (me, place) => {
      const vector = (vectors[me] as Uint32Array).slice();
      const inbox = mailbox.get(me) ?? [];
      const { state, message } = await check(states[me] as SecureClient, { step: "check", inbox });
      expect(message.unopened).toEqual([]);
      const partners = (around[me] ?? []).filter((peer) => shared.includes(peer));
      states[me] = await maskVector(state, { step: "mask", partners }, vector);
      masked[place] = vector;
    }),
  );
  for (const [place, me] of survivors.entries()) {
    for (let i = 0; i < length; i++) {
      sum[i] = (sum[i] ?? 0) + (masked[place]?.[i] ?? 0);
      plain[i] = (plain[i] ?? 0) + (vectors[me]?.[i] ?? 0);
    }
  }
  const told = new Map<number, { member: number; mac: string }[]>(all.map((i) => [i, []]));
  const confirmed = survivors.filter((i) => stays(i, "confirmation"));
  for (const me of confirmed) {
    const { state, message } = await confirm(states[me] as SecureClient, { step: "confirm", survivors });
    states[me] = state;
    for (const { member, mac } of message.macs) told.get(member)?.push({ member: me, mac });
  }
  const reveals: Reveal[] = [];
  for (const me of confirmed.filter((i) => stays(i, "reveal"))) {
    reveals.push(await reveal(states[me] as SecureClient, { step: "reveal", macs: told.get(me) ?? [] }));
  }
  const members = new Map(
    shared.map((i) => [i, { keys: keys[i] as Keys, peers: (around[i] ?? []).filter((j) => shared.includes(j)) }]),
  );
  for (const { seed, sign } of await corrections({ round: ROUND, threshold, members, survivors, reveals })) {
    await addMask(sum, base64ToUint8Array(seed), sign);
  }
  return { unmasked: sum, plain, masked };
}

const vectorsOf = (n: number, length = 50): Uint32Array[] =>
  Array.from({ length: n }, (_, k) => {
    const random = seededRandom(k);
    return Uint32Array.from({ length }, () => random() * 2 ** 32);
  });

describe("the unmasked sum is the plain sum, to the last bit", () => {
  test.each([3, 4, 5, 9, 30])("of %i clients that all stay", async (n) => {
    const { unmasked, plain } = await federate(vectorsOf(n));
    expect(unmasked).toEqual(plain);
  });

  /** `npm run test:soak` has more. */
  const MANY = process.env["SOAK"] ? 200 : 50;
  test(
    `of ${MANY} clients with a third of them gone, at every step`,
    { timeout: 300_000, tags: ["slow"] },
    async () => {
      const steps: Leaves[] = ["shares", "vector", "confirmation", "reveal"];
      const gone = shuffle(
        Array.from({ length: MANY }, (_, i) => i),
        seededRandom(7),
      ).slice(0, Math.floor(MANY / 3));
      const leaving = new Map(gone.map((member, i) => [member, steps[i % 4] as Leaves]));
      const { unmasked, plain } = await federate(vectorsOf(MANY, 9), leaving);
      expect(unmasked).toEqual(plain);
    },
  );

  test(
    "for every way in which some of 3, 4 and 5 clients can leave; below the threshold it stays masked",
    { timeout: 120_000, tags: ["slow"] },
    async () => {
      const WAYS = [undefined, "shares", "vector", "confirmation", "reveal"] as const;
      for (const n of [3, 4, 5]) {
        for (let pattern = 0; pattern < WAYS.length ** n; pattern++) {
          const ways = Array.from({ length: n }, (_, i) => WAYS[Math.floor(pattern / WAYS.length ** i) % WAYS.length]);
          // A client is like any other: one order of each combination will do.
          if (ways.some((way, i) => i > 0 && WAYS.indexOf(way) < WAYS.indexOf(ways[i - 1]))) continue;
          const leaving = new Map(ways.flatMap((way, i) => (way ? [[i, way] as const] : [])));
          const enough = n - leaving.size >= thresholdOf(n);
          const round = federate(vectorsOf(n, 5), leaving);
          if (enough) {
            const { unmasked, plain } = await round;
            expect(unmasked, String(ways)).toEqual(plain);
          } else
            await expect(round, String(ways)).rejects.toSatisfy(
              (e) => e instanceof SecureError || e instanceof UnmaskingError,
            );
        }
      }
    },
  );
});

describe("what the edge sees of one client", () => {
  test("is random: bits, bytes and pairs are as even as chance has them, whatever is under it", async () => {
    const flat = Array.from({ length: 3 }, () => new Uint32Array(100_000));
    const { masked } = await federate(flat);
    for (const vector of masked) {
      const bytes = new Uint8Array(vector.buffer);
      const counts = new Float64Array(256);
      let [ones, together] = [0, 0];
      bytes.forEach((byte, i) => {
        counts[byte] = (counts[byte] ?? 0) + 1;
        for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1;
        together += (byte - 127.5) * ((bytes[i - 1] ?? 127.5) - 127.5);
      });
      const n = bytes.length;
      const chi = counts.reduce((sum, count) => sum + (count - n / 256) ** 2 / (n / 256), 0);
      // 255 degrees of freedom; six standard deviations each.
      expect(Math.abs(chi - 255)).toBeLessThan(6 * Math.sqrt(2 * 255));
      expect(Math.abs(ones - 4 * n)).toBeLessThan(6 * Math.sqrt(2 * n));
      expect(Math.abs(together)).toBeLessThan((6 * Math.sqrt(n) * (256 ** 2 - 1)) / 12);
    }
  });

  test("is the same for a client with one face of each label and for one with all of one: nothing of the counts is left", async () => {
    // The counts would stand in the last numbers. Over many rounds their masked values are uniform for both clients.
    const model = { parameters: 64 } as ModelSummary;
    const options = { codec: "int8", cohort: 3, clip: 1, deviation: 0, mostExamples: 200 } as const;
    const ring = ringOf(model, options);
    const means = await Promise.all(
      [1, 60].map(async (examples) => {
        let mean = 0;
        const ROUNDS = 60;
        for (let round = 0; round < ROUNDS; round++) {
          const vector = toRing(ring, new Float32Array(64), factsOf(examples), { seed: round, rotation: 1 });
          const { masked } = await federate([vector, vector, vector]);
          for (const value of masked[0] ?? []) mean += value / 2 ** 32 / ring.length / ROUNDS;
        }
        return mean * ring.length * ROUNDS;
      }),
    );
    const n = 60 * ring.length;
    for (const sum of means) expect(Math.abs(sum - n / 2)).toBeLessThan(6 * Math.sqrt(n / 12));
  });
});

describe("a client does not open anything for a server that", () => {
  async function upTo(n = 4) {
    const states = await Promise.all(Array.from({ length: n }, () => beginSecure(ROUND)));
    const keys = await Promise.all(states.map(keysOf));
    const peersOf = (me: number) => keys.flatMap((own, member) => (member === me ? [] : [{ member, ...own }]));
    const outbox = await Promise.all(
      states.map((state, me) => share(state, { step: "shares", me, threshold: 3, peers: peersOf(me) })),
    );
    const inbox = (me: number) =>
      outbox.flatMap(({ message }, member) =>
        message.shares.filter(({ to }) => to === me).map(({ sealed }) => ({ member, sealed })),
      );
    const ready = await Promise.all(
      outbox.map(async ({ state }, me) => {
        const checked = await check(state, { step: "check", inbox: inbox(me) });
        const partners = peersOf(me).map(({ member }) => member);
        return maskVector(checked.state, { step: "mask", partners }, new Uint32Array(4));
      }),
    );
    return { states, keys, peersOf, outbox, inbox, ready };
  }

  test("asks for a threshold that half of the shares reach, or names peers twice", async () => {
    const { states, peersOf } = await upTo();
    const ask = (threshold: number, peers = peersOf(0)) =>
      share(states[0] as SecureClient, { step: "shares", me: 0, threshold, peers });
    await expect(ask(2)).rejects.toThrow("2 of 4 shares");
    await expect(ask(5)).rejects.toThrow(SecureError);
    const [first, ...rest] = peersOf(0);
    await expect(ask(3, [first, first, ...rest] as typeof rest)).rejects.toThrow("twice");
    await expect(ask(3, [first, { ...first, member: 2 }, ...rest.slice(1)] as typeof rest)).rejects.toThrow("twice");
  });

  test("tells one client another list than the others, or changes its mind", async () => {
    const { ready } = await upTo();
    const honest = await Promise.all(
      [1, 2, 3].map((i) => confirm(ready[i] as SecureClient, { step: "confirm", survivors: [0, 1, 2, 3] })),
    );
    const { state } = await confirm(ready[0] as SecureClient, { step: "confirm", survivors: [0, 1, 2] });
    const macs = honest.map(({ message }, i) => ({
      member: i + 1,
      mac: message.macs.find(({ member }) => member === 0)?.mac ?? "",
    }));
    await expect(reveal(state, { step: "reveal", macs })).rejects.toThrow("0 peers have confirmed");
    await expect(reveal(state, { step: "reveal", macs: [] })).rejects.toThrow("0 peers have confirmed");
    await expect(confirm(state, { step: "confirm", survivors: [0, 1, 2, 3] })).rejects.toThrow("than before");
    await expect(confirm(ready[1] as SecureClient, { step: "confirm", survivors: [0, 2, 3] })).rejects.toThrow(
      SecureError,
    );
  });

  test("swaps or forges what was sealed", async () => {
    const { outbox, inbox } = await upTo();
    const state = outbox[0]?.state as SecureClient;
    const [a, b, c] = inbox(0);
    const swapped = [{ ...a, sealed: b?.sealed }, { ...b, sealed: a?.sealed }, c] as ReturnType<typeof inbox>;
    const { state: checked, message } = await check(state, { step: "check", inbox: swapped });
    expect(message.unopened).toEqual([1, 2]);
    // Two of three shares are needed beside the own one: with one nothing is sent.
    const masked = maskVector(checked, { step: "mask", partners: [1, 2, 3] }, new Uint32Array(4));
    await expect(masked).rejects.toThrow("1 of 3 peers have shared");
  });

  test("names other partners for the same vector than before", async () => {
    const { ready } = await upTo();
    const again = maskVector(ready[0] as SecureClient, { step: "mask", partners: [1, 2] }, new Uint32Array(4));
    await expect(again).rejects.toThrow("than before");
  });

  test("never gets both secrets of one peer", async () => {
    const { ready } = await upTo();
    const survivors = [0, 1, 2];
    const states = await Promise.all(
      survivors.map((i) => confirm(ready[i] as SecureClient, { step: "confirm", survivors })),
    );
    const macs = states.flatMap(({ message }, member) =>
      message.macs.filter((one) => one.member === 0).map(({ mac }) => ({ member, mac })),
    );
    const { seeds, keys } = await reveal(states[0]?.state as SecureClient, { step: "reveal", macs });
    expect(seeds.map(({ of }) => of)).toEqual([0, 1, 2]);
    expect(keys.map(({ of }) => of)).toEqual([3]);
  });
});

test("the edge notices shares that do not fit, and says whose", async () => {
  const keys = await keysOf(await beginSecure(ROUND));
  const wrongShares = [1, 2].map(() => ({ seeds: [{ of: 0, share: uint8ArrayToBase64(randomBytes(33)) }], keys: [] }));
  const members = new Map([[0, { keys, peers: [] }]]);
  const unmasking = { round: ROUND, threshold: 2, members, survivors: [0, 1], reveals: wrongShares };
  await expect(corrections(unmasking)).rejects.toThrow("member 0");
});

const factsOf = (examples: number): RingFacts => ({
  weight: examples,
  trainLoss: 1.5,
  trainAccuracy: 0.25,
  evalExamples: 4,
  evalLoss: 2.5,
  evalAccuracy: 0.75,
  below: 1,
});

describe("the ring", () => {
  const model = summarize(MODELS.compact);
  const random = seededRandom(5);
  const deltas = Array.from({ length: 4 }, () => {
    const delta = Float32Array.from({ length: model.parameters }, () => (random() - 0.5) ** 3);
    const norm = Math.sqrt(delta.reduce((sum, value) => sum + value * value, 0));
    return delta.map((value) => value / norm);
  });
  const weights = [1, 7, 20, 200];

  test.each(["int8", "int4"] as const)(
    "gives the weighted mean of deltas in %s, within its rounding, and the facts",
    (codec) => {
      const ring = ringOf(model, { codec, cohort: 4, clip: 1, deviation: 0, mostExamples: 200 });
      const sum = new Uint32Array(ring.length);
      deltas.forEach((delta, k) => {
        const vector = toRing(ring, delta, factsOf(weights[k] ?? 0), { seed: k, rotation: 9 });
        // The sum of the low bits is the low bits of the sum.
        vector.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + (value & (2 ** ring.bits - 1))));
      });
      const { mean, facts } = fromRing(ring, sum, 9);
      const total = 1 + 7 + 20 + 64;
      expect(facts).toMatchObject({ weight: total, evalExamples: 16, below: 4 });
      expect(facts.trainLoss).toBeCloseTo(1.5, 1);
      expect(facts.trainAccuracy).toBeCloseTo(0.25, 1);
      expect(facts.evalLoss).toBeCloseTo(2.5, 1);
      expect(facts.evalAccuracy).toBeCloseTo(0.75, 1);
      const shares = weights.map((weight) => Math.min(64, weight) / total);
      const expected = (i: number): number => deltas.reduce((s, delta, k) => s + (shares[k] ?? 0) * (delta[i] ?? 0), 0);
      let [error, size] = [0, 0];
      mean.forEach((value, i) => {
        error += (value - expected(i)) ** 2;
        size += expected(i) ** 2;
      });
      // One rounding has at most half a step of deviation on every coordinate.
      const { step } = ring;
      const most = 0.5 * step * Math.sqrt(ring.block * ring.blocks * shares.reduce((s, share) => s + share ** 2, 0));
      expect(Math.sqrt(error)).toBeLessThan(most * 1.05);
      expect(Math.sqrt(error)).toBeLessThan((codec === "int8" ? 0.05 : 0.7) * Math.sqrt(size));
    },
  );

  test("is as wide as the whole cohort's sum needs, and not wider", () => {
    for (const [codec, levels] of [
      ["int8", 127],
      ["int4", 7],
    ] as const) {
      for (const cohort of [3, 10, 200, 1000]) {
        const { bits } = ringOf(model, { codec, cohort, clip: 1, deviation: 0, mostExamples: 200 });
        expect(2 ** bits).toBeGreaterThan(2 * cohort * 64 * levels);
        expect(2 ** (bits - 1)).toBeLessThanOrEqual(2 * cohort * 64 * levels);
      }
    }
  });

  test.each(["int8", "int4"] as const)(
    "with noise in %s the sum is that of the deltas and Gaussian noise of the deviation that its clients were told",
    (codec) => {
      const deviation = 0.004;
      const below = { unit: 3, variance: 25 };
      const cohort = 4;
      const ring = ringOf(model, { codec, cohort, clip: 1, deviation, mostExamples: 1, below });
      const sum = new Uint32Array(ring.length);
      for (const delta of deltas) {
        const vector = toRing(ring, delta, factsOf(7), { seed: 1, rotation: 9 });
        vector.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + (value & (2 ** ring.bits - 1))));
      }
      const { mean, facts } = fromRing(ring, sum, 9);
      let [squares, cubes, cross] = [0, 0, 0];
      mean.forEach((value, i) => {
        const noise = value * cohort - deltas.reduce((s, delta) => s + (delta[i] ?? 0), 0);
        squares += noise ** 2;
        cubes += noise ** 3;
        cross += noise * (deltas[0]?.[i] ?? 0);
      });
      const n = mean.length;
      const told = deviation * Math.sqrt(cohort);
      expect(Math.abs(squares / n / told ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
      expect(Math.abs(cubes / n / told ** 3)).toBeLessThan(5 * Math.sqrt(15 / n));
      expect(Math.abs(cross / told)).toBeLessThan(5);
      // Nothing of their trainings is told, and of their norms what has noise on it.
      expect(facts).toMatchObject({ weight: cohort, trainLoss: 0, trainAccuracy: 0, evalExamples: 0 });
      expect(Math.abs(facts.below - 4)).toBeLessThan((6 * Math.sqrt(25 * cohort)) / 3 / 2);
    },
  );

  test("with noise two vectors of one delta have nothing else in common, and without a clip that follows nothing is told", () => {
    const ring = ringOf(model, { codec: "int8", cohort: 10, clip: 1, deviation: 0.1, mostExamples: 1 });
    // Fewer bits than eight-bit levels of ten clients take.
    expect(ring.bits).toBe(11);
    const delta = deltas[0] as Float32Array;
    const [a, b] = [1, 1].map((seed) => toRing(ring, delta, factsOf(7), { seed, rotation: 9 }));
    let same = 0;
    a?.forEach((value, i) => (same += value === b?.[i] ? 1 : 0));
    // Two discrete Gaussians of variance 444 agree once in 2 sqrt(pi 444).
    expect(same / ring.length).toBeLessThan(1.1 / (2 * Math.sqrt(Math.PI * 444)));
    expect([...(a ?? [])].slice(-7)).toEqual([1, 0, 0, 0, 0, 0, 0]);
  });

  test("is packed and unpacked without loss, at any width and however the bytes arrive", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 32 }),
        fc.array(fc.nat(2 ** 32 - 1), { maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (bits, numbers, cuts) => {
          const values = Uint32Array.from(numbers, (value) => Number(BigInt(value) & ((1n << BigInt(bits)) - 1n)));
          const packed = pack(values, bits);
          expect(packed.length).toBe(Math.ceil((values.length * bits) / 8));
          const unpacker = new Unpacker(bits, values.length);
          const found: number[] = [];
          for (let at = 0, i = 0; at < packed.length; i++) {
            const length = cuts[i % cuts.length] ?? 1;
            found.push(...unpacker.push(packed.subarray(at, at + length)));
            at += length;
          }
          expect(found).toEqual([...values]);
          expect(unpacker.left).toBe(0);
        },
      ),
    );
  });
});

describe("keys", () => {
  test("are X25519's of RFC 7748, section 6.1, behind Node's own HKDF", async () => {
    const hex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    const alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    const bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    const shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    const alicePublic = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    expect(await publicKeyOf(alice)).toEqual(alicePublic);
    const expected = new Uint8Array(hkdfSync("sha256", shared, "round", "mask", 32));
    expect(await agree(alice, await publicKeyOf(bob), "round", "mask")).toEqual(expected);
    expect(await agree(bob, alicePublic, "round", "mask")).toEqual(expected);
  });

  test("of a new pair belong together", async () => {
    const pair = await newKeyPair();
    expect(await publicKeyOf(pair.privateKey)).toEqual(pair.publicKey);
  });

  test("agree from either side, and on something else for another round or purpose", async () => {
    const [a, b] = await Promise.all([newKeyPair(), newKeyPair()]);
    const secret = await agree(a.privateKey, b.publicKey, "r1", "mask");
    expect(await agree(b.privateKey, a.publicKey, "r1", "mask")).toEqual(secret);
    expect(await agree(b.privateKey, a.publicKey, "r2", "mask")).not.toEqual(secret);
    expect(await agree(b.privateKey, a.publicKey, "r1", "shares")).not.toEqual(secret);
  });
});

test("the graph is regular, symmetric, and thick enough to lose a third", () => {
  for (const n of [3, 10, 64, 65, 200, 1000]) {
    const around = neighbours(
      shuffle(
        Array.from({ length: n }, (_, i) => i),
        seededRandom(n),
      ),
    );
    const sets = around.map((own) => new Set(own));
    // One expectation for each cohort: a hundred thousand of them take seconds.
    const isRegular = (own: Set<number>, i: number): boolean =>
      own.size === degreeOf(n) && !own.has(i) && [...own].every((other) => sets[other]?.has(i));
    expect(sets.findIndex((own, i) => !isRegular(own, i))).toBe(-1);
    expect(2 * thresholdOf(n)).toBeGreaterThan(degreeOf(n) + 1);
    expect(thresholdOf(n)).toBeLessThanOrEqual(255);
    // Draw who is left many times: nobody's secret is lost.
    const random = seededRandom(1);
    for (let draw = 0; draw < 50; draw++) {
      const left = new Set(shuffle([...around.keys()], random).slice(Math.floor(n / 3)));
      for (const [i, own] of around.entries()) {
        const holders = own.filter((other) => left.has(other)).length + (left.has(i) ? 1 : 0);
        if (holders < thresholdOf(n)) throw new Error(`${n}: ${holders} of ${thresholdOf(n)}`);
      }
    }
  }
});
