import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { getSetting } from "../faces/settings";
import { BUILT_IN } from "../federation/tasks/registry";
import { fit } from "../federation/tasks/network";
import { pack, participant } from "./participant.svelte";

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

test("an example that is not as long as the model's input is left out of a training, which goes on with the others", () => {
  const of = (length: number, label: number) => ({ pixels: new Uint8Array(length).fill(label), label });
  // 28 x 28 levels each; the second is as long as one in colour.
  const { pixels, labels } = pack([of(784, 1), of(2352, 2), of(100, 3), of(784, 4)], fit(BUILT_IN.digits));
  expect([...labels]).toEqual([1, 4]);
  expect([...pixels]).toEqual([...Array<number>(784).fill(1), ...Array<number>(784).fill(4)]);
});
