import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { summarize, type ModelSpec } from "../model/model";
import { decodeSafetensors, FormatError } from "../model/safetensors";
import { encodeUpdate, readUpdateMetadata, UpdateReader, type UpdateMetadata, type UpdateSummary } from "./update";

const tiny: ModelSpec = {
  name: "tiny",
  inputShape: [5, 5, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 2, size: 3, padding: "valid" },
    { kind: "batchNorm", name: "norm" },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "out", units: 3, activation: "softmax" },
  ],
};
const model = summarize(tiny);
const metadata: UpdateMetadata = {
  codec: "float32",
  task: "expressions",
  round: 3,
  base: "ab".repeat(32),
  examples: 4,
  trainLoss: 1.5,
  trainAccuracy: 0.25,
  evalExamples: 1,
  evalLoss: 2,
  evalAccuracy: 0,
  bytesDown: 12,
  trainingMs: 34.5,
  backend: "wasm",
};
const values = Float32Array.from({ length: model.parameters }, (_, i) => i / 7 - 3);
const file = encodeUpdate(model, values, metadata);

function read(bytes: Uint8Array, cuts: number[] = []): UpdateSummary {
  const reader = new UpdateReader(model);
  let from = 0;
  for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
    reader.push(bytes.slice(from, cut));
    from = Math.max(from, cut);
  }
  return reader.finish();
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof FormatError) return error.code;
    throw error;
  }
  return "none";
}

test("an update is read back as it was written, however its bytes arrive", () => {
  const decoded = decodeSafetensors(file, model.tensors);
  expect(decoded.data).toEqual(values);
  expect(readUpdateMetadata(decoded.metadata)).toEqual(metadata);
  fc.assert(
    fc.property(fc.array(fc.nat(file.length), { maxLength: 20 }), (cuts) => {
      expect(read(file, cuts).metadata).toEqual(metadata);
    }),
  );
});

test("the norm of a part of it is that of the numbers that are there, however it is cut", () => {
  const spans = [
    { offset: 1, size: 3 },
    { offset: values.length - 2, size: 2 },
  ];
  const expected = Math.hypot(...values.slice(1, 4), ...values.slice(-2));
  fc.assert(
    fc.property(fc.array(fc.nat(file.length), { maxLength: 9 }), (cuts) => {
      const reader = new UpdateReader(model, [], spans);
      let from = 0;
      for (const to of [...cuts.toSorted((a, b) => a - b), file.length]) reader.push(file.slice(from, (from = to)));
      const { norm, stepNorm = NaN } = reader.finish();
      expect(stepNorm).toBeCloseTo(expected, 6);
      expect(norm).toBeCloseTo(Math.hypot(...values), 6);
    }),
  );
});

describe("it refuses", () => {
  const changed = (change: (numbers: Float32Array) => void): Uint8Array => {
    const copy = values.slice();
    change(copy);
    return encodeUpdate(model, copy, metadata);
  };

  test.each([Number.NaN, Infinity, -Infinity])("%s, wherever it stands and however it is cut", (bad) => {
    fc.assert(
      fc.property(fc.nat(values.length - 1), fc.array(fc.nat(file.length), { maxLength: 9 }), (at, cuts) => {
        expect(
          codeOf(() =>
            read(
              changed((numbers) => (numbers[at] = bad)),
              cuts,
            ),
          ),
        ).toBe("not-finite");
      }),
    );
  });

  test("a file cut off anywhere", () => {
    fc.assert(
      fc.property(fc.nat(file.length - 1), (length) => {
        expect(codeOf(() => read(file.slice(0, length)))).toBe("truncated");
      }),
    );
  });

  test("extra bytes", () => {
    expect(codeOf(() => read(new Uint8Array([...file, 0])))).toBe("wrong-length");
  });

  test("a header that lies about its length", () => {
    const lying = file.slice();
    new DataView(lying.buffer).setBigUint64(0, 2n ** 40n, true);
    expect(codeOf(() => read(lying))).toBe("header-too-large");
  });

  test("another model's tensors", () => {
    const other = summarize({ ...tiny, layers: tiny.layers.slice(0, 3) });
    const wrong = encodeUpdate(other, new Float32Array(other.parameters), metadata);
    expect(codeOf(() => read(wrong))).toBe("wrong-shape");
  });

  test.each([{ examples: 0 }, { examples: 1.5 }, { trainLoss: Number.NaN }, { base: "x" }, { codec: "zip" }])(
    "metadata with %o",
    (wrong) => {
      const bad = encodeUpdate(model, values, { ...metadata, ...wrong } as UpdateMetadata);
      expect(codeOf(() => read(bad))).toBe("bad-header");
    },
  );

  test("random bytes, always with a FormatError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(codeOf(() => read(bytes))).not.toBe("none");
      }),
      { numRuns: 2000 },
    );
  });

  test("damaged headers, always with a FormatError or not at all", () => {
    fc.assert(
      fc.property(fc.nat(900), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const damaged = file.slice();
        damaged[at] = byte;
        codeOf(() => read(damaged));
      }),
      { numRuns: 2000 },
    );
  });
});

/** `npm run test:soak` has more. */
const RUNS = process.env["SOAK"] ? 100_000 : 25_000;
test(`${RUNS} damaged updates are each refused with a code, or were whole after all`, { timeout: 120_000 }, () => {
  const text = new TextDecoder("latin1").decode(file.subarray(8, 8 + 400));
  const damage = fc.oneof(
    // Some bytes changed, mostly in the header, where they matter.
    fc
      .array(fc.tuple(fc.oneof(fc.nat(600), fc.nat(file.length - 1)), fc.nat(255)), { minLength: 1, maxLength: 8 })
      .map((changes) => {
        const copy = file.slice();
        for (const [at, value] of changes) copy[at] = value;
        return copy;
      }),
    // Cut off, or with something behind it.
    fc.nat(file.length).map((length) => file.slice(0, length)),
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((more) => new Uint8Array([...file, ...more])),
    // A header that lies about its length.
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((length) => {
      const copy = file.slice();
      new DataView(copy.buffer).setBigUint64(0, length, true);
      return copy;
    }),
    // A header of its own, perhaps of JSON.
    fc
      .oneof(
        fc.json(),
        fc.string(),
        fc.nat(text.length).map((at) => text.slice(0, at)),
      )
      .map((header) => {
        const json = new TextEncoder().encode(header);
        const made = new Uint8Array(8 + json.length + 40);
        new DataView(made.buffer).setBigUint64(0, BigInt(json.length), true);
        made.set(json, 8);
        return made;
      }),
    fc.uint8Array({ maxLength: 200 }),
  );
  let refused = 0;
  fc.assert(
    fc.property(damage, fc.array(fc.nat(file.length), { maxLength: 3 }), (bytes, cuts) => {
      // Anything but a FormatError is thrown on, and fails the property.
      if (codeOf(() => read(bytes, cuts)) !== "none") refused += 1;
    }),
    { numRuns: RUNS },
  );
  // What is left changed a number, or a byte back to itself.
  expect(refused).toBeGreaterThan(0.7 * RUNS);
});
