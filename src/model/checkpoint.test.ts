import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CheckpointReader, decodeCheckpoint, encodeCheckpoint, type ReadBytes } from "./checkpoint";
import { MODELS, summarize } from "./model";
import { decodeHeader, encodeSafetensors, FormatError } from "./safetensors";

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

/** A network so small that a file of it fits in here. */
const small = summarize({
  name: "small",
  inputShape: [3, 3, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 1, size: 3, padding: "valid" },
    { kind: "batchNorm", name: "norm" },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "out", units: 2, activation: "softmax" },
  ],
});
/**
 * What safetensors 0.8.0 for Python wrote (`safetensors.numpy.save`) of 0.5, 1.5, ... in the order of the model's tensors: it lays them
 * out by data type and name.
 */
const OFFICIAL =
  "GAIAAAAAAAB7ImNvbnYvYmlhcyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzAsNF19LCJjb252L2tlcm5lbCI6eyJkdHlwZSI6IkYzMi" +
  "IsInNoYXBlIjpbMywzLDEsMV0sImRhdGFfb2Zmc2V0cyI6WzQsNDBdfSwibm9ybS9iZXRhIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpb" +
  "NDAsNDRdfSwibm9ybS9nYW1tYSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzQ0LDQ4XX0sIm5vcm0vbW92aW5nX21lYW4iOnsiZHR5cG" +
  "UiOiJGMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls0OCw1Ml19LCJub3JtL21vdmluZ192YXJpYW5jZSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMV0sImRh" +
  "dGFfb2Zmc2V0cyI6WzUyLDU2XX0sIm91dC9iaWFzIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbNTYsNjRdfSwib3V0L2tlcm5lbCI6ey" +
  "JkdHlwZSI6IkYzMiIsInNoYXBlIjpbMSwyXSwiZGF0YV9vZmZzZXRzIjpbNjQsNzJdfX0gICAgIAAAGEEAAAA/AADAPwAAIEAAAGBAAACQQAAAsEAAANBAAADwQAAACEEA" +
  "ADhBAAAoQQAASEEAAFhBAACEQQAAjEEAAGhBAAB4QQ==";
/** The same with int8 kernels, the rounded numbers, and scales 0.25 of the convolution and 0.25 and 0.5 of the dense layer. */
const OFFICIAL_INT8 =
  "wAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJjb2RlYyI6ImludDgifSwiY29udi9iaWFzIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbMC" +
  "w0XX0sImNvbnYva2VybmVsL3NjYWxlIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbNCw4XX0sIm5vcm0vYmV0YSI6eyJkdHlwZSI6IkYz" +
  "MiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzgsMTJdfSwibm9ybS9nYW1tYSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzEyLD" +
  "E2XX0sIm5vcm0vbW92aW5nX21lYW4iOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOlsxNiwyMF19LCJub3JtL21vdmluZ192YXJpYW5jZSI6" +
  "eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzIwLDI0XX0sIm91dC9iaWFzIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsyXSwiZGF0YV9vZm" +
  "ZzZXRzIjpbMjQsMzJdfSwib3V0L2tlcm5lbC9zY2FsZSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzMyLDQwXX0sImNvbnYva2VybmVs" +
  "Ijp7ImR0eXBlIjoiSTgiLCJzaGFwZSI6WzMsMywxLDFdLCJkYXRhX29mZnNldHMiOls0MCw0OV19LCJvdXQva2VybmVsIjp7ImR0eXBlIjoiSTgiLCJzaGFwZSI6WzEsMl" +
  "0sImRhdGFfb2Zmc2V0cyI6WzQ5LDUxXX19ICAgIAAAGEEAAIA+AAA4QQAAKEEAAEhBAABYQQAAhEEAAIxBAACAPgAAAD8AAgIEBAYGCAgOEA==";
// As NumPy said them: q * scale.
const CONV_INT8 = [0, 0.5, 0.5, 1, 1, 1.5, 1.5, 2, 2];
const OUT_INT8 = [3.5, 8];

test.each([
  ["float32", OFFICIAL, Array.from({ length: 18 }, (_, i) => i + 0.5)],
  ["int8", OFFICIAL_INT8, [...CONV_INT8, 9.5, 10.5, 11.5, 12.5, 13.5, ...OUT_INT8, 16.5, 17.5]],
])("what the official library has written is read by its names: %s", async (_, base64, expected) => {
  const file = new Uint8Array(Buffer.from(base64, "base64"));
  expect([...decodeCheckpoint(file, small)]).toEqual(expected);
  const reader = await CheckpointReader.open(reading(file).read, small);
  const parts: number[] = [];
  for (const { name } of small.tensors) parts.push(...(await reader.tensor(name)));
  expect(parts).toEqual(expected);
});

test("what is missing, what is not the model's, and what has another shape is told at once, with its name", () => {
  const others = small.tensors.map(({ name, shape, size }) => {
    if (name === "conv/bias") return { name: "conv/offset", shape, size };
    return { name, shape: name === "out/kernel" ? [2, 1] : shape, size };
  });
  const file = encodeSafetensors(others, new Float32Array(small.parameters), {});
  expect(() => decodeCheckpoint(file, small)).toThrow(
    "conv/bias F32 [1] is missing; out/kernel is F32 [2, 1] and not F32 [1, 2]; the model has no conv/offset.",
  );
  const many = Array.from({ length: 400 }, (_, i) => ({ name: `other${i}`, shape: [1], size: 1 }));
  expect(() => decodeCheckpoint(encodeSafetensors(many, new Float32Array(400), {}), small)).toThrow(/and 403 more\.$/);
});
