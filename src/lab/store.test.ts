import "fake-indexeddb/auto";
import { beforeEach, expect, test, vi } from "vitest";
import { addChunk, clearAfterStopped, importAlone, sampleBytes } from "./store";

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
