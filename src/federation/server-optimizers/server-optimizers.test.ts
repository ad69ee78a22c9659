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
const { start } = oracle.optimizers;
const rule = { ...oracle.optimizers.rule, epsilon: 1e-3 };

const modelOf = (trainable: boolean, size: number): ModelSummary => ({
  layers: [],
  tensors: [{ name: "w", shape: [size], offset: 0, size, trainable }],
  parameters: size,
  trainableParameters: trainable ? size : 0,
  multiplyAdds: 0,
  inputs: 1,
  classes: 1,
});

async function step(weights: Float32Array, mean: Float64Array, optimizer: ServerOptimizer, trainable = true) {
  const moments = initialMoments(weights.length, optimizer);
  await stepModel(modelOf(trainable, weights.length), weights, {
    optimizer,
    average: (from, count) => Promise.resolve(mean.slice(from, from + count)),
    share: 1,
    keep: () => false,
    moments: () => Promise.resolve(moments),
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

test("FedExP steps as far as NumPy does, and statistics neither lengthen its step nor take it", async () => {
  const { epsilon, step: factor, weights: expected } = oracle.more.fedexp;
  const weights = Float32Array.from(start);
  const mean = Float64Array.from({ length }, (_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0) / rows.length);
  const tensors = [
    { name: "w", offset: 0, size: 4, shape: [4], trainable: true },
    { name: "moving_mean", offset: 4, size: 2, shape: [2], trainable: false },
    { name: "v", offset: 6, size: length - 6, shape: [length - 6], trainable: true },
  ];
  const parameters = rows.map((row) => [...row].filter((_, i) => i !== 4 && i !== 5));
  const meanSquare = parameters.reduce((sum, row) => sum + Math.hypot(...row) ** 2, 0) / rows.length;
  const optimizer = { ...rule, kind: "fedexp", learningRate: 1, epsilon } as const;
  const take = (keep: (name: string) => boolean, stepped: Float32Array): Promise<void> =>
    stepModel({ ...modelOf(true, length), tensors }, stepped, {
      optimizer,
      average: (from, count) => Promise.resolve(mean.slice(from, from + count)),
      share: 1,
      keep: ({ name }) => keep(name),
      moments: () => Promise.resolve(null),
      meanSquare,
    });
  await take(() => false, weights);
  expectClose(weights, expected);
  // eps counts, and so do statistics where they are taken for parameters.
  const square = mean.reduce((sum, value, i) => (i === 4 || i === 5 ? sum : sum + value * value), 0);
  expect(fedexp.scale?.(meanSquare, square, optimizer)).toBeCloseTo(factor, 6);
  expect(fedexp.scale?.(meanSquare, square, { ...optimizer, epsilon: 1e-3 })).toBeGreaterThan(factor * 1.001);
  // What the round leaves as it is says nothing of how far the rest should go.
  const kept = Float32Array.from(start);
  await take((name) => name === "v", kept);
  expect([...kept.subarray(6)]).toEqual([...Float32Array.from(start).subarray(6)]);
  expect(Math.abs((kept[0] ?? NaN) - (weights[0] ?? NaN))).toBeGreaterThan(1e-3);
  // Updates that agree are stepped by their mean.
  expect(fedexp.scale?.(1, 1, optimizer)).toBe(1);
});
