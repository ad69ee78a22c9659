import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CheckpointReader, decodeCheckpoint, encodeCheckpoint, type ReadBytes } from "./checkpoint";
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

/** Reads a file from its start, and says how many bytes it was asked for at most. */
function reading(file: Uint8Array<ArrayBuffer>): { read: ReadBytes; most: () => number } {
  let [at, most] = [0, 0];
  const read: ReadBytes = (count) => {
    if (at + count > file.length) return Promise.reject(new FormatError("truncated", "The file ends."));
    most = Math.max(most, count);
    return Promise.resolve(file.slice(at, (at += count)));
  };
  return { read, most: () => most };
}

test.each(["float32", "int8"] as const)(
  "tensor by tensor a checkpoint of %s holds what it holds as a whole",
  async (codec) => {
    await fc.assert(
      fc.asyncProperty(weights, fc.shuffledSubarray(model.tensors), async (values, order) => {
        const file = encodeCheckpoint(model, values, {}, codec);
        const whole = decodeCheckpoint(file, model);
        const reader = await CheckpointReader.open(reading(file).read, model);
        for (const { name, offset, size } of order) {
          expect(await reader.tensor(name)).toEqual(whole.slice(offset, offset + size));
        }
      }),
    );
  },
);

test("a checkpoint that is read tensor by tensor breaks off where its file does, and gives nothing twice", async () => {
  const file = encodeCheckpoint(model, new Float32Array(model.parameters), {}, "float32");
  const codeOf = (error: unknown): string => (error instanceof FormatError ? error.code : String(error));
  const cut = await CheckpointReader.open(reading(file.slice(0, -4)).read, model);
  expect(await cut.tensor("out/kernel")).toHaveLength(135);
  await expect(cut.tensor("out/bias").catch(codeOf)).resolves.toBe("truncated");
  await expect(CheckpointReader.open(reading(file.slice(0, 20)).read, model).catch(codeOf)).resolves.toBe("truncated");
  const other = CheckpointReader.open(reading(file).read, summarize(MODELS["mnist-2nn"]));
  await expect(other.catch(codeOf)).resolves.toBe("wrong-shape");
  const { read, most } = reading(file);
  const reader = await CheckpointReader.open(read, model);
  for (const { name } of model.tensors) await reader.tensor(name);
  // The largest is the dense kernel; the rest of the file is never held with it.
  expect(most()).toBeLessThan(file.length / 2);
  await expect(reader.tensor("out/bias")).rejects.toThrow(RangeError);
  await expect(reader.tensor("out/gamma")).rejects.toThrow(RangeError);
});
