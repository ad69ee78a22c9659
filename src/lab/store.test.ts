import "fake-indexeddb/auto";
import { beforeEach, expect, test, vi } from "vitest";
import type { LabConfig } from "../simulation/config";
import { PRESETS } from "../simulation/presets";
import type { LabState } from "../simulation/simulation";
import { addChunk, clearAfterStopped, importAlone, runBytes, sampleBytes } from "./store";
import {
  allRuns,
  allSweeps,
  deleteRun,
  deleteSweep,
  putRun,
  putSweep,
  readRun,
  saveRound,
  type RunRecord,
} from "./store";

const bytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length);

beforeEach(() => void vi.stubGlobal("navigator", {}));

test("in a browser without Web Locks data are imported, and nothing of an import in another tab is cleared away", async () => {
  const imported = await importAlone(async () => {
    await addChunk("under way", 0, { labels: bytes(2), test: bytes(2), pixels: bytes(20) });
    return "done";
  });
  expect(imported).toBe("done");
  await clearAfterStopped();
  expect(await sampleBytes()).toBe(24);
});

test("a run counts with everything that its strategy remembers", async () => {
  const run = { id: "1", rounds: [] } as unknown as RunRecord;
  const vectors = (): { control: Float32Array<ArrayBuffer> } => ({ control: new Float32Array(250) });
  const strategy = { server: vectors(), clients: new Map([3, 4].map((client) => [client, vectors()])) };
  await saveRound(run, { weights: new Float32Array(1000) } as unknown as LabState);
  const plain = await runBytes();
  await saveRound(run, { weights: new Float32Array(1000), strategy } as unknown as LabState);
  expect(plain).toBeGreaterThanOrEqual(4000);
  expect((await runBytes()) - plain).toBeGreaterThanOrEqual(3000);
  await deleteRun("1");
  expect(await runBytes()).toBe(0);
});

test("a sweep is stored whole, and takes its own runs with it and nobody else's", async () => {
  const config = PRESETS.get("first-look")?.config as LabConfig;
  const run = (id: string, sweep?: RunRecord["sweep"]): RunRecord => ({
    id,
    config,
    createdAt: 1,
    on: null,
    problem: null,
    rounds: [],
    columns: [],
    evaluation: null,
    ended: null,
    ...(sweep && { sweep }),
  });
  const of = (id: string, sweep: string, place: number): RunRecord =>
    run(id, { id: sweep, place, changes: { seed: place } });
  await putRun(run("alone"));
  for (const [id, createdAt] of [
    ["a", 1],
    ["b", 2],
  ] as const) {
    const axes = [{ key: "seed", values: [0, 1] }];
    await putSweep({ id, config, axes, createdAt }, [of(`${id}0`, id, 0), of(`${id}1`, id, 1)]);
  }
  expect((await allSweeps()).map(({ id }) => id)).toEqual(["b", "a"]);
  await saveRound(of("a1", "a", 1), { weights: new Float32Array(2), ended: null } as LabState);
  expect((await readRun("a1")).state).toBeDefined();
  await deleteSweep("a");
  expect((await allSweeps()).map(({ id }) => id)).toEqual(["b"]);
  expect((await allRuns()).map(({ id }) => id).sort()).toEqual(["alone", "b0", "b1"]);
  expect((await readRun("a1")).state).toBeUndefined();
});
