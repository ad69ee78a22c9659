import { deleteDB, openDB, type DBSchema, type IDBPDatabase, type IDBPObjectStore, type IDBPTransaction } from "idb";
import type { Evaluation } from "../core/evaluation";
import type { Label } from "../core/expressions";
import type { Take } from "../game/progress";
import type { Assignment, TaskName } from "../core/protocol";
import type { Learned } from "../client/ladder";
import type { LastUpdate, SentLog } from "../client/sent.svelte";
import type { SecureClient } from "../core/secagg/client";
import { sortAnswered, sortOld, sortTake } from "./labels";
import type { Backend } from "../../workers/tf/backend";
import type { Snapshot } from "../../workers/trainer/api";

/** Everything that stays on this device, in one IndexedDB database. Nothing here is ever uploaded. */

export interface Face {
  id: number;
  /** 48 x 48 grey levels. */
  pixels: Uint8Array<ArrayBuffer>;
  /** What the face shows: what the game asked for, until the player says otherwise. */
  label: Label;
  /** What the game asked for. */
  prompted: Label;
  /** The model's, when the face was captured. */
  probabilities: number[];
  /** What the take scored, 0 to 100; null where it is not known, as of faces that were kept before scores were. */
  score: number | null;
  /** Unix time in milliseconds. */
  capturedAt: number;
  /** Held-out faces are never trained on; they tell how good a checkpoint is. Excluded ones are only kept. */
  split: Split;
  /** Whether the player has still to say what it shows: see labels.ts. */
  needsAnswer: boolean;
  /** The rounds whose update was trained on it. */
  rounds?: { task: TaskName; round: number }[];
}

export const SPLITS = ["train", "held-out", "excluded"] as const;
export type Split = (typeof SPLITS)[number];

/** What a player may say about a face. */
export type FaceChange = Partial<Pick<Face, "label" | "split">>;

/** A take that is to be kept. */
export interface NewFace extends Pick<Face, "pixels" | "prompted" | "probabilities" | "capturedAt"> {
  score: number;
}

/** Yes and no with the moment they were given; absent while the question was never answered. */
export interface Consent {
  given: boolean;
  at: number;
}

/** The round that this device takes part in, kept so that a reload can go on. */
export interface Participation {
  assignment: Assignment;
  /** Signs what this device sends in the round. */
  key: CryptoKeyPair;
  /** Decides the order of the faces in training. */
  seed: number;
  /** The ids of the faces that it trains on and evaluates on, fixed when it began. */
  train: number[];
  heldOut: number[];
  bytesDown: number;
  snapshot?: Snapshot;
  /** The trained batch normalization, kept once the edge has accepted the update; null where the round averages it. */
  localNorms?: Float32Array<ArrayBuffer> | null;
  /** The finished update, gzipped or masked, until the edge has accepted it. */
  update?: Uint8Array<ArrayBuffer>;
  /** The secrets of a round with secure aggregation. */
  secure?: SecureClient;
  /** This device has no more part in its round, which is still open. */
  givenUp?: boolean;
  /** What its codec has lost, kept once the edge has accepted it. */
  residual?: Float32Array<ArrayBuffer>;
  /** What the page says about that update. */
  contribution?: Contribution;
}

/** A summary of one update that this device made. */
export interface Contribution {
  round: number;
  examples: number;
  bytes: number;
  /** Of the last epoch. */
  loss: number;
  accuracy: number;
  trainingMs: number;
  backend: Backend;
  /** The held-out faces before and after the training. */
  heldOut: Evaluation;
  heldOutAfter: Evaluation;
}

/** When this device may train, and how. */
export interface Preferences {
  whenHidden: boolean;
  onLowBattery: boolean;
  onDataSaver: boolean;
  /** Keep the screen on during a training. */
  keepAwake: boolean;
}

interface Schema extends DBSchema {
  faces: { key: number; value: Face; indexes: { split: Split } };
  /** What was scored, without pictures. */
  takes: { key: number; value: Take };
  /** Single values by name. */
  settings: { key: string; value: unknown };
}

/** Who this device is to the edge while one round is open. Another round gets another key, so that nothing links the two. */
export interface Identity {
  task: TaskName;
  /** Null while no round is known to be open. */
  round: number | null;
  key: CryptoKeyPair;
}

interface Settings {
  consent: Consent;
  /** The key that signs this device's requests while one round is open, and that round. */
  identity: Identity;
  participation: Participation;
  /** True while the player takes part in rounds. */
  takingPart: boolean;
  preferences: Preferences;
  /** This device's own batch normalization, by task, where its last round kept it local. */
  localNorms: Partial<Record<TaskName, Float32Array<ArrayBuffer>>>;
  /** What the codecs of this device's updates have lost so far, by task: sent with a later one. */
  residuals: Partial<Record<TaskName, Float32Array<ArrayBuffer>>>;
  /** What this device has sent, and its last update. */
  sent: SentLog;
  lastUpdate: LastUpdate;
  /** What the player wants to train on; absent for what the probe says. */
  backend: Backend;
  /** The faster backend that is right, once probed. */
  probedBackend: { agent: string; backend: Backend };
  /** What this browser has shown of how it computes. */
  ladder: Learned;
}

