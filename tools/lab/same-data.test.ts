import "fake-indexeddb/auto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { PLAIN_CAMERA } from "../../src/data/camera";
import { readDataset } from "../../src/lab/store";
import { digestOf } from "../../src/simulation/data";
import type { LabData } from "../../src/simulation/pool";
import type { ImportSaid } from "../../workers/import/api";
import { run } from "../../workers/import/importing";
import { dataOf } from "./node.mjs";

const folder = mkdtempSync(join(tmpdir(), "best-actor-same-data-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the page and the command line make the same data of the same file, split and shared out alike", async () => {
  vi.stubGlobal("navigator", {});
  const face = (level: number): string => Array<number>(2304).fill(level).join(" ");
  // Labels in a cycle of ten lines, some of which are wrong, and somebody's or nobody's.
  const lines = Array.from(
    { length: 230 },
    (_, i) => `${i % 10 > 6 ? 0 : i % 10},${i % 9 === 4 ? "" : i % 4},${face(i)}`,
  );
  lines[33] = "3,1,1 2 3";
  const path = join(folder, "faces.csv");
  writeFileSync(path, ["emotion,participant,pixels", ...lines].join("\n"));
  const said: ImportSaid = { as: "faces", labels: null };
  await run([{ path: "faces.csv", file: new File([readFileSync(path)], "faces.csv") }], said, () => undefined);
  const page = (await readDataset("fer2013")) as LabData;
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const camera = PLAIN_CAMERA;
  const terminal = (await dataOf({ dataset: "fer2013", camera }, path, {})) as LabData;
  expect(told.mock.calls.flat().join("\n")).toMatch(/\d+ faces do not say whose they are/);
  told.mockRestore();
  expect(new Set(page.test.labels)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  expect([...terminal.test.labels]).toEqual([...page.test.labels]);
  expect([...(terminal.train.clients ?? [])]).toEqual([...(page.train.clients ?? [])]);
  expect(await digestOf(terminal)).toBe(await digestOf(page));
});
