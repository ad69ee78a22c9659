import * as v from "valibot";
import { expect, test } from "vitest";
import { describe } from "../federation/described";
import { roundConfigSchema } from "../federation/protocol";
import { labConfigSchema } from "./config";

const FIELDS = [
  ...Object.entries(roundConfigSchema.entries).map(([key, schema]) => ({ of: "round", key, schema })),
  ...Object.entries(labConfigSchema.pipe[0].entries).map(([key, schema]) => ({ of: "lab", key, schema })),
];

test.each(FIELDS)("what $key of a $of is described as is what its schema takes, and no more", ({ schema }) => {
  const takes = (value: unknown): boolean => v.is(schema, value);
  const found = describe(schema);
  expect(takes(null)).toBe(found.isNullable);
  if (found.kind === "choice") {
    expect(found.values.length).toBeGreaterThan(1);
    for (const value of found.values) expect(takes(value), value).toBe(true);
    expect(takes("what nobody offers")).toBe(false);
  } else if (found.kind === "boolean") {
    expect([true, false, 1].map(takes)).toEqual([true, true, false]);
  } else if (found.kind === "number") {
    const { isWhole, isAbove, least = NaN, most = NaN } = found;
    const step = isWhole ? 1 : 1e-9;
    expect([least - step, least, least + step, most, most + Math.max(step, most * 1e-9)].map(takes)).toEqual([
      ...[false, !isAbove, true],
      ...[true, false],
    ]);
    expect(takes(least + 0.5)).toBe(!isWhole);
  } else expect(takes(1)).toBe(false);
});
