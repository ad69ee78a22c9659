import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { getSetting } from "../faces/settings";
import { participant } from "./participant.svelte";

// Of a browser, what the modules look at when they are read, and the lock.
const locks = vi.hoisted(() => {
  let granted: (() => Promise<void>) | undefined;
  const request = (_: string, __: LockOptions, callback: () => Promise<void>): Promise<void> => {
    granted = callback;
    return new Promise(() => undefined);
  };
  vi.stubGlobal("location", new URL("http://localhost/?task=expressions"));
  vi.stubGlobal("navigator", { userAgent: "", language: "en", languages: ["en"], locks: { request } });
  return { grant: (): Promise<void> | undefined => granted?.() };
});
vi.mock("./conditions.svelte", () => ({ conditions: { paused: false, rest: undefined, preferences: {} } }));

test("who leaves just as the lock is granted has left: what comes late does not begin the part again", async () => {
  participant.join();
  expect(participant.takingPart).toBe(true);
  await participant.leave();
  // A lock that was granted before its request was taken back calls all the same.
  const late = locks.grant();
  expect(late).toBeDefined();
  await Promise.allSettled([late]);
  expect(await getSetting("takingPart")).toBeUndefined();
  expect(participant.status.kind).toBe("off");
});
