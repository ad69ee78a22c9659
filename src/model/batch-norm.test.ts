import { expect, test } from "vitest";
import { putNorms, takeNorms } from "./batch-norm";
import { initializeWeights } from "./initialize";
import { MODELS, summarize } from "./model";

test("batch normalization moves from one set of weights to another, and nothing else does", () => {
  const model = summarize(MODELS.compact);
  const [from, to] = [initializeWeights(MODELS.compact, 1), initializeWeights(MODELS.compact, 2)];
  from.fill(7);
  const norms = takeNorms(model, from);
  // Eight layers, of 16, 16, 32, 32, 64, 64, 128 and 128 channels, with four numbers for each.
  expect(norms).toHaveLength(4 * 480);
  const before = to.slice();
  putNorms(model, to, norms);
  expect(to.filter((value) => value === 7)).toHaveLength(norms.length);
  expect(to.filter((value, i) => value !== before[i])).toHaveLength(norms.length);
});
