import type { KeptState } from "../federation/strategies/live";
import type { TaskName } from "../federation/tasks/registry";
import { use } from "./database";
import type { ClientState, Participation } from "./kept";

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

/** Bytes of all vectors of a state together. */
export const bytesOf = ({ vectors, before }: KeptState): number =>
  [...Object.values(vectors), ...Object.values(before?.vectors ?? {})].reduce((sum, one) => sum + one.byteLength, 0);

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

/**
 * Whether a part in a round carries one, or comes to one: in its snapshot, or beside its update. So does what an earlier version of the app
 * has begun, which knew of no strategy: it begins again.
 */
export const hasClientState = ({ assignment }: Participation): boolean => assignment.plan.strategy !== "none";

/** Forgets all of them, with a round under way that would bring one back, so that rounds begin anew and the shared models play. */
export const deleteClientStates = (): Promise<void> =>
  use(async (db) => {
    const transaction = db.transaction(["settings", "clientStates"], "readwrite");
    const settings = transaction.objectStore("settings");
    await transaction.objectStore("clientStates").clear();
    const underWay = (await settings.get("participation")) as Participation | undefined;
    if (underWay && hasClientState(underWay)) await settings.delete("participation");
    await transaction.done;
  });