const NAME = "best-actor";

/**
 * What each version of the schema adds to the one before. Append, never change: a device may come from any version. One that is
 * asynchronous waits for the database alone, else its transaction ends.
 */
type Upgrade = (
  db: IDBPDatabase<Schema>,
  transaction: IDBPTransaction<Schema, ("faces" | "takes" | "settings")[], "versionchange">,
) => void | Promise<void>;
const UPGRADES: Upgrade[] = [
  (db) => {
    db.createObjectStore("faces", { keyPath: "id", autoIncrement: true });
    db.createObjectStore("settings");
  },
  // Requests are signed from here on: what was begun under a random id cannot go on.
  (_db, transaction) => {
    for (const key of ["clientId", "participation", "lastUpdate"]) {
      void transaction.objectStore("settings").delete(key);
    }
  },
  (db) => {
    db.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
  },
  // A take that failed trains only if the player says what it shows. A face and the score of its take have one time.
  async (_db, transaction) => {
    const faces = transaction.objectStore("faces");
    faces.createIndex("split", "split");
    const scores = new Map<string, number>();
    const keyOf = (at: number, prompt: Label): string => `${at} ${prompt}`;
    for (const { at, prompt, score } of await transaction.objectStore("takes").getAll()) {
      scores.set(keyOf(at, prompt), score);
    }
    for (let cursor = await faces.openCursor(); cursor; cursor = await cursor.continue()) {
      const { capturedAt, prompted } = cursor.value;
      await cursor.update(sortOld(cursor.value, scores.get(keyOf(capturedAt, prompted)) ?? null));
    }
    // A training under way may be made of takes that failed. The edge gives the same round again.
    const settings = transaction.objectStore("settings");
    const kept = (await settings.get("participation")) as Participation | undefined;
    if (kept && !kept.update && !kept.secure) await settings.delete("participation");
  },
];

/** The device's storage cannot be used: a private window, a full disk, or another tab with a newer version. */
export class StorageError extends Error {
  override readonly name: string = "StorageError";
}

/** The device has no room left. */
export class StorageFullError extends StorageError {
  override readonly name = "StorageFullError";
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>(NAME, UPGRADES.length, {
    upgrade(db, from, _to, transaction) {
      const steps = async (): Promise<void> => {
        for (const upgrade of UPGRADES.slice(from)) await upgrade(db, transaction);
      };
      // A step that fails leaves all as it was.
      steps().catch(() => transaction.abort());
    },
    blocking(_current, _blocked, event) {
      // Another tab has a newer version: make way for it.
      (event.target as IDBDatabase).close();
      opened = undefined;
    },
    terminated() {
      opened = undefined;
    },
  });
  return opened;
}

async function use<T>(action: (db: IDBPDatabase<Schema>) => Promise<T>): Promise<T> {
  try {
    return await action(await database());
  } catch (error) {
    opened = undefined;
    const name = error instanceof DOMException ? error.name : "";
    if (name === "QuotaExceededError") {
      throw new StorageFullError("This device has no room left. Delete some faces, or free space, and try again.", {
        cause: error,
      });
    }
    throw new StorageError(
      `The browser does not let us keep faces on this device (${name || String(error)}). Private windows often forbid it; the game goes on without.`,
      { cause: error },
    );
  }
}

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

/** What trainings have left that is made of faces, beside an update under way. */
const MADE_OF_FACES = ["residuals", "localNorms"] as const;

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

/** The part in a round was forgotten, here or in another tab, while something of it was still on its way. */
export class ForgottenError extends Error {
  override readonly name = "ForgottenError";
}

/** Whether an error is that, also one that has come through a worker. */
export const isForgotten = (error: unknown): boolean => error instanceof Error && error.name === "ForgottenError";

/**
 * Changes what is kept of the part in a round, in one transaction with the question whether it still is: what is late can bring
 * nothing back.
 * @param allowed looks at what is kept
 * @throws ForgottenError where it is not allowed, StorageError
 */
async function changeParticipation(
  allowed: (settings: SettingsStore) => Promise<boolean>,
  change: (settings: SettingsStore) => Promise<void>,
): Promise<void> {
  const isDone = await use(async (db) => {
    const transaction = db.transaction("settings", "readwrite");
    const may = await allowed(transaction.store);
    if (may) await change(transaction.store);
    await transaction.done;
    return may;
  });
  if (!isDone) throw new ForgottenError("This device no longer takes part in that round.");
}
type SettingsStore = IDBPObjectStore<Schema, ["settings"], "settings", "readwrite">;

