import type { PictureKind } from "../data/own-labels";
import { deleteDB, openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { DatasetName, LabConfig } from "../simulation/config";
import type { Axis, Changes } from "../simulation/grid";
import type { Shareable } from "../simulation/partition";
import type { LabData, LabExamples } from "../simulation/pool";
import type { LabState } from "../simulation/simulation";
import { NewerStorageError, StorageError, storageFailure, StorageFullError } from "../faces/database";
import { sizeOf } from "../base/size";

/** The lab's data sets and runs, in an IndexedDB database of their own. Nothing here is ever uploaded. */

/** A data set that was imported. */
export interface Dataset {
  name: Exclude<DatasetName, "drawn">;
  /** Under which its samples stand: an import replaces an older one only when it is complete. */
  generation: string;
  /** Examples by label. */
  train: number[];
  test: number[];
  /** Of its pixels. */
  bytes: number;
  /** What its pictures and labels are, where they are of somebody's own. */
  kind?: PictureKind;
  /** Names of the files it came from. */
  source: string;
  importedAt: number;
}

/** Some samples of a data set, as they came. */
export interface SampleChunk {
  labels: Uint8Array<ArrayBuffer>;
  /** 1 where a sample is kept for the test. */
  test: Uint8Array<ArrayBuffer>;
  pixels: Uint8Array<ArrayBuffer>;
  /** Whose each sample is, counted from 1, where the files said so; 0 where they did not. */
  clients?: Uint32Array<ArrayBuffer>;
}

export interface RunRecord extends Pick<
  LabState,
  "rounds" | "columns" | "evaluation" | "ended" | "data" | "kind" | "commits"
> {
  id: string;
  config: LabConfig;
  createdAt: number;
  /** Where it was trained, and with how many workers. */
  on: string | null;
  /** Why it cannot go on. */
  problem: string | null;
  /** Of a sweep: of which, at which place of its grid, and what it has in the place of what the sweep's configuration says. */
  sweep?: { id: string; place: number; changes: Changes };
}

/** Runs that differ in a few settings, one after the other. */
export interface SweepRecord {
  id: string;
  /** Of all its runs, but for what each changes. */
  config: LabConfig;
  axes: readonly Axis[];
  createdAt: number;
}

interface Schema extends DBSchema {
  datasets: { key: string; value: Dataset };
  samples: { key: [string, number]; value: SampleChunk };
  runs: { key: string; value: RunRecord };
  /** What a run needs to go on: weights and all. */
  states: { key: string; value: LabState };
  sweeps: { key: string; value: SweepRecord };
}

const UPGRADES: ((db: IDBPDatabase<Schema>) => void)[] = [
  (db) => {
    db.createObjectStore("datasets", { keyPath: "name" });
    db.createObjectStore("samples");
    db.createObjectStore("runs", { keyPath: "id" });
    db.createObjectStore("states");
  },
  (db) => {
    db.createObjectStore("sweeps", { keyPath: "id" });
  },
];

const NAME = "best-actor-lab";

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>(NAME, UPGRADES.length, {
    upgrade(db, from) {
      for (const upgrade of UPGRADES.slice(from)) upgrade(db);
    },
    blocking(_current, _blocked, event) {
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
    const full = "This device has no room left. Delete a data set or old runs, or free space, and try again.";
    const failure = storageFailure(error, full, "the lab's data");
    if (failure instanceof StorageFullError) throw new LabFullError(failure.message, { cause: error });
    if (!(failure instanceof StorageError) || failure instanceof NewerStorageError) throw failure;
    throw new LabStorageError(failure.message, { cause: error });
  }
}

/** The device has no room left for what the lab keeps: other words than where faces are meant. */
class LabFullError extends StorageFullError {
  override readonly name = "LabFullError";
}

/** The device keeps nothing of the lab. */
class LabStorageError extends StorageError {
  override readonly name = "LabStorageError";
}

/** Another tab trains: two at once would write over each other. */
export class TrainedElsewhereError extends Error {
  override readonly name = "TrainedElsewhereError";
}

/** @throws StorageError */
export const allDatasets = (): Promise<Dataset[]> => use((db) => db.getAll("datasets"));

/** @throws StorageError */
export const addChunk = (generation: string, index: number, chunk: SampleChunk): Promise<void> =>
  use(async (db) => {
    await db.put("samples", chunk, [generation, index]);
  });

/** All samples of one import. */
const samplesOf = (generation: string): IDBKeyRange => IDBKeyRange.bound([generation, 0], [generation, Infinity]);

/** Puts an import in the place of an older one of the same name. @throws StorageError */
export const putDataset = (dataset: Dataset): Promise<void> =>
  use(async (db) => {
    await db.put("datasets", dataset);
  });

const IMPORT_LOCK = "best-actor-lab-import";

/** Does what only one import at a time may do, in whichever tab: others wait. Without Web Locks nobody tells of another tab. */
export const importAlone = <T>(action: () => Promise<T>): Promise<T> =>
  "locks" in navigator ? navigator.locks.request(IMPORT_LOCK, action) : action();

const TRAINING_LOCK = "best-actor-lab-training";

/**
 * Does what only one tab at a time may do: train a run, or delete what one may be training with. Without Web Locks nobody tells of
 * another tab. @throws TrainedElsewhereError
 */
export async function trainAlone<T>(action: () => Promise<T>): Promise<T> {
  if (!("locks" in navigator)) return action();
  return navigator.locks.request(TRAINING_LOCK, { ifAvailable: true }, (lock) => {
    if (!lock) throw new TrainedElsewhereError("Another tab is training in the lab.");
    return action();
  });
}

/** Deletes samples that belong to no data set. Only for who imports alone: those of an import under way belong to none yet. */
export const clearStrays = (): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["datasets", "samples"], "readwrite");
    const samples = transaction.objectStore("samples");
    const known = new Set((await transaction.objectStore("datasets").getAll()).map(({ generation }) => generation));
    const generations = new Set((await samples.getAllKeys()).map(([generation]) => generation));
    for (const generation of generations) if (!known.has(generation)) await samples.delete(samplesOf(generation));
    await transaction.done;
  });

