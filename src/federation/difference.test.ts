import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeCheckpoint, encodeCheckpoint } from "../model/checkpoint";
import { applyDifference, encodeDifference, quantizeStep } from "./difference";
import { summarize, type ModelSpec } from "../model/model";
import { joinPieces, tensorPieces } from "../model/safetensors";

const tiny: ModelSpec = {
  name: "tiny",
  inputShape: [5, 5, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 2, size: 3, padding: "valid" },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "out", units: 3, activation: "softmax" },
  ],
};
const model = summarize(tiny);
const METADATA = { codec: "float32", task: "expressions", version: "7" };
const vector = fc
  .array(fc.float({ min: -10, max: 10, noNaN: true }), { minLength: model.parameters, maxLength: model.parameters })
  .map((values) => Float32Array.from(values));

test("a client that applies a difference has the very bytes of the checkpoint, and nothing is lost for good", () => {
  fc.assert(
    fc.property(vector, vector, fc.constantFrom("float16", "int8", "int4"), fc.nat(), (base, wanted, codec, seed) => {
      const before = encodeCheckpoint(model, base, { ...METADATA, version: "6" }, "float32");
      const [next, residual] = [base.slice(), wanted.slice()];
      const payload = quantizeStep(model, next, residual, codec, seed);
      const difference = encodeDifference(payload, METADATA, codec);
      const after = applyDifference(model, before, difference);
      expect(after).toEqual(encodeCheckpoint(model, next, METADATA, "float32"));
      decodeCheckpoint(after, model).forEach((value, i) => {
        expect(value + (residual[i] ?? NaN)).toBeCloseTo(wanted[i] ?? NaN, 4);
      });
    }),
  );
});

test("a difference in an unknown codec, or of another model, is refused", () => {
  const base = encodeCheckpoint(model, new Float32Array(model.parameters), METADATA, "float32");
  const payload = new Uint8Array(10);
  const inTopk = joinPieces(
    tensorPieces([{ name: "payload", shape: [10], data: payload }], { ...METADATA, difference: "topk" }),
  );
  expect(() => applyDifference(model, base, inTopk)).toThrow("topk");
  expect(() => applyDifference(model, base, encodeDifference(payload, METADATA, "int8"))).toThrow("ends before");
});
