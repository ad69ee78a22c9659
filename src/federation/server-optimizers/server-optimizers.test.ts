import { expect, test } from "vitest";
import type { ModelSummary } from "../../model/model";
import oracle from "../strategies/oracle.json";
import { expectClose } from "../strategies/testing";
import { fedexp } from "./fedexp";
import { initialMoments } from "./optimizer";
import { SERVER_OPTIMIZER_NAMES, SERVER_OPTIMIZERS, type ServerOptimizer } from "./registry";
import { stepModel } from "./step-model";

/** Every expected number here was computed by tools/strategies-oracle.py, with NumPy. */
const rows = oracle.deltas.map((row) => Float32Array.from(row));
const length = rows[0]?.length ?? 0;
const { rule, start } = oracle.optimizers;

const modelOf = (trainable: boolean, size: number): ModelSummary => ({
  layers: [],
  tensors: [{ name: "w", shape: [size], offset: 0, size, trainable }],
  parameters: size,
  trainableParameters: trainable ? size : 0,
  multiplyAdds: 0,
  inputs: 1,
  classes: 1,
});

async function step(
  weights: Float32Array,
  mean: Float64Array,
  optimizer: ServerOptimizer,
  trainable = true,
  meanSquare = 0,
) {
  const moments = initialMoments(weights.length, optimizer);
  await stepModel(modelOf(trainable, weights.length), weights, {
    optimizer,
    average: (from, count) => Promise.resolve(mean.slice(from, from + count)),
    share: 1,
    keep: () => false,
    moments: () => Promise.resolve(moments),
    meanSquare,
  });
}

test.each(SERVER_OPTIMIZER_NAMES.filter((kind) => kind !== "fedexp"))(
  "%s steps as NumPy does, round after round",
  (kind) => {
    const results = { ...oracle.optimizers.results, nesterov: oracle.more.nesterov };
    const weights = Float32Array.from(start);
    const moments = initialMoments(length, rule);
    oracle.optimizers.deltas.forEach((delta, round) => {
      SERVER_OPTIMIZERS[kind].step(weights, Float64Array.from(delta), rule, moments);
      expectClose(weights, results[kind][round] ?? []);
    });
  },
);

test("batch-norm statistics are averaged, whatever the optimizer", async () => {
  for (const kind of SERVER_OPTIMIZER_NAMES) {
    const weights = Float32Array.from([1]);
    await step(weights, Float64Array.from([0.5]), { kind, ...rule }, false);
    expect(weights[0], kind).toBe(1.5);
  }
  const parameter = Float32Array.from([1]);
  await step(parameter, Float64Array.from([0.5]), { kind: "adam", ...rule });
  expect(parameter[0]).not.toBe(1.5);
});

test("FedExP steps as far as NumPy does", async () => {
  const { step: factor, weights: expected } = oracle.more.fedexp;
  const weights = Float32Array.from(start);
  const mean = Float64Array.from({ length }, (_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0) / rows.length);
  const meanSquare = rows.reduce((sum, row) => sum + Math.hypot(...row) ** 2, 0) / rows.length;
  await step(weights, mean, { ...rule, kind: "fedexp", learningRate: 1 }, true, meanSquare);
  expectClose(weights, expected);
  expect(fedexp.scale?.(meanSquare, Math.hypot(...mean) ** 2)).toBeCloseTo(factor, 6);
  // Updates that agree are stepped by their mean.
  expect(fedexp.scale?.(1, 1)).toBe(1);
});
