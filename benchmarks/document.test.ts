import { readFileSync } from "node:fs";
import { format } from "prettier";
import { expect, test } from "vitest";
import { documentOf } from "./document.mjs";

const read = (file: string): string => readFileSync(new URL(file, import.meta.url), "utf8");

test("docs/benchmarks.md is what the benchmarks have said", async () => {
  const results = JSON.parse(read("results.json")) as unknown;
  expect(read("../docs/benchmarks.md")).toBe(await format(documentOf(results), { parser: "markdown" }));
});