/** A stopped worker's lock is free at once, another tab's import goes on for minutes. */
const LOCK_MS = 2000;

/**
 * Clears away what an import has left whose worker was stopped, unless another is under way. Without Web Locks one may be, in another
 * tab: what is left then stays until the next import. @throws StorageError
 */
export async function clearAfterStopped(): Promise<void> {
  if (!("locks" in navigator)) return;
  try {
    await navigator.locks.request(IMPORT_LOCK, { signal: AbortSignal.timeout(LOCK_MS) }, clearStrays);
  } catch (error) {
    if (error instanceof StorageError) throw error;
  }
}

/** Bytes of the samples that are kept, in whole data sets and in what a stopped import has left. @throws StorageError */
export const sampleBytes = (): Promise<number> =>
  use(async (db) => {
    let bytes = 0;
    let cursor = await db.transaction("samples").store.openCursor();
    while (cursor) {
      const { pixels, labels, test, clients } = cursor.value;
      bytes += pixels.length + labels.length + test.length + (clients?.byteLength ?? 0);
      cursor = await cursor.continue();
    }
    return bytes;
  });

/** Bytes of the runs, with what they need to go on. @throws StorageError */
export const runBytes = (): Promise<number> =>
  use(async (db) => sizeOf(await db.getAll("runs")) + sizeOf(await db.getAll("states")));

/** @throws StorageError */
export const deleteDataset = ({ name, generation }: Dataset): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["datasets", "samples"], "readwrite");
    await transaction.objectStore("datasets").delete(name);
    await transaction.objectStore("samples").delete(samplesOf(generation));
    await transaction.done;
  });

/** Reads a data set, chunk by chunk, into two piles. @throws StorageError */
export const readDataset = (name: DatasetName): Promise<LabData | null> =>
  use(async (db) => {
    const dataset = await db.get("datasets", name);
    if (!dataset) return null;
    const sum = (counts: number[]): number => counts.reduce((a, b) => a + b, 0);
    const size = dataset.bytes / (sum(dataset.train) + sum(dataset.test));
    const pile = (count: number) => ({
      pixels: new Uint8Array(count * size),
      labels: new Uint8Array(count),
      clients: new Uint32Array(count),
      at: 0,
    });
    const piles = [pile(sum(dataset.train)), pile(sum(dataset.test))];
    let cursor = await db.transaction("samples").store.openCursor(samplesOf(dataset.generation));
    while (cursor) {
      const { labels, test, pixels, clients } = cursor.value;
      labels.forEach((label, i) => {
        const to = piles[test[i] ?? 0];
        if (!to) return;
        to.labels[to.at] = label;
        to.clients[to.at] = clients?.[i] ?? 0;
        to.pixels.set(pixels.subarray(i * size, (i + 1) * size), to.at * size);
        to.at += 1;
      });
      cursor = await cursor.continue();
    }
    const { kind } = dataset;
    const [train, test] = piles.map(({ pixels, labels, clients }) => ({
      pixels,
      labels,
      ...owned(clients),
      ...(kind && { classes: kind.labels.length }),
    }));
    return { train: train as LabExamples, test: test as LabExamples, ...(kind && { kind }) };
  });

