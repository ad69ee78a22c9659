import { expect, test } from "vitest";
import { DEFAULT_ROUND } from "./default-round";
import { conflictOf, type RoundConfig } from "./protocol";

test.each<[string, Partial<RoundConfig>, RegExp | undefined]>([
  ["the default", {}, undefined],
  ["secure aggregation", { secure: true, codec: "int8", updateClip: 1 }, undefined],
  ["a secure median", { secure: true, codec: "int8", updateClip: 1, aggregation: "median" }, /Choose the mean/],
  ["counts by class", { evaluators: 1, evaluateByClass: true }, undefined],
  ["secure counts by class", { secure: true, codec: "int8", updateClip: 1, evaluateByClass: true }, /Leave them out/],
  ["counts by class under noise", { updateClip: 1, noise: 1, evaluateByClass: true }, /Leave them out/],
  ["Krum among enough for its promise", { aggregation: "krum", goalCount: 5 }, undefined],
  ["Krum among too few", { aggregation: "krum", goalCount: 4 }, /krum needs 5/],
  ["Bulyan among too few", { aggregation: "bulyan", byzantine: 2, goalCount: 10 }, /bulyan needs 11/],
  ["a choice of one in a thousand", { goalCount: 1000, fraction: 0.001 }, undefined],
  ["a choice that nobody lives to see", { goalCount: 1000, fraction: 1e-7 }, /a larger fraction/],
  ["a quantile without a clip", { clipQuantile: 0.5 }, /update clip above 0/],
])("what does not go together is told: %s", (_, change, reason) => {
  const conflict = conflictOf({ ...DEFAULT_ROUND, ...change });
  if (reason) expect(conflict).toMatch(reason);
  else expect(conflict).toBeUndefined();
});
