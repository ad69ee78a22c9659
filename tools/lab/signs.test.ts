import { expect, test } from "vitest";
import { signsOf } from "./signs.mjs";

test("every label has a sign of one letter, and those for which there is none share the last one", () => {
  expect(signsOf(["cat", "dog"])).toEqual({ signs: ["0", "1"], meaning: "0 = cat, 1 = dog" });
  const named = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);
  expect(new Set(signsOf(named(64)).signs).size).toBe(64);
  const { signs, meaning } = signsOf(named(256));
  expect(signs).toHaveLength(256);
  expect(signs.every((sign) => sign?.length === 1)).toBe(true);
  expect(new Set(signs.slice(0, 63)).size).toBe(63);
  expect(new Set(signs.slice(63))).toEqual(new Set(["-"]));
  expect(meaning.endsWith("+ = k62, - = one of the 193 others")).toBe(true);
});
