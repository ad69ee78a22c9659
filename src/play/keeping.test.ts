import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { Keeping } from "./keeping.svelte";
import { CONSENTS } from "../faces/consent.svelte";
import { setSetting } from "../faces/settings";
import { faceStore } from "../faces/store";

vi.hoisted(() => vi.stubGlobal("navigator", { userAgent: "", language: "en", languages: ["en"] }));

/** Another tab writes an answer. @param isTold whether this one has heard of it already */
async function elsewhere(given: boolean, isTold: boolean): Promise<void> {
  await setSetting("consent", { given, at: 1 });
  if (!isTold) return;
  const channel = new BroadcastChannel("best-actor-consent");
  channel.postMessage(null);
  channel.close();
}

test("a consent that another tab gives or takes back is heard of, and of that kind alone", async () => {
  expect(CONSENTS.face.asked).toBe(false);
  await CONSENTS.drawing.set(true);
  for (const given of [true, false]) {
    await elsewhere(given, true);
    await vi.waitFor(() => expect(CONSENTS.face.given).toBe(given));
    expect(CONSENTS.face.asked).toBe(true);
    expect(CONSENTS.drawing.given).toBe(true);
  }
});

test("other tabs hear of an answer once it is kept", async () => {
  const other = new BroadcastChannel("best-actor-consent");
  const told = new Promise((resolve) => (other.onmessage = resolve));
  await CONSENTS.face.set(true);
  await told;
  other.close();
});

test("a take that comes before a tab has heard is not kept; the page asks again, and a yes keeps it", async () => {
  await CONSENTS.face.set(true);
  await elsewhere(false, false);
  expect(CONSENTS.face.given).toBe(true);
  const keeping = new Keeping();
  const take = { pixels: new Uint8Array(2304), prompted: 3, probabilities: [], capturedAt: 1, score: 90 } as const;
  await keeping.keep({ ...take, probabilities: [] });
  expect(await faceStore.all()).toEqual([]);
  expect([CONSENTS.face.given, CONSENTS.face.asked]).toEqual([false, false]);
  // Neither failed nor tried: the effect of a yes takes it up.
  expect([keeping.isOpen, keeping.problem]).toEqual([true, undefined]);
  await CONSENTS.face.set(true);
  await keeping.keep({ ...take, probabilities: [] });
  expect(keeping.face).toMatchObject({ label: 3 });
});
