import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint";
import { MODELS, summarize } from "./model";
import { decodeHeader, FormatError } from "./safetensors";

const model = summarize({
  name: "tiny",
  inputShape: [5, 5, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 3, size: 3, padding: "valid" },
    { kind: "batchNorm", name: "norm" },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "out", units: 5, activation: "softmax" },
  ],
});
const weights = fc
  .array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: model.parameters, maxLength: model.parameters })
  .map((values) => Float32Array.from(values));

test("float32 comes back to the bit", () => {
  fc.assert(
    fc.property(weights, (values) => {
      expect(decodeCheckpoint(encodeCheckpoint(model, values, {}, "float32"), model)).toEqual(values);
    }),
  );
});

test("int8 comes back within half a step of its channel", () => {
  fc.assert(
    fc.property(weights, (values) => {
      const file = encodeCheckpoint(model, values, { version: "0" }, "int8");
      expect(decodeHeader(file).metadata).toEqual({ version: "0", codec: "int8" });
      const decoded = decodeCheckpoint(file, model);
      for (const { name, offset, size, shape } of model.tensors) {
        const channels = shape.at(-1) ?? 1;
        const original = values.subarray(offset, offset + size);
        const largest = (channel: number): number =>
          Math.max(...original.filter((_, i) => i % channels === channel).map(Math.abs));
        original.forEach((value, i) => {
          const step = shape.length > 1 ? largest(i % channels) / 127 : 0;
          expect(Math.abs((decoded[offset + i] ?? NaN) - value), name).toBeLessThanOrEqual(step * 0.5001);
        });
      }
    }),
  );
});

test("what is not a whole checkpoint of the model is refused", () => {
  const codeOf = (bytes: Uint8Array<ArrayBuffer>): string => {
    try {
      decodeCheckpoint(bytes, model);
      return "none";
    } catch (error) {
      if (error instanceof FormatError) return error.code;
      throw error;
    }
  };
  const zeros = new Float32Array(model.parameters);
  const file = encodeCheckpoint(model, zeros, {}, "int8");
  expect(codeOf(file.slice(0, -1))).toBe("wrong-length");
  expect(codeOf(file.slice(0, 40))).toBe("truncated");
  const text = Buffer.from(encodeCheckpoint(model, zeros, {}, "float32")).toString("latin1");
  expect(codeOf(new Uint8Array(Buffer.from(text.replace('"codec":"float32"', '"codec":"strange"'), "latin1")))).toBe(
    "bad-header",
  );
  expect(() => encodeCheckpoint(model, zeros.fill(NaN), {}, "int8")).toThrow(FormatError);
});

test.each([
  ["seed", 5_102_791, 6_000_000],
  ["compact", 328_439, 400_000],
] as const)(
  "the checkpoint that ships for %s is one of its model, small enough for a first visit",
  (name, count, most) => {
    const file = new Uint8Array(readFileSync(`public/models/${name}/initial.safetensors`));
    expect(file.length).toBeLessThan(most);
    const weights = decodeCheckpoint(file, summarize(MODELS[name]));
    expect(weights).toHaveLength(count);
    expect(weights.every(Number.isFinite)).toBe(true);
  },
);