/** Whose samples are, where that is known of any of them. */
const owned = (clients: Uint32Array): Pick<LabExamples, "clients"> =>
  clients.some((client) => client > 0) ? { clients } : {};

/** What the sharing out of a data set's training samples goes by, and what its pictures are. @throws StorageError */
export const readShareable = (name: DatasetName): Promise<(Shareable & Pick<LabData, "kind">) | null> =>
  use(async (db) => {
    const dataset = await db.get("datasets", name);
    if (!dataset) return null;
    const labels: number[] = [];
    const owners: number[] = [];
    let cursor = await db.transaction("samples").store.openCursor(samplesOf(dataset.generation));
    while (cursor) {
      const { labels: all, test, clients } = cursor.value;
      all.forEach((label, i) => {
        if (test[i] !== 0) return;
        labels.push(label);
        owners.push(clients?.[i] ?? 0);
      });
      cursor = await cursor.continue();
    }
    const { kind } = dataset;
    return {
      labels: Uint8Array.from(labels),
      ...owned(Uint32Array.from(owners)),
      ...(kind && { kind, classes: kind.labels.length }),
    };
  });

/** Every run, the newest first. @throws StorageError */
export const allRuns = (): Promise<RunRecord[]> =>
  use(async (db) => (await db.getAll("runs")).sort((a, b) => b.createdAt - a.createdAt));

/** @throws StorageError */
export const putRun = (run: RunRecord): Promise<void> =>
  use(async (db) => {
    await db.put("runs", run);
  });

/** A run's record and its state after the last round, in one step. @throws StorageError */
export const saveRound = (run: RunRecord, state: LabState): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["runs", "states"], "readwrite");
    await transaction.objectStore("runs").put(run);
    // A run that is over does not go on: its weights only take room.
    if (state.ended) await transaction.objectStore("states").delete(run.id);
    else await transaction.objectStore("states").put(state, run.id);
    await transaction.done;
  });

/** @throws StorageError */
export const readRun = (id: string): Promise<{ run: RunRecord | undefined; state: LabState | undefined }> =>
  use(async (db) => ({ run: await db.get("runs", id), state: await db.get("states", id) }));

/** @throws StorageError */
export const deleteRun = (id: string): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["runs", "states"], "readwrite");
    await transaction.objectStore("runs").delete(id);
    await transaction.objectStore("states").delete(id);
    await transaction.done;
  });

/** Every sweep, the newest first. @throws StorageError */
export const allSweeps = (): Promise<SweepRecord[]> =>
  use(async (db) => (await db.getAll("sweeps")).sort((a, b) => b.createdAt - a.createdAt));

/** A sweep with all its runs, in one step. @throws StorageError */
export const putSweep = (sweep: SweepRecord, runs: readonly RunRecord[]): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["runs", "sweeps"], "readwrite");
    await transaction.objectStore("sweeps").put(sweep);
    for (const run of runs) await transaction.objectStore("runs").put(run);
    await transaction.done;
  });

/** A sweep with all its runs and what they need to go on. @throws StorageError */
export const deleteSweep = (id: string): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["runs", "states", "sweeps"], "readwrite");
    const runs = transaction.objectStore("runs");
    for (const run of await runs.getAll()) {
      if (run.sweep?.id !== id) continue;
      await runs.delete(run.id);
      await transaction.objectStore("states").delete(run.id);
    }
    await transaction.objectStore("sweeps").delete(id);
    await transaction.done;
  });

/** Closes and deletes the database. */
export async function destroyLabDatabase(): Promise<void> {
  if (opened) (await opened).close();
  opened = undefined;
  await deleteDB(NAME);
}
