import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watch } from "./watch";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("it calls after so many seconds of silence, once", () => {
  const onSilence = vi.fn();
  const watch = new Watch(3, onSilence);
  vi.advanceTimersByTime(2000);
  watch.alive();
  vi.advanceTimersByTime(2500);
  expect(onSilence).not.toHaveBeenCalled();
  vi.advanceTimersByTime(10_000);
  expect(onSilence).toHaveBeenCalledTimes(1);
});

test("a device that slept for an hour has not waited, and an ended watch says nothing", () => {
  const onSilence = vi.fn();
  const watch = new Watch(3, onSilence);
  // The clock went on, the page did not.
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(1000);
  expect(onSilence).not.toHaveBeenCalled();
  watch.end();
  vi.advanceTimersByTime(60_000);
  expect(onSilence).not.toHaveBeenCalled();
});
