import { deleteDB, openDB, type DBSchema, type IDBPDatabase, type IDBPTransaction } from "idb";
import type { Label } from "../model/expressions";
import { FACE } from "../data/own-labels";
import type { TaskName } from "../federation/tasks/registry";
import type { ClientState, Drawing, Example, Face, Participation, Picture, Split, Take } from "./kept";
import { sortOld } from "./labels";

/** What examples are found by without their pixels; idb's types take no interface here. Those without a task are not in `ofTask`. */
type ExampleIndexes = { split: Split; ofTask: [Split, TaskName] };

/** The one database of everything that stays on this device. */
export interface Schema extends DBSchema {
  faces: { key: number; value: Face; indexes: ExampleIndexes };
  drawings: { key: number; value: Drawing; indexes: ExampleIndexes };
  pictures: { key: number; value: Picture; indexes: ExampleIndexes };
  /** What was scored, without pictures. */
  takes: { key: number; value: Take };
  /** What strategies keep, by task: as large as a model. The indexes say what is there without reading it. */
  clientStates: { key: string; value: ClientState; indexes: { at: number; bytes: number } };
  /** Single values by name. */
  settings: { key: string; value: unknown };
}

const NAME = "best-actor";

/**
 * What each version of the schema adds to the one before. Append, never change: a device may come from any version. One that is
 * asynchronous waits for the database alone, else its transaction ends.
 */
type Upgrade = (
  db: IDBPDatabase<Schema>,
  transaction: IDBPTransaction<
    Schema,
    ("faces" | "drawings" | "pictures" | "takes" | "clientStates" | "settings")[],
    "versionchange"
  >,
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
  (db) => {
    const drawings = db.createObjectStore("drawings", { keyPath: "id", autoIncrement: true });
    drawings.createIndex("split", "split");
  },
  // Each example says how its levels are laid out: whatever was kept before is a grey square.
  async (db, transaction) => {
    const states = db.createObjectStore("clientStates", { keyPath: "task" });
    states.createIndex("at", "at");
    states.createIndex("bytes", "bytes");
    const pictures = db.createObjectStore("pictures", { keyPath: "id", autoIncrement: true });
    pictures.createIndex("split", "split");
    for (const name of ["faces", "drawings", "pictures"] as const) {
      transaction.objectStore(name).createIndex("ofTask", ["split", "task"]);
    }
    const faces = transaction.objectStore("faces");
    for (let cursor = await faces.openCursor(); cursor; cursor = await cursor.continue()) {
      await cursor.update({ ...cursor.value, shape: FACE });
    }
    const drawings = transaction.objectStore("drawings");
    for (let cursor = await drawings.openCursor(); cursor; cursor = await cursor.continue()) {
      await cursor.update({ ...cursor.value, shape: greySquare(cursor.value.pixels) });
    }
  },
];

/** The shape of what was kept before there was colour. */
function greySquare({ length }: Example["pixels"]): Example["shape"] {
  const side = Math.sqrt(length);
  return { height: side, width: side, channels: 1 };
}

/** The device's storage cannot be used: a private window, a full disk, or another tab with a newer version. */
export class StorageError extends Error {
  override readonly name: string = "StorageError";
}

/** A newer version of the app has changed the database: this one cannot read it, and must not. */
export class NewerStorageError extends StorageError {
  override readonly name = "NewerStorageError";
}

/** The device has no room left. */
export class StorageFullError extends StorageError {
  override readonly name: string = "StorageFullError";
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= open();
  return opened;
}

async function open(): Promise<IDBPDatabase<Schema>> {
  let fault: unknown;
  const request = openDB<Schema>(NAME, UPGRADES.length, {
    upgrade(db, from, _to, transaction) {
      const steps = async (): Promise<void> => {
        for (const upgrade of UPGRADES.slice(from)) await upgrade(db, transaction);
      };
      // A step that fails leaves all as it was.
      steps().catch((error: unknown) => {
        fault = error;
        transaction.abort();
      });
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
  try {
    return await request;
  } catch (error) {
    // That it was aborted says less than why.
    throw fault ?? error;
  }
}

/** What IndexedDB says where it is used wrongly, which is a fault of ours, and no browser's refusal. */
const MISUSE = new Set([
  "ConstraintError",
  "DataCloneError",
  "DataError",
  "InvalidAccessError",
  "NotFoundError",
  "ReadOnlyError",
  "TransactionInactiveError",
]);

/**
 * What a failure of the browser's storage is for the pages; a fault of ours stays what it is.
 * @param full what can be done where there is no room, `denied` what cannot be kept
 */
export function storageFailure(error: unknown, full: string, denied: string): unknown {
  if (!(error instanceof DOMException) || MISUSE.has(error.name)) return error;
  const cause = { cause: error };
  if (error.name === "VersionError") {
    return new NewerStorageError(
      "A newer version of this page keeps your faces on this device. Reload this page.",
      cause,
    );
  }
  if (error.name === "QuotaExceededError") return new StorageFullError(full, cause);
  return new StorageError(`The browser does not let us keep ${denied} on this device (${error.name}).`, cause);
}

/** Does something with the database. @throws StorageError where the browser keeps nothing */
export async function use<T>(action: (db: IDBPDatabase<Schema>) => Promise<T>): Promise<T> {
  try {
    return await action(await database());
  } catch (error) {
    opened = undefined;
    const full = "This device has no room left. Delete some faces, or free space, and try again.";
    throw storageFailure(error, full, "faces");
  }
}

/** Closes and deletes the database. */
export async function destroyDatabase(): Promise<void> {
  if (opened) (await opened).close();
  opened = undefined;
  await deleteDB(NAME);
}
