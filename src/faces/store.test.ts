import "fake-indexeddb/auto";
import { beforeEach, expect, test } from "vitest";
import { openDB } from "idb";
import { DEFAULT_ROUND } from "../core/default-round";
import { createSigningKey } from "../core/signing";
import {
  addFace,
  addTake,
  allFaces,
  allTakes,
  changeFace,
  deleteAllFaces,
  deleteAllTakes,
  deleteFace,
  destroyDatabase,
  getSetting,
  onFacesChanged,
  restoreFace,
  setSetting,
  settingSizes,
  type NewFace,
} from "./store";

const face: NewFace = {
  pixels: new Uint8Array(2304).fill(7),
  prompted: 3,
  probabilities: [0, 0, 0, 1, 0, 0, 0],
  capturedAt: 1,
};

beforeEach(destroyDatabase);

test("faces come back as they were kept, the newest first, every fifth held out", async () => {
  for (let i = 0; i < 10; i++) await addFace({ ...face, capturedAt: i });
  const faces = await allFaces();
  expect(faces.map(({ capturedAt }) => capturedAt)).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  expect(faces.filter(({ split }) => split === "held-out").map(({ capturedAt }) => capturedAt)).toEqual([9, 4]);
  expect(faces[0]).toMatchObject({ ...face, capturedAt: 9, label: 3 });
});

test("a face is relabelled, deleted and restored; who listens is told", async () => {
  let told = 0;
  const end = onFacesChanged(() => (told += 1));
  const kept = await addFace(face);
  await changeFace(kept.id, { label: 5 });
  await changeFace(kept.id, { split: "held-out" });
  const [changed] = await allFaces();
  expect(changed).toEqual({ ...kept, label: 5, split: "held-out" });
  await deleteFace(kept.id);
  expect(await allFaces()).toEqual([]);
  await restoreFace(kept);
  expect(await allFaces()).toEqual([kept]);
  await changeFace(kept.id + 1, { label: 0 });
  expect(await allFaces()).toHaveLength(1);
  end();
  expect(told).toBeGreaterThanOrEqual(5);
});

test("deleting all faces takes a training's traces with them, and nothing else", async () => {
  await addFace(face);
  await setSetting("consent", { given: true, at: 1 });
  await setSetting("participation", {
    assignment: {
      task: "expressions",
      id: crypto.randomUUID(),
      round: 1,
      checkpoint: { sha256: "0".repeat(64), version: 0, bytes: 1 },
      plan: { ...DEFAULT_ROUND, reportInitialLoss: false },
      deadline: 0,
    },
    key: await createSigningKey(),
    seed: 1,
    train: [1],
    heldOut: [],
    bytesDown: 0,
  });
  await deleteAllFaces();
  expect(await allFaces()).toEqual([]);
  expect(await getSetting("participation")).toBeUndefined();
  expect(await getSetting("consent")).toEqual({ given: true, at: 1 });
});

test("a device that comes from the version with a random id loses what it cannot go on with, and nothing else", async () => {
  const old = await openDB("best-actor", 1, {
    upgrade(db) {
      db.createObjectStore("faces", { keyPath: "id", autoIncrement: true });
      db.createObjectStore("settings");
    },
  });
  await old.put("settings", "some id", "clientId");
  await old.put("settings", { given: true, at: 1 }, "consent");
  await old.put("faces", { ...face, id: 1, label: 3, split: "train" });
  old.close();
  expect(await allFaces()).toHaveLength(1);
  expect((await settingSizes()).map(({ key }) => key)).toEqual(["consent"]);
  // What newer versions keep has its place.
  expect(await allTakes()).toEqual([]);
});

test("takes come back in their order, and go without the faces", async () => {
  const take = { prompt: 3, score: 61 } as const;
  for (const at of [1, 2, 3]) await addTake({ ...take, at });
  expect((await allTakes()).map(({ at }) => at)).toEqual([1, 2, 3]);
  await addFace(face);
  await deleteAllTakes();
  expect(await allTakes()).toEqual([]);
  expect(await allFaces()).toHaveLength(1);
});
