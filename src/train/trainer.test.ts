import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchTraining } from "./trainer";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([
  ["webgpu", false],
  ["wasm", true],
] as const)("a training on %s that stands still is ended; that it is WASM's fault: %s", (backend, isOfRung) => {
  const stop = vi.fn();
  const watch = watchTraining({ stop }, backend);
  for (let batch = 0; batch < 10; batch++) {
    vi.advanceTimersByTime(60_000);
    watch.alive();
  }
  expect(stop).not.toHaveBeenCalled();
  vi.advanceTimersByTime(600_000);
  expect(stop).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ name: "WorkerSilentError", isOfRung }));
});
