import "fake-indexeddb/auto";
import { beforeEach, expect, test, vi } from "vitest";
import type { LabState } from "../simulation/simulation";
import { addChunk, clearAfterStopped, importAlone, runBytes, sampleBytes, saveRound, type RunRecord } from "./store";

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
});