const isKept =
  ({ assignment }: Participation) =>
  async (settings: SettingsStore): Promise<boolean> =>
    ((await settings.get("participation")) as Participation | undefined)?.assignment.id === assignment.id;

async function put(settings: SettingsStore, participation: Participation): Promise<void> {
  await settings.put(participation, "participation");
}

/** Begins the part in a round, unless the player has left. @throws ForgottenError, StorageError */
export const beginParticipation = (participation: Participation): Promise<void> =>
  changeParticipation(
    async (settings) => (await settings.get("takingPart")) === true,
    (settings) => put(settings, participation),
  );

/** Keeps how far the part in a round has come. @throws ForgottenError where it is not kept any more, StorageError */
export const keepParticipation = (participation: Participation): Promise<void> =>
  changeParticipation(isKept(participation), (settings) => put(settings, participation));

/**
 * Ends the part in a round.
 * @param accepted the edge has the update: what the training leaves on the device is for the next one
 * @throws ForgottenError where it is not kept any more: then nothing of it is left. StorageError
 */
export const endParticipation = (participation: Participation, accepted = false): Promise<void> =>
  changeParticipation(isKept(participation), async (settings) => {
    const { assignment, localNorms, residual } = participation;
    await settings.delete("participation");
    if (!accepted) return;
    const { [assignment.task]: _, ...others } = ((await settings.get("localNorms")) ?? {}) as Settings["localNorms"];
    await settings.put(localNorms ? { ...others, [assignment.task]: localNorms } : others, "localNorms");
    if (!residual) return;
    const residuals = ((await settings.get("residuals")) ?? {}) as Settings["residuals"];
    await settings.put({ ...residuals, [assignment.task]: residual }, "residuals");
  });

/** Leaves: nothing of the part in a round is kept. @throws StorageError */
export async function forgetParticipation(): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction("settings", "readwrite");
    for (const key of ["takingPart", "participation"]) await transaction.store.delete(key);
    await transaction.done;
  });
}

/** Consent is taken back: of the faces that are kept, nothing that a training made stays. @throws StorageError */
export async function forgetTrainings(): Promise<void> {
  await forgetParticipation();
  for (const key of MADE_OF_FACES) await deleteSetting(key);
}

/** Notes a take. @throws StorageError */
export const addTake = (take: Omit<Take, "id">): Promise<number> => use((db) => db.add("takes", take as Take));

/** Every take, the oldest first. @throws StorageError */
export const allTakes = (): Promise<Take[]> => use((db) => db.getAll("takes"));

/** Forgets every take. @throws StorageError */
export const deleteAllTakes = (): Promise<void> => use((db) => db.clear("takes"));

/** @throws StorageError */
export const getSetting = <K extends keyof Settings>(key: K): Promise<Settings[K] | undefined> =>
  use((db) => db.get("settings", key) as Promise<Settings[K] | undefined>);

/** @throws StorageError */
export const setSetting = <K extends keyof Settings>(key: K, value: Settings[K]): Promise<void> =>
  use(async (db) => {
    await db.put("settings", value, key);
  });

/** @throws StorageError */
export const deleteSetting = (key: keyof Settings): Promise<void> => use((db) => db.delete("settings", key));

/** Bytes that this origin uses and may use, as the browser estimates them. */
export async function storageUse(): Promise<{ used: number; quota: number; persistent: boolean } | null> {
  if (!("storage" in navigator && "estimate" in navigator.storage)) return null;
  const [{ usage = 0, quota = 0 }, persistent] = await Promise.all([
    navigator.storage.estimate(),
    navigator.storage.persisted(),
  ]);
  return { used: usage, quota, persistent };
}

/** Every single value that is kept, and about how many bytes it takes. @throws StorageError */
export const settingSizes = (): Promise<{ key: keyof Settings; bytes: number }[]> =>
  use(async (db) => {
    const [keys, values] = await Promise.all([db.getAllKeys("settings"), db.getAll("settings")]);
    return keys.map((key, i) => ({ key: key as keyof Settings, bytes: sizeOf(values[i]) }));
  });

/** Bytes of a value's buffers and texts, and eight for anything else in it. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length * 2;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (value instanceof ArrayBuffer) return value.byteLength;
  if (value === null || typeof value !== "object") return 8;
  return Object.values(value).reduce<number>((sum, one) => sum + sizeOf(one), 0);
}

/** Closes and deletes the database. */
export async function destroyDatabase(): Promise<void> {
  if (opened) (await opened).close();
  opened = undefined;
  await deleteDB(NAME);
}
