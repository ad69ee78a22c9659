import { expect, test } from "vitest";
import { MODELS, type LayerSpec, type ModelSpec } from "./model";
import { heldInTraining, problemsOf, whyUntrainable } from "./trainable";

const conv = (name: string, filters: number): LayerSpec => ({
  kind: "conv2d",
  name,
  filters,
  size: 3,
  padding: "same",
});
const pools = (count: number): LayerSpec[] =>
  Array.from({ length: count }, (_, i) => ({ kind: "maxPool", name: `pool${i}`, window: 2 }));
const end: LayerSpec[] = [
  { kind: "flatten", name: "flatten" },
  { kind: "dense", name: "out", units: 2, activation: "softmax" },
];
const network = (layers: LayerSpec[], side = 96): ModelSpec => ({
  name: "network",
  inputShape: [side, side, 3],
  layers: [...layers, ...end],
});

test("a network of few weights that holds more than a device has is refused, by what it holds", () => {
  // 96 * 96 * 1024 of the convolution, the same three times more, and 2 of the dense layer; 47,106 weights.
  const wide = network([conv("wide", 1024), ...pools(5)]);
  expect(heldInTraining(wide)).toBe(37_748_738);
  expect(problemsOf(wide, 2)).toEqual([
    "Training holds 37748738 numbers for each picture, what its layers give out: at most 16777216 are taken.",
  ]);
  // A quarter of it is not, nor are many small layers one after the other, whose outputs are all held: 60 * 73,728 + 3 * 73,728 + 2.
  expect(problemsOf(network([conv("quarter", 256), ...pools(5)]), 2)).toEqual([]);
  const deep = network([...Array.from({ length: 60 }, (_, i) => conv(`conv${i}`, 8)), ...pools(2)]);
  expect(heldInTraining(deep)).toBe(4_644_866);
  // By hand: 135,424 and 135,424, 61,952 twice, 25,600 twice, 8,192 twice, 512, 256, 64 and 7, and the largest three times.
  expect(heldInTraining(MODELS.seed)).toBe(869_447);
});

test("all that is wrong with a network is told at once, and what it comes to only where it is one", () => {
  const wrong: ModelSpec = {
    name: "wrong",
    inputShape: [120, 96, 3],
    layers: [
      { kind: "maxPool", name: "early", window: 2 },
      conv("seven", 7),
      { kind: "flatten", name: "seven" },
      { kind: "batchNorm", name: "late" },
      { kind: "dense", name: "out", units: 3, activation: "relu" },
    ],
  };
  const problems = [
    "Its input is 120 x 96 x 3: at most 96 x 96 are taken.",
    "Two of its layers are called seven.",
    "Layer 2, seven: it has 7 filters, which is no multiple of 8.",
    "Layer 1, early: pooling goes behind a convolution.",
    "Layer 4, late: a batchNorm behind the flatten is not taken.",
    "Layer 5, out: the last layer, and no other, is a softmax.",
    "Its last layer has 3 units, and there are 2 labels.",
  ];
  expect(problemsOf(wrong, 2)).toEqual(problems);
  expect(whyUntrainable(wrong, 2)).toBe(problems.join(" "));
  expect(whyUntrainable(network([conv("fine", 8), ...pools(2)]), 2)).toBeUndefined();
  // 36,864 x 4,096 weights are too many.
  const dense: LayerSpec[] = [
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "dense", units: 4096, activation: "relu" },
  ];
  const large = {
    ...network([conv("conv", 16), ...pools(1)]),
    layers: [conv("conv", 16), ...pools(1), ...dense, ...end.slice(1)],
  };
  expect(problemsOf(large, 2)).toEqual([expect.stringMatching(/^It has \d+ weights: at most 5200000 are taken\.$/)]);
});
