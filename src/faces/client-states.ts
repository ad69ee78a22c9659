import type { TaskName } from "../federation/tasks/registry";
import { use } from "./database";
import type { ClientState } from "./kept";

/** What strategies with a memory keep on this device: see src/federation/strategies/live.ts. Every function throws StorageError. */

/** What is kept of a task's rounds. */
export const clientStateOf = (task: TaskName): Promise<ClientState | undefined> =>
  use((db) => db.get("clientStates", task));

/** When that was trained, in Unix milliseconds, without reading it; undefined where nothing is kept. */
export const clientStateTime = (task: TaskName): Promise<number | undefined> =>
  use(async (db) => {
    const { store } = db.transaction("clientStates");
    for (let cursor = await store.index("at").openKeyCursor(); cursor; cursor = await cursor.continue()) {
      if (cursor.primaryKey === task) return cursor.key;
    }
    return undefined;
  });

/** Bytes of vectors together. */
export const bytesOf = (vectors: ClientState["vectors"]): number =>
  Object.values(vectors).reduce((sum, { byteLength }) => sum + byteLength, 0);

/** How many there are, and their bytes, the smallest first, without reading them. */
export const clientStateSizes = (): Promise<number[]> =>
  use(async (db) => {
    const sizes: number[] = [];
    const { store } = db.transaction("clientStates");
    for (let cursor = await store.index("bytes").openKeyCursor(); cursor; cursor = await cursor.continue()) {
      sizes.push(cursor.key);
    }
    return sizes;
  });

/** Forgets all of them, so that rounds begin anew and the shared models play. */
export const deleteClientStates = (): Promise<void> => use((db) => db.clear("clientStates"));
