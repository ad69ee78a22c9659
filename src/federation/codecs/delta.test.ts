import fc from "fast-check";
import { expect, test } from "vitest";
import { MODELS, summarize, type ModelSpec } from "../../model/model";
import { hash32, seededRandom } from "../../base/random";
import { FormatError } from "../../model/safetensors";
import { compress, decodeDelta, DeltaDecoder, encodeDelta, largestPayload } from "./delta";
import { fromFloat16, toFloat16 } from "./float16";
import { CODEC_NAMES } from "./registry";

const SMALL: ModelSpec = {
  name: "small",
  inputShape: [6, 6, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 3, size: 3, padding: "valid" },
    { kind: "batchNorm", name: "norm" },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "dense", units: 5, activation: "softmax" },
  ],
};
const model = summarize(SMALL);
const deltas = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }), {
  minLength: model.parameters,
  maxLength: model.parameters,
});

/** The largest step of a kernel's quantization. */
function steps(delta: Float32Array, levels: number): number[] {
  return model.tensors.flatMap(({ offset, size, shape }) => {
    const channels = shape.length < 2 ? 0 : (shape.at(-1) ?? 1);
    return Array.from({ length: size }, (_, i) => {
      if (channels === 0) return 0;
      let largest = 0;
      for (let j = i % channels; j < size; j += channels) largest = Math.max(largest, Math.abs(delta[offset + j] ?? 0));
      return largest / levels;
    });
  });
}

test("every codec comes back within its step, and whole parts come back however the bytes are cut", () => {
  fc.assert(
    fc.property(
      deltas,
      fc.constantFrom(...CODEC_NAMES),
      fc.nat(),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      (values, codec, seed, cuts) => {
        const delta = Float32Array.from(values);
        const payload = encodeDelta(model, delta, { codec, share: 0.3, seed });
        expect(payload.length).toBeLessThanOrEqual(largestPayload(model, { codec, share: 0.3 }));
        const decoded = decodeDelta(model, payload, codec);
        const decoder = new DeltaDecoder(model, codec);
        const pieced = new Float32Array(model.parameters);
        for (let at = 0, i = 0; at < payload.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          for (const { start, values } of decoder.push(payload.subarray(at, at + length))) pieced.set(values, start);
          at += length;
        }
        decoder.finish();
        expect(pieced).toEqual(decoded);
        if (codec === "float32") expect(decoded).toEqual(delta);
        if (codec === "float16") {
          decoded.forEach((value, i) => {
            expect(Math.abs(value - (delta[i] ?? NaN))).toBeLessThanOrEqual(
              Math.max(2 ** -25, Math.abs(value) * 2 ** -11),
            );
          });
        }
        if (codec === "int8" || codec === "int4") {
          const step = steps(delta, codec === "int8" ? 127 : 7);
          decoded.forEach((value, i) => {
            expect(Math.abs(value - (delta[i] ?? NaN))).toBeLessThanOrEqual((step[i] ?? 0) * 1.0001);
          });
        }
      },
    ),
  );
});

test("rounding is unbiased: the mean over many seeds is the number itself", () => {
  const random = seededRandom(1);
  const delta = Float32Array.from({ length: model.parameters }, () => random() * 2 - 1);
  for (const [codec, levels] of [
    ["int8", 127],
    ["int4", 7],
    ["topk", 127],
  ] as const) {
    const DRAWS = 4000;
    const mean = new Float64Array(model.parameters);
    for (let seed = 0; seed < DRAWS; seed++) {
      decodeDelta(model, encodeDelta(model, delta, { codec, share: 1, seed: seed * 7919 }), codec).forEach(
        (value, i) => {
          mean[i] = (mean[i] ?? 0) + value / DRAWS;
        },
      );
    }
    // A rounded number has a standard deviation of at most half a step.
    mean.forEach((value, i) => {
      expect(Math.abs(value - (delta[i] ?? NaN)), codec).toBeLessThan((5 * 0.5) / levels / Math.sqrt(DRAWS) + 1e-6);
    });
  }
});

test("topk keeps the largest, and what error feedback carries over is what was lost", () => {
  fc.assert(
    fc.property(deltas, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
      const delta = Float32Array.from(values);
      const decoded = decodeDelta(model, encodeDelta(model, delta, { codec: "topk", share, seed: 1 }), "topk");
      for (const { offset, size, shape } of model.tensors) {
        const own = delta.subarray(offset, offset + size);
        const got = decoded.subarray(offset, offset + size);
        if (shape.length < 2) {
          expect(got).toEqual(own);
          continue;
        }
        const count = Math.max(1, Math.round(size * share));
        const smallest = [...own].map(Math.abs).sort((a, b) => b - a)[count - 1] ?? 0;
        const step = Math.max(...own.map(Math.abs)) / 127;
        got.forEach((value, i) => {
          const kept = Math.abs(own[i] ?? 0) > smallest;
          if (kept) expect(Math.abs(value - (own[i] ?? NaN))).toBeLessThanOrEqual(step * 1.0001);
          if (Math.abs(own[i] ?? 0) < smallest) expect(value).toBe(0);
        });
        expect(got.filter((value) => value !== 0).length).toBeLessThanOrEqual(count);
      }
    }),
  );
});

