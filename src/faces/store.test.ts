import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openDB } from "idb";
import { FACE } from "../data/own-labels";
import { DEFAULT_ROUND } from "../federation/default-round";
import { createSigningKey } from "../federation/signing";
import { BUILT_IN, noteTask, taskNamed } from "../federation/tasks/registry";
import { clientStateOf, clientStateSizes, clientStateTime, deleteClientStates } from "./client-states";
import { fits, usableOf } from "./labels";
import { destroyDatabase, NewerStorageError, StorageError, StorageFullError, use } from "./database";
import type { Drawing, Face, NewExample, Participation } from "./kept";
import {
  beginParticipation,
  endParticipation,
  forgetParticipation,
  forgetTrainings,
  keepParticipation,
} from "./participation";
import { deleteSetting, getSetting, setSetting, settingSizes } from "./settings";
import { allOf, countsOf, drawingStore, faceStore, storeOf, storeOfKind } from "./store";
import { addTake, allTakes, deleteAllTakes } from "./takes";

const face: NewExample<Face> = {
  pixels: new Uint8Array(2304).fill(7),
  shape: FACE,
  prompted: 3,
  probabilities: [0, 0, 0, 1, 0, 0, 0],
  capturedAt: 1,
  score: 90,
};
const drawing: NewExample<Drawing> = {
  pixels: new Uint8Array(784).fill(7),
  shape: BUILT_IN.digits.input,
  prompted: 9,
  probabilities: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  capturedAt: 1,
  score: 90,
};
/** One whose score does not say that it shows its role. */
const failed: NewExample<Face> = { ...face, score: 59 };

