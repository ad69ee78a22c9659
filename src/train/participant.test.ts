import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { FACE } from "../data/own-labels";
import { DEFAULT_ROUND } from "../federation/default-round";
import { forgetTrainings } from "../faces/participation";
import { getSetting, setSetting } from "../faces/settings";
import { faceStore } from "../faces/store";
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
/** The edge, as far as somebody gets who begins no part in a round. */
const edge = vi.hoisted(() => ({ checkIn: vi.fn<() => Promise<unknown>>() }));
vi.mock("../client/edge", () => ({ clientOf: () => edge }));
vi.mock("../client/model.svelte", () => ({ model: { update: () => Promise.resolve(), task: { round: 1 } } }));
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

/** What the edge says to who may train. */
const assignment = {
  task: "expressions",
  id: "00000000-0000-4000-8000-000000000000",
  round: 1,
  checkpoint: { sha256: "0".repeat(64), version: 0, bytes: 1 },
  plan: { ...DEFAULT_ROUND, reportInitialLoss: false },
  deadline: 0,
};

test("a part that another tab has ended is over here too, after one question at most; without consent there is none", async () => {
  await setSetting("consent", { given: true, at: 1 });
  const face = { shape: FACE, prompted: 3, probabilities: [], capturedAt: 1, score: 90 } as const;
  for (let i = 0; i < 5; i++) await faceStore.add({ ...face, probabilities: [], pixels: new Uint8Array(2304) });
  edge.checkIn.mockImplementation(async () => {
    // Another tab takes the consent back, of which this one hears nothing.
    await setSetting("consent", { given: false, at: 2 });
    await forgetTrainings();
    return { decision: "train", assignment };
  });
  participant.join();
  const over = locks.grant();
  await vi.waitFor(() => expect(participant.status.kind).toBe("off"));
  // The lock goes to whoever waits for it.
  await over;
  expect(edge.checkIn).toHaveBeenCalledOnce();
  expect(await getSetting("participation")).toBeUndefined();

  participant.join();
  const again = Promise.allSettled([locks.grant()]);
  await vi.waitFor(() => expect(participant.status.kind).toBe("needs-consent"));
  expect(edge.checkIn).toHaveBeenCalledOnce();
  await participant.leave();
  await again;
});

test("an example that is not as long as the model's input is left out of a training, which goes on with the others", () => {
  const of = (length: number, label: number) => ({ pixels: new Uint8Array(length).fill(label), label });
  // 28 x 28 levels each; the second is as long as one in colour.
  const { pixels, labels } = pack([of(784, 1), of(2352, 2), of(100, 3), of(784, 4)], fit(BUILT_IN.digits));
  expect([...labels]).toEqual([1, 4]);
  expect([...pixels]).toEqual([...Array<number>(784).fill(1), ...Array<number>(784).fill(4)]);
});