test("ternary sends the largest as their signs, times the mean of their sizes", () => {
  fc.assert(
    fc.property(deltas, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
      const delta = Float32Array.from(values);
      const decoded = decodeDelta(model, encodeDelta(model, delta, { codec: "ternary", share, seed: 1 }), "ternary");
      for (const { offset, size, shape } of model.tensors) {
        const own = delta.subarray(offset, offset + size);
        const got = decoded.subarray(offset, offset + size);
        if (shape.length < 2) {
          expect(got).toEqual(own);
          continue;
        }
        const largest = [...own]
          .map(Math.abs)
          .sort((a, b) => b - a)
          .slice(0, Math.max(1, Math.round(size * share)));
        const mean = Math.fround(largest.reduce((a, b) => a + b, 0) / largest.length);
        got.forEach((value, i) => {
          const number = own[i] ?? NaN;
          const smallest = largest.at(-1) ?? 0;
          if (Math.abs(number) > smallest) expect(value / Math.sign(number)).toBeCloseTo(mean, 5);
          if (Math.abs(number) < smallest) expect(value).toBe(0);
        });
        if (mean > 0) expect(got.filter((value) => value !== 0)).toHaveLength(largest.length);
      }
    }),
  );
});

test("nothing is lost for good: what was sent and what is left add up to all that was wanted", () => {
  const random = seededRandom(4);
  for (const codec of CODEC_NAMES) {
    const wanted = new Float64Array(model.parameters);
    const sent = new Float64Array(model.parameters);
    let residual: Float32Array | undefined;
    for (let round = 0; round < 30; round++) {
      const delta = Float32Array.from({ length: model.parameters }, () => random() - 0.5);
      const compressed = compress(model, delta, residual, { codec, share: 0.1, seed: round });
      delta.forEach((value, i) => (wanted[i] = (wanted[i] ?? 0) + value));
      compressed.decoded.forEach((value, i) => (sent[i] = (sent[i] ?? 0) + value));
      residual = compressed.residual;
    }
    residual?.forEach((left, i) => {
      expect((sent[i] ?? 0) + left, codec).toBeCloseTo(wanted[i] ?? NaN, 4);
    });
  }
});

test("damaged payloads are refused with a code, or were a delta after all", () => {
  const random = seededRandom(2);
  const delta = Float32Array.from({ length: model.parameters }, () => random() - 0.5);
  let refused = 0;
  for (let i = 0; i < 20_000; i++) {
    const codec = CODEC_NAMES[i % CODEC_NAMES.length] ?? "float32";
    let payload = encodeDelta(model, delta, { codec, share: 0.2, seed: 1 });
    const kind = random();
    if (kind < 0.4) payload = payload.slice(0, Math.floor(random() * payload.length));
    else if (kind < 0.5) payload = Uint8Array.from([...payload, 1, 2, 3]);
    else
      for (let hits = 0; hits < 4; hits++) payload[Math.floor(random() * payload.length)] = Math.floor(random() * 256);
    try {
      const decoded = decodeDelta(model, payload, codec);
      expect(decoded.every(Number.isFinite)).toBe(true);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(9000);
});

test("binary16 is what DataView and the standard say", () => {
  // Published values of IEEE 754 binary16.
  for (const [bits, value] of [
    [0x0001, 2 ** -24],
    [0x03ff, (1023 / 1024) * 2 ** -14],
    [0x0400, 2 ** -14],
    [0x3555, 0.333251953125],
    [0x3c00, 1],
    [0x3c01, 1 + 2 ** -10],
    [0xc000, -2],
    [0x7bff, 65_504],
  ] as const) {
    expect(fromFloat16(bits)).toBe(value);
    expect(toFloat16(value)).toBe(bits);
  }
  for (let bits = 0; bits < 0x7c00; bits++) expect(toFloat16(fromFloat16(bits))).toBe(bits);
});

test("one part in a hundred of the seed CNN is a hundredth of the bytes", () => {
  const seed = summarize(MODELS.seed);
  const random = seededRandom(3);
  const delta = Float32Array.from({ length: seed.parameters }, () => (random() - 0.5) ** 3);
  const bytes = encodeDelta(seed, delta, { codec: "topk", share: 0.01, seed: 1 }).length;
  expect((seed.parameters * 4) / bytes).toBeGreaterThan(100);
});

test("rounding at random never takes a number past the largest integer of its codec, where four bits change its sign", () => {
  // Of a kernel's largest number the rounded scale may make a hair more than the largest integer; a small draw rounds that up.
  const { offset } = model.tensors.find(({ shape }) => shape.length > 1) ?? { offset: NaN };
  let seed = 0;
  while (hash32(seed, offset) > 400) seed += 1;
  let isTried = false;
  for (let m = 1; m < 2; m += 0.001) {
    const largest = Math.fround(m);
    // How the scale rounds is what IEEE 754 says.
    isTried ||= largest / Math.fround(largest / 7) > 7 + 1e-7;
    const delta = new Float32Array(model.parameters);
    delta[offset] = largest;
    const decoded = decodeDelta(model, encodeDelta(model, delta, { codec: "int4", share: 1, seed }), "int4");
    expect(decoded[offset]).toBeCloseTo(largest, 5);
  }
  expect(isTried).toBe(true);
});
