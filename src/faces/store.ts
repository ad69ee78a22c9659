import type { IDBPObjectStore } from "idb";
import type { TaskName } from "../federation/protocol";
import { use, type Schema } from "./database";
import { MADE_OF_FACES, type Face, type FaceChange, type NewFace, type Participation } from "./kept";
import { sortAnswered, sortTake } from "./labels";

/** Told whenever faces change, in this tab or in another. */
const changes = new BroadcastChannel("best-actor-faces");
const listeners = new Set<() => void>();
changes.onmessage = () => {
  for (const listener of listeners) listener();
};

function changed(): void {
  changes.postMessage(null);
  for (const listener of listeners) listener();
}

/** Calls `listener` after every change of the faces; returns what ends that. */
export function onFacesChanged(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** How many faces train or test. */
async function countUsable(faces: IDBPObjectStore<Schema, ["faces"], "faces", "readwrite">): Promise<number> {
  const bySplit = faces.index("split");
  return (await bySplit.count("train")) + (await bySplit.count("held-out"));
}

/** Keeps a take. @returns the face, with what it is for: see labels.ts. @throws StorageError */
export async function addFace(take: NewFace): Promise<Face> {
  const kept = await use(async (db) => {
    const transaction = db.transaction("faces", "readwrite");
    const face = sortTake(take, await countUsable(transaction.store));
    const id = await transaction.store.add(face as Face);
    await transaction.done;
    return { ...face, id };
  });
  changed();
  return kept;
}

/** Keeps faces as they are, except that each gets a new id. @throws StorageError: then none is kept */
export async function addFaces(faces: readonly Omit<Face, "id">[]): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction("faces", "readwrite");
    await Promise.all([...faces.map((face) => transaction.store.add(face as Face)), transaction.done]);
  });
  changed();
}

/** Notes of which faces a round's update was made. @throws StorageError */
export async function noteRound(ids: readonly number[], task: TaskName, round: number): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction("faces", "readwrite");
    for (const id of ids) {
      const face = await transaction.store.get(id);
      if (face) await transaction.store.put({ ...face, rounds: [...(face.rounds ?? []), { task, round }] });
    }
    await transaction.done;
  });
  changed();
}

/** Every face, the newest first. @throws StorageError */
export const allFaces = (): Promise<Face[]> =>
  use(async (db) => (await db.getAll("faces")).sort((a, b) => b.id - a.id));

/** Says what a face shows, or what it is for. @returns the face after that; undefined if it is gone. @throws StorageError */
export async function changeFace(id: number, change: FaceChange): Promise<Face | undefined> {
  const face = await use(async (db) => {
    const transaction = db.transaction("faces", "readwrite");
    const before = await transaction.store.get(id);
    const after = before && sortAnswered(before, change, await countUsable(transaction.store));
    if (after) await transaction.store.put(after);
    await transaction.done;
    return after;
  });
  changed();
  return face;
}

/** Puts a deleted face back as it was. @throws StorageError */
export async function restoreFace(face: Face): Promise<void> {
  await use((db) => db.put("faces", face));
  changed();
}

/** Deletes a face, and what trainings have made of it: an update under way that has it begins again. @throws StorageError */
export async function deleteFace(id: number): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction(["faces", "settings"], "readwrite");
    const settings = transaction.objectStore("settings");
    await transaction.objectStore("faces").delete(id);
    for (const key of MADE_OF_FACES) await settings.delete(key);
    const kept = (await settings.get("participation")) as Participation | undefined;
    if (kept && [...kept.train, ...kept.heldOut].includes(id)) await settings.delete("participation");
    await transaction.done;
  });
  changed();
}

/** Deletes every face and whatever a training has made of them. @throws StorageError */
export async function deleteAllFaces(): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction(["faces", "settings"], "readwrite");
    await transaction.objectStore("faces").clear();
    for (const key of ["participation", ...MADE_OF_FACES]) await transaction.objectStore("settings").delete(key);
    await transaction.done;
  });
  changed();
}