beforeEach(async () => {
  await destroyDatabase();
  await allow();
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** The player lets us keep everything. */
async function allow(): Promise<void> {
  for (const key of CONSENTS) await setSetting(key, { given: true, at: 1 });
}
const CONSENTS = ["consent", "drawingConsent", "pictureConsent"] as const;
/** What else is kept in single values, by name. */
const otherSettings = async (): Promise<string[]> =>
  (await settingSizes()).map(({ key }) => key).filter((key) => !CONSENTS.some((one) => one === key));

test("faces come back as they were kept, the newest first, every fifth held out", async () => {
  for (let i = 0; i < 10; i++) await faceStore.add({ ...face, capturedAt: i });
  const faces = await faceStore.all();
  expect(faces.map(({ capturedAt }) => capturedAt)).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  expect(faces.filter(({ split }) => split === "held-out").map(({ capturedAt }) => capturedAt)).toEqual([9, 4]);
  expect(faces[0]).toMatchObject({ ...face, capturedAt: 9, label: 3 });
});

test("a face is relabelled, deleted and restored; who listens is told", async () => {
  let told = 0;
  const end = faceStore.onChanged(() => (told += 1));
  const kept = await faceStore.add(face);
  await faceStore.change(kept.id, { label: 5 });
  await faceStore.change(kept.id, { split: "held-out" });
  const [changed] = await faceStore.all();
  expect(changed).toEqual({ ...kept, label: 5, split: "held-out" });
  await faceStore.delete(kept.id);
  expect(await faceStore.all()).toEqual([]);
  await faceStore.restore(kept);
  expect(await faceStore.all()).toEqual([kept]);
  await faceStore.change(kept.id + 1, { label: 0 });
  expect(await faceStore.all()).toHaveLength(1);
  end();
  expect(told).toBeGreaterThanOrEqual(5);
});

test("a take is kept only where its kind's consent is, whatever a page takes for it", async () => {
  for (const answer of [{ given: false, at: 2 }, undefined]) {
    await (answer ? setSetting("consent", answer) : deleteSetting("consent"));
    await expect(faceStore.add(face)).rejects.toMatchObject({ name: "NoConsentError" });
    expect(await faceStore.all()).toEqual([]);
  }
  // Each kind has its own.
  expect(await drawingStore.add(drawing)).toMatchObject({ label: 9 });
  // At the same time: whatever comes first, nothing is added behind a consent that was taken back.
  await setSetting("consent", { given: true, at: 3 });
  const [, late] = await Promise.allSettled([setSetting("consent", { given: false, at: 4 }), faceStore.add(face)]);
  expect(late).toMatchObject({ status: "rejected", reason: { name: "NoConsentError" } });
});

test("a take that failed is for nothing, and is not counted, until the player says what it shows", async () => {
  await faceStore.add({ ...face, score: 60 });
  const [asked, other, unwanted] = [
    await faceStore.add(failed),
    await faceStore.add(failed),
    await faceStore.add({ ...failed, score: 0 }),
  ];
  for (const one of [asked, other, unwanted])
    expect(one).toMatchObject({ split: "excluded", needsAnswer: true, label: 3 });
  for (let i = 0; i < 2; i++) expect(await faceStore.add(face)).toMatchObject({ split: "train", needsAnswer: false });
  // The fourth and the fifth that are usable: its own expression is an answer like any other.
  expect(await faceStore.change(asked.id, { label: 3 })).toMatchObject({
    label: 3,
    split: "train",
    needsAnswer: false,
  });
  expect(await faceStore.change(other.id, { label: 5 })).toMatchObject({
    label: 5,
    split: "held-out",
    needsAnswer: false,
  });
  // Who leaves it out is not asked again, and a label then does not bring it back.
  expect(await faceStore.change(unwanted.id, { split: "excluded" })).toMatchObject({
    split: "excluded",
    needsAnswer: false,
  });
  expect(await faceStore.change(unwanted.id, { label: 5 })).toMatchObject({ label: 5, split: "excluded" });
  expect(usableOf(await faceStore.all())).toHaveLength(5);
});

const participation = async (faces: number[] = [1]): Promise<Participation> => ({
  assignment: {
    task: "expressions",
    id: crypto.randomUUID(),
    round: 1,
    checkpoint: { sha256: "0".repeat(64), version: 0, bytes: 1 },
    plan: { ...DEFAULT_ROUND, sendWorse: false, reportInitialLoss: false, updateNorm: 0 },
    deadline: 0,
  },
  key: await createSigningKey(),
  seed: 1,
  train: faces,
  heldOut: [],
  bytesDown: 0,
  localNorms: Float32Array.of(1),
  residual: Float32Array.of(2),
});

/** What a round of FedPer leaves of a device's own. */
const kept = (value: number): NonNullable<Participation["kept"]> => ({
  choice: { ...DEFAULT_ROUND, strategy: "fedper" },
  vectors: { head: Float32Array.of(value, value) },
});
/** Ends a part in a round of a task as accepted. */
async function accepted(task: string, state: Participation["kept"]): Promise<void> {
  await setSetting("takingPart", true);
  const part = await participation();
  const ended = { ...part, assignment: { ...part.assignment, task, round: 4 }, ...(state && { kept: state }) };
  await beginParticipation(ended);
  await endParticipation(ended, true);
}

test("what a strategy keeps stays once the edge has the update, for its task alone, until a round that shares all of the model", async () => {
  await setSetting("takingPart", true);
  const refused = { ...(await participation()), kept: kept(1) };
  await beginParticipation(refused);
  await endParticipation(refused);
  expect(await clientStateOf("expressions")).toBeUndefined();

  await accepted("expressions", kept(1));
  await accepted("digits", kept(2));
  expect(await clientStateOf("expressions")).toMatchObject({ ...kept(1), task: "expressions", round: 4 });
  expect(await clientStateOf("digits")).toMatchObject(kept(2));
  expect(await clientStateSizes()).toEqual([8, 8]);
  const [first, at] = [await clientStateTime("expressions"), (await clientStateOf("expressions"))?.at];
  expect(first).toBe(at);
  expect(await clientStateTime("expressions-compact")).toBeUndefined();

  await accepted("expressions", kept(3));
  expect((await clientStateOf("expressions"))?.vectors).toEqual(kept(3).vectors);
  await accepted("expressions", null);
  expect(await clientStateOf("expressions")).toBeUndefined();
  expect(await clientStateOf("digits")).toMatchObject(kept(2));
});

test("what FedDyn keeps lies beside what its training went on from, where the edge has counted that", async () => {
  const slope = (value: number): NonNullable<Participation["kept"]> => ({
    choice: { ...DEFAULT_ROUND, strategy: "feddyn" },
    vectors: { slope: Float32Array.of(value, value) },
  });
  const after = async (round: number, rounds: [number, number][]) => {
    await setSetting("takingPart", true);
    const part = await participation();
    const assignment = { ...part.assignment, round, remembered: { rounds } };
    const ended = { ...part, assignment, kept: slope(round) };
    await beginParticipation(ended);
    await endParticipation(ended, true);
    const { round: at, vectors, before, bytes } = (await clientStateOf("expressions")) ?? {};
    return {
      round: at,
      slope: vectors?.["slope"]?.[0],
      before: before?.round,
      from: before?.vectors["slope"]?.[0],
      bytes,
    };
  };
  expect(await after(1, [])).toEqual({ round: 1, slope: 1, before: undefined, from: undefined, bytes: 8 });
  expect(await after(2, [[1, 1]])).toEqual({ round: 2, slope: 2, before: 1, from: 1, bytes: 16 });
  // Nothing came of round 2: round 3 went on from round 1, too.
  expect(await after(3, [[1, 1]])).toEqual({ round: 3, slope: 3, before: 1, from: 1, bytes: 16 });
  // The edge has gone back behind all of them.
  expect(await after(4, [])).toMatchObject({ round: 4, slope: 4, before: undefined });
});

test("what a strategy keeps goes with a face, with consent, or by itself, and nothing else goes with it", async () => {
  for (const forget of [
    async () => faceStore.delete((await faceStore.add(face)).id),
    () => faceStore.deleteAll(),
    forgetTrainings,
    deleteClientStates,
  ]) {
    await accepted("expressions", kept(1));
    const drawn = await drawingStore.add(drawing);
    await forget();
    expect(await clientStateSizes()).toEqual([]);
    expect(await drawingStore.all()).toContainEqual(drawn);
  }
});

test("what a strategy keeps is not brought back by the round under way, which has a copy of it", async () => {
  for (const forget of [
    deleteClientStates,
    // One that the round does not train on, and one of another kind.
    async () => faceStore.delete((await faceStore.add(face)).id),
    async () => drawingStore.delete((await drawingStore.add(drawing)).id),
  ]) {
    await accepted("expressions", kept(1));
    const part = await participation([]);
    const plan = { ...part.assignment.plan, strategy: "fedper" as const };
    const underWay = { ...part, assignment: { ...part.assignment, plan }, kept: kept(2) };
    await beginParticipation(underWay);
    await forget();
    await expect(keepParticipation(underWay)).rejects.toMatchObject({ name: "ForgottenError" });
    await expect(endParticipation(underWay, true)).rejects.toMatchObject({ name: "ForgottenError" });
    expect(await clientStateSizes()).toEqual([]);
    expect(await getSetting("participation")).toBeUndefined();
  }
  // A round without a strategy has none: it goes on.
  const plain = await participation();
  await beginParticipation(plain);
  await deleteClientStates();
  await endParticipation(plain, true);
});

test("a device that comes from before strategies kept anything keeps all that it has", async () => {
  await destroyDatabase();
  const old = await openDB("best-actor", 5, {
    upgrade(db) {
      for (const name of ["faces", "drawings"]) {
        db.createObjectStore(name, { keyPath: "id", autoIncrement: true }).createIndex("split", "split");
      }
      db.createObjectStore("settings");
      db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
    },
  });
  const one = { ...face, id: 3, label: 3, split: "train", needsAnswer: false };
  const drawn = { ...drawing, id: 3, label: 9, split: "held-out", needsAnswer: false };
  const part = { train: [3], heldOut: [], update: new Uint8Array([1, 2]), residual: Float32Array.of(4) };
  await old.add("faces", one);
  await old.add("drawings", drawn);
  await old.add("takes", { id: 1, at: 1, prompt: 3, score: 61 });
  const settings = {
    consent: { given: true, at: 1 },
    localNorms: { expressions: Float32Array.of(1) },
    participation: part,
    residuals: { digits: Float32Array.of(2) },
    takingPart: true,
  };
  for (const [key, value] of Object.entries(settings)) await old.put("settings", value, key);
  old.close();
  expect(await faceStore.all()).toEqual([one]);
  expect(await drawingStore.all()).toEqual([drawn]);
  expect(await allTakes()).toHaveLength(1);
  for (const [key, value] of Object.entries(settings)) {
    expect(await getSetting(key as "residuals"), key).toEqual(value);
  }
  // And has a place for what they keep now.
  expect(await clientStateSizes()).toEqual([]);
  await accepted("expressions", kept(1));
  expect(await clientStateSizes()).toEqual([8]);
});

test("deleting all faces takes a training's traces with them, and nothing else", async () => {
  await faceStore.add(face);
  await setSetting("takingPart", true);
  await setSetting("residuals", { expressions: Float32Array.of(1) });
  await setSetting("localNorms", { expressions: Float32Array.of(1) });
  await beginParticipation(await participation());
  await faceStore.deleteAll();
  expect(await faceStore.all()).toEqual([]);
  expect(await otherSettings()).toEqual(["takingPart"]);
  expect(await settingSizes()).toHaveLength(CONSENTS.length + 1);
});

test("deleting a face takes what was made of it, and the training under way where it is one of its own", async () => {
  const [one, other] = [await faceStore.add(face), await faceStore.add(face)];
  await setSetting("takingPart", true);
  await beginParticipation(await participation([one.id]));
  await setSetting("localNorms", { expressions: Float32Array.of(1) });
  await faceStore.delete(other.id);
  expect(await otherSettings()).toEqual(["participation", "takingPart"]);
  await faceStore.delete(one.id);
  expect(await otherSettings()).toEqual(["takingPart"]);
});

test("what is late when the player leaves, or deletes the faces, brings nothing of the round back", async () => {
  for (const leave of [forgetParticipation, () => faceStore.deleteAll()]) {
    await setSetting("takingPart", true);
    const part = await participation();
    await beginParticipation(part);
    await keepParticipation(part);
    // All at once, as a worker's message may come: whichever is first, the last word is that nothing is kept.
    const late = [leave(), keepParticipation(part), endParticipation(part, true)];
    const [left, ...others] = await Promise.allSettled(late);
    expect(left?.status).toBe("fulfilled");
    for (const one of others) {
      expect(one).toMatchObject({ status: "rejected", reason: { name: "ForgottenError" } });
    }
    for (const key of ["participation", "residuals", "localNorms"] as const) {
      expect(await getSetting(key), key).toBeUndefined();
    }
  }
  // Who has left begins nothing, and a part in another round is not that one.
  await forgetParticipation();
  await expect(beginParticipation(await participation())).rejects.toThrow("no longer takes part");
  await setSetting("takingPart", true);
  await beginParticipation(await participation());
  await expect(keepParticipation(await participation())).rejects.toThrow("no longer takes part");
});

test("an accepted update leaves its batch normalization and what its codec lost, a refused one nothing", async () => {
  await setSetting("takingPart", true);
  for (const accepted of [false, true]) {
    const part = await participation();
    await beginParticipation(part);
    await endParticipation(part, accepted);
    expect(await getSetting("participation")).toBeUndefined();
    const kept = accepted ? { expressions: part.residual } : undefined;
    expect(await getSetting("residuals")).toEqual(kept);
    expect(await getSetting("localNorms")).toEqual(accepted ? { expressions: part.localNorms } : undefined);
  }
});

test("a device that comes from the version with a random id loses what it cannot go on with, and nothing else", async () => {
  await destroyDatabase();
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
  expect(await faceStore.all()).toHaveLength(1);
  expect((await settingSizes()).map(({ key }) => key)).toEqual(["consent"]);
  // What newer versions keep has its place.
  expect(await allTakes()).toEqual([]);
});

test("faces from before takes were questioned are all still there: those that failed wait for an answer", async () => {
  await destroyDatabase();
  const old = await openDB("best-actor", 3, {
    upgrade(db) {
      db.createObjectStore("faces", { keyPath: "id", autoIncrement: true });
      db.createObjectStore("settings");
      db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
    },
  });
  const kept = { pixels: face.pixels, probabilities: face.probabilities, prompted: 3, label: 3, split: "train" };
  const faces = [
    { ...kept, capturedAt: 1 },
    { ...kept, capturedAt: 2 },
    { ...kept, capturedAt: 3, split: "held-out" },
    { ...kept, capturedAt: 4, rounds: [{ task: "expressions", round: 1 }] },
    { ...kept, capturedAt: 5, label: 5 },
    { ...kept, capturedAt: 6, split: "excluded" },
  ];
  for (const one of faces) await old.add("faces", one);
  for (const take of [
    { at: 1, prompt: 3, score: 60 },
    { at: 2, prompt: 3, score: 59 },
    { at: 3, prompt: 3, score: 1 },
    // Of another role, so of another take than the face of that time.
    { at: 4, prompt: 0, score: 99 },
    { at: 5, prompt: 3, score: 1 },
    { at: 6, prompt: 3, score: 1 },
  ])
    await old.add("takes", take);
  await old.put("settings", { train: [1, 2], bytesDown: 0 }, "participation");
  old.close();
  const now = (await faceStore.all()).toReversed();
  const stored = now.map(({ id: _, split: _split, score: _score, needsAnswer: _needsAnswer, ...rest }) => rest);
  const shape = { height: 48, width: 48, channels: 1 };
  expect(stored).toEqual(faces.map(({ split: _, ...rest }) => ({ ...rest, shape })));
  expect(now.map(({ split, score, needsAnswer }) => [split, score, needsAnswer])).toEqual([
    ["train", 60, false],
    ["excluded", 59, true],
    ["excluded", 1, true],
    ["train", null, true],
    ["train", 1, false],
    ["excluded", 1, false],
  ]);
  expect(await allTakes()).toHaveLength(6);
  // What was being trained begins again without those that failed.
  expect(await getSetting("participation")).toBeUndefined();
  await allow();
  await faceStore.add(face);
  expect(await faceStore.add(face)).toMatchObject({ split: "held-out" });
});

test("a device that comes from before drawings keeps all of its faces, and drawings have their place beside them", async () => {
  await destroyDatabase();
  const old = await openDB("best-actor", 4, {
    upgrade(db) {
      db.createObjectStore("faces", { keyPath: "id", autoIncrement: true }).createIndex("split", "split");
      db.createObjectStore("settings");
      db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
    },
  });
  const faces = [1, 2, 3].map((id) => ({ ...face, id, label: 3, split: "train", needsAnswer: false }));
  for (const one of faces) await old.add("faces", one);
  await old.put("settings", { train: [1], bytesDown: 0 }, "participation");
  old.close();
  expect((await faceStore.all()).toReversed()).toEqual(faces);
  expect(await getSetting("participation")).toEqual({ train: [1], bytesDown: 0 });
  await allow();
  await drawingStore.add(drawing);
  expect(await drawingStore.all()).toHaveLength(1);
  expect(await faceStore.all()).toHaveLength(3);
});

test("faces and drawings are apart: what is done to one kind leaves the other, and a training on it, as it was", async () => {
  const one = await faceStore.add(face);
  const other = await drawingStore.add(drawing);
  // Their numbers are the same.
  expect(other.id).toBe(one.id);
  expect(await storeOf("digits").all()).toEqual([other]);
  expect(await storeOf("expressions-compact").all()).toEqual([one]);
  await setSetting("takingPart", true);
  await beginParticipation(await participation([one.id]));
  await drawingStore.delete(other.id);
  await drawingStore.deleteAll();
  expect(await getSetting("participation")).toBeDefined();
  expect(await faceStore.all()).toEqual([one]);
  await drawingStore.add(drawing);
  await faceStore.deleteAll();
  expect(await getSetting("participation")).toBeUndefined();
  expect(await drawingStore.all()).toHaveLength(1);
});

test("drawings of an added task are its own: no other task's count with them, train with them, or go with them", async () => {
  for (const name of ["shapes", "signs"]) {
    noteTask(name, { ...BUILT_IN.digits, labels: ["a", "b"], firstCheckpoint: null }, 1);
  }
  const [shapes, signs] = [storeOf("shapes"), storeOf("signs")];
  const kept = [];
  for (let i = 0; i < 5; i++) {
    await drawingStore.add(drawing);
    await signs.add({ ...drawing, prompted: 1 });
    kept.push(await shapes.add({ ...drawing, prompted: 0 }));
  }
  // Of each task every fifth is held out, however many there are of others.
  const splits = ["train", "train", "train", "train", "held-out"];
  for (const store of [drawingStore, shapes, signs]) {
    expect((await store.all()).toReversed().map(({ split }) => split)).toEqual(splits);
  }
  expect((await shapes.all()).map(({ label, task }) => `${task} ${label}`)).toEqual(Array(5).fill("shapes 0"));
  expect((await drawingStore.all()).map(({ label, task }) => [label, task])).toEqual(Array(5).fill([9, undefined]));
  expect(await allOf("drawing")).toHaveLength(15);
  await setSetting("takingPart", true);
  const ids = kept.map(({ id }) => id);
  const begun = await participation(ids);
  await beginParticipation({ ...begun, assignment: { ...begun.assignment, task: "shapes" } });
  await signs.deleteAll();
  await drawingStore.deleteAll();
  expect(await getSetting("participation")).toBeDefined();
  expect((await shapes.all()).map(({ id }) => id).toReversed()).toEqual(ids);
  await shapes.delete(ids[0] ?? NaN);
  expect(await getSetting("participation")).toBeUndefined();
});

test("faces that show no expressions are their task's own, and the expressions one collection of all networks", async () => {
  const described = { ...BUILT_IN["expressions-compact"], firstCheckpoint: null };
  noteTask("again", described, 1);
  noteTask("winks", { ...described, labels: ["left", "right"] }, 1);
  const winks = storeOf("winks");
  expect(storeOf("again")).toBe(faceStore);
  const expression = await faceStore.add(face);
  const { label: _, ...wink } = await winks.add({ ...face, prompted: 1, probabilities: [0.5, 0.5] });
  expect(wink).toMatchObject({ task: "winks", prompted: 1 });
  expect((await faceStore.all()).map(({ id }) => id)).toEqual([expression.id]);
  expect((await winks.all()).map(({ id }) => id)).toEqual([wink.id]);
  expect(await countsOf("face")).toEqual([
    { task: undefined, count: 1 },
    { task: "winks", count: 1 },
  ]);
  // A training on one is none on the other.
  await setSetting("takingPart", true);
  await beginParticipation(await participation([expression.id]));
  await winks.deleteAll();
  expect(await getSetting("participation")).toBeDefined();
  expect(await faceStore.all()).toHaveLength(1);
  await setSetting("consent", { given: false, at: 2 });
  await expect(winks.add({ ...face, prompted: 0 })).rejects.toThrow("no consent");
});

test("what was kept under a label that its task has put elsewhere or renamed does not count, and is there when it is put back", async () => {
  const described = { ...BUILT_IN.digits, labels: ["circle", "square", "star"], firstCheckpoint: null };
  noteTask("moved", described, 1);
  const store = storeOf("moved");
  const counted = async (): Promise<(string | undefined)[]> =>
    (await store.all()).filter((one) => fits(one, taskNamed("moved"))).map(({ labelName }) => labelName);
  const kept = [];
  for (const prompted of [0, 1, 2]) kept.push(await store.add({ ...drawing, prompted }));
  // One from before names were kept counts as it did.
  const { labelName: _, ...unnamed } = kept[2] as Drawing;
  await store.restore(unnamed);
  expect(await counted()).toEqual([undefined, "square", "circle"]);
  noteTask("moved", { ...described, labels: ["square", "circle", "star"] }, 2);
  expect(await counted()).toEqual([undefined]);
  noteTask("moved", { ...described, labels: ["circle", "box", "star"] }, 3);
  expect(await counted()).toEqual([undefined, "circle"]);
  // Another label is one of those that there are now; who confirms the one that it has, or says what it is for, changes nothing of that.
  const [, second] = kept as [Drawing, Drawing];
  await store.change(second.id, { split: "held-out" });
  expect(await counted()).toEqual([undefined, "circle"]);
  await store.change(second.id, { label: 1 });
  expect(await counted()).toEqual([undefined, "circle"]);
  await store.change(second.id, { label: 2 });
  await store.change(second.id, { label: 1 });
  expect(await counted()).toEqual([undefined, "box", "circle"]);
  noteTask("moved", described, 4);
  expect(await counted()).toEqual([undefined, "circle"]);
  // A page that has asked for something before it has heard of the change says what it has called that.
  noteTask("moved", { ...described, labels: ["square", "circle", "star"] }, 5);
  expect(await store.add({ ...drawing, prompted: 0, labelName: "circle" })).toMatchObject({ labelName: "circle" });
  // Nobody names the labels of built-in tasks otherwise.
  expect(await drawingStore.add({ ...drawing, labelName: "9" })).not.toHaveProperty("labelName");
  expect(await faceStore.add(face)).not.toHaveProperty("labelName");
});

test("keeping an example reads no other, reading those of one task none of another, and nothing is read to tell how large it is", async () => {
  for (const name of ["shapes", "signs"]) {
    noteTask(name, { ...BUILT_IN.digits, labels: ["a", "b"], firstCheckpoint: null }, 1);
  }
  const [shapes, signs] = [storeOf("shapes"), storeOf("signs")];
  for (let i = 0; i < 3; i++) await signs.add({ ...drawing, prompted: 1 });
  await accepted("expressions", kept(1));
  const read: unknown[] = [];
  for (const { prototype } of [IDBObjectStore, IDBIndex] as { prototype: Pick<IDBObjectStore, "get" | "getAll"> }[]) {
    for (const method of ["get", "getAll"] as const) {
      const before = Reflect.get(prototype, method) as (...query: unknown[]) => IDBRequest<unknown>;
      const noting = function (this: unknown, ...query: unknown[]): IDBRequest<unknown> {
        const request = before.apply(this, query);
        // Whether the player lets us is asked each time.
        const isConsent = (one: unknown): boolean => typeof one === "object" && one !== null && "given" in one;
        request.addEventListener("success", () =>
          read.push(...[request.result].flat().filter((one) => !isConsent(one))),
        );
        return request;
      };
      vi.spyOn(prototype, method).mockImplementation(noting as never);
    }
  }
  const [one, digit] = [await shapes.add({ ...drawing, prompted: 0 }), await drawingStore.add(drawing)];
  expect(await clientStateSizes()).toEqual([8]);
  expect(read).toEqual([]);
  expect([await shapes.all(), await drawingStore.all()]).toEqual([[one], [digit]]);
  expect(read).toEqual([one, digit]);
});

test("what is kept of tasks that nobody here has heard of is counted by task, read and deleted, and nothing else with it", async () => {
  for (const [task, count] of [
    ["gone", 3],
    ["here", 2],
  ] as const) {
    const store = storeOfKind("drawing", task);
    for (let i = 0; i < count; i++) await store.add({ ...drawing, score: i === 0 ? 0 : 90 });
  }
  await drawingStore.add(drawing);
  await storeOfKind("picture", "gone").add(drawing);
  expect(await countsOf("drawing")).toEqual([
    { task: undefined, count: 1 },
    { task: "gone", count: 3 },
    { task: "here", count: 2 },
  ]);
  expect((await storeOfKind("drawing", "gone").all()).map(({ id, task }) => [id, task])).toEqual(
    [3, 2, 1].map((id) => [id, "gone"]),
  );
  // What was to be made of them goes with them.
  const underWay = { assignment: { task: "gone", plan: { strategy: "none" } }, train: [1], heldOut: [] };
  await setSetting("participation", underWay as unknown as Participation);
  await storeOfKind("drawing", "gone").deleteAll();
  expect(await getSetting("participation")).toBeUndefined();
  expect((await countsOf("drawing")).map(({ count }) => count)).toEqual([1, 2]);
  expect(await countsOf("picture")).toEqual([{ task: "gone", count: 1 }]);
  expect(await countsOf("face")).toEqual([]);
});

test("pictures in colour are apart from faces and drawings, and one that no model could judge shows what it was to show", async () => {
  const input = { height: 4, width: 3, channels: 3 };
  const things = {
    ...BUILT_IN.digits,
    examples: "picture",
    input,
    labels: ["cup", "key"],
    firstCheckpoint: null,
  } as const;
  noteTask("things", things, 1);
  const store = storeOf("things");
  const picture = {
    ...{ pixels: Uint8Array.from({ length: 36 }, (_, i) => i), shape: input, prompted: 1 },
    ...{ probabilities: [0.5, 0.5], capturedAt: 1, score: null },
  };
  const kept = await store.add(picture);
  const said = { label: 1, labelName: "key", task: "things", split: "train", needsAnswer: false };
  expect(kept).toEqual({ ...picture, ...said, id: kept.id });
  // Once there is a model that judges, what it does not recognize waits for the player's word.
  expect(await store.add({ ...picture, score: 50 })).toMatchObject({ split: "excluded", needsAnswer: true });
  expect([await faceStore.all(), await drawingStore.all(), await allOf("drawing")]).toEqual([[], [], []]);
  expect(await allOf("picture")).toHaveLength(2);
  // A task that has had no round yet may be described otherwise: what does not fit any more trains nothing.
  expect(fits(kept, things)).toBe(true);
  for (const change of [{ height: 3 }, { width: 4 }, { channels: 1 }]) {
    expect(fits(kept, { ...things, input: { ...input, ...change } })).toBe(false);
  }
  expect(fits(kept, { ...things, labels: ["cup"] })).toBe(false);
  // Nor does what has more or fewer levels than its shape.
  for (const length of [35, 37]) expect(fits({ ...kept, pixels: new Uint8Array(length) }, things)).toBe(false);
  await faceStore.deleteAll();
  await drawingStore.deleteAll();
  expect(await store.all()).toHaveLength(2);
  await store.delete(kept.id);
  expect(await allOf("picture")).toHaveLength(1);
});

test("faces and drawings that were kept before there was colour are all still there, grey", async () => {
  await destroyDatabase();
  await destroyDatabase();
  const old = await openDB("best-actor", 5, {
    upgrade(db) {
      for (const name of ["faces", "drawings"]) {
        db.createObjectStore(name, { keyPath: "id", autoIncrement: true }).createIndex("split", "split");
      }
      db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
      db.createObjectStore("settings");
    },
  });
  const without = <E extends object>({ shape: _, ...one }: E & { shape: unknown }) => one;
  const said = { split: "train", needsAnswer: false, label: 1 } as const;
  const faces = [1, 2, 3].map((id) => ({ ...without(face), ...said, id, capturedAt: id }));
  const drawings = [784, 576].map((length, i) => ({
    ...{ ...without(drawing), ...said, id: i + 1, pixels: new Uint8Array(length).fill(i + 1) },
    ...(i === 1 && { task: "shapes" }),
  }));
  for (const one of faces) await old.put("faces", one);
  for (const one of drawings) await old.put("drawings", one);
  await old.put("settings", { given: true, at: 1 }, "consent");
  old.close();
  expect((await faceStore.all()).toReversed()).toEqual(
    faces.map((one) => ({ ...one, shape: { height: 48, width: 48, channels: 1 } })),
  );
  expect(await allOf("drawing")).toEqual(
    drawings.map((one, i) => ({ ...one, shape: { height: [28, 24][i], width: [28, 24][i], channels: 1 } })),
  );
  // Those of each task are found by it.
  noteTask("shapes", { ...BUILT_IN.digits, labels: ["a", "b"], firstCheckpoint: null }, 1);
  expect((await storeOf("shapes").all()).map(({ id }) => id)).toEqual([2]);
  expect((await drawingStore.all()).map(({ id }) => id)).toEqual([1]);
  expect(await allOf("picture")).toEqual([]);
  expect(await getSetting("consent")).toEqual({ given: true, at: 1 });
});

test("an update that was finished before takes were questioned is still sent", async () => {
  await destroyDatabase();
  const old = await openDB("best-actor", 3, {
    upgrade(db) {
      db.createObjectStore("faces", { keyPath: "id", autoIncrement: true });
      db.createObjectStore("settings");
      db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
    },
  });
  const participation = { train: [1], update: new Uint8Array([1]) };
  await old.put("settings", participation, "participation");
  old.close();
  expect(await getSetting("participation")).toEqual(participation);
});

test("takes come back in their order, and go without the faces", async () => {
  const take = { prompt: 3, score: 61 } as const;
  for (const at of [1, 2, 3]) await addTake({ ...take, at });
  expect((await allTakes()).map(({ at }) => at)).toEqual([1, 2, 3]);
  await faceStore.add(face);
  await deleteAllTakes();
  expect(await allTakes()).toEqual([]);
  expect(await faceStore.all()).toHaveLength(1);
});

test("a database that a newer version of the app has changed is left alone, and the error says so", async () => {
  await destroyDatabase();
  const newer = await openDB("best-actor", 1000);
  newer.close();
  await expect(faceStore.all()).rejects.toThrow(NewerStorageError);
  const again = await openDB("best-actor");
  expect(again.version).toBe(1000);
  again.close();
});

test("what is wrong in the app's own code is not blamed on the browser", async () => {
  await expect(
    use(() => {
      throw new TypeError("a fault of ours");
    }),
  ).rejects.toThrow(TypeError);
});

test("what the browser refuses is told from what we do wrong", async () => {
  const failing = (action: Parameters<typeof use>[0]): Promise<unknown> =>
    use(action).then(
      () => undefined,
      (error: unknown) => error,
    );
  const refusing = (name: string) => failing(() => Promise.reject(new DOMException("", name)));
  expect(await refusing("QuotaExceededError")).toBeInstanceOf(StorageFullError);
  for (const name of ["SecurityError", "UnknownError", "InvalidStateError"]) {
    expect(await refusing(name), name).toBeInstanceOf(StorageError);
  }
  // A value that cannot be kept, a store that there is not, a key that is none, a write in a transaction that only reads.
  const wrong: [string, Parameters<typeof use>[0]][] = [
    ["DataCloneError", (db) => db.put("settings", () => undefined, "one")],
    ["NotFoundError", (db) => db.getAll("none" as "takes")],
    ["DataError", (db) => db.get("settings", {} as string)],
    ["ReadOnlyError", (db) => (db.transaction("settings").store as unknown as { clear(): Promise<void> }).clear()],
  ];
  for (const [name, action] of wrong) {
    const error = await failing(action);
    expect(error, name).toMatchObject({ name });
    expect(error, name).not.toBeInstanceOf(StorageError);
  }
  // And the next one is kept.
  await setSetting("takingPart", true);
  expect(await getSetting("takingPart")).toBe(true);
});
