import { deleteDB, openDB, type IDBPDatabase } from "idb";
import type { Layout } from "./layout";
import { isSuited, type Abilities, type Tiles } from "./tiles";

/**
 * Tiles that were fastest on this device's GPU, kept for the next visit. They say nothing of a player; where they cannot be kept, or fit
 * no longer, a model's first step finds them anew.
 */

const NAME = "best-actor-tiles";
const STORE = "tiles";
/** Entries that are kept: a GPU or two with a handful of models each. With one more, all that were kept go. */
const MOST = 64;

/** A GPU with what it can do, and a network's convolutions, in words. */
export const tilesKey = (
  { vendor, architecture, device, description }: Omit<GPUAdapterInfo, "__brand">,
  { convs }: Layout,
  { halves, quads }: Abilities,
): string =>
  [
    ...[vendor, architecture, device, description],
    `${halves ? "f16" : ""} ${quads ? "subgroups" : ""}`,
    ...convs.map(({ H, W, I, O, S, pad }) => [H, W, I, O, S, pad].join(" ")),
  ].join("/");

/** @returns null where there are none for these convolutions, or none that this version of the kernels could choose */
export async function readTiles(key: string, layout: Layout, can: Abilities): Promise<Tiles | null> {
  return use(async (db) => {
    const kept: unknown = await db.get(STORE, key);
    return isSuited(kept, layout, can) ? kept : null;
  });
}

export async function keepTiles(key: string, tiles: Tiles): Promise<void> {
  await use(async (db) => {
    if ((await db.count(STORE)) >= MOST) await db.clear(STORE);
    await db.put(STORE, tiles, key);
    return null;
  });
}

/** Deletes all that were kept. */
export const forgetTiles = (): Promise<void> => deleteDB(NAME);

/** @returns null in a browser that keeps nothing: tiles are found in half a second */
async function use<T>(action: (db: IDBPDatabase) => Promise<T | null>): Promise<T | null> {
  let db: IDBPDatabase | undefined;
  try {
    db = await openDB(NAME, 1, {
      upgrade: (created) => void created.createObjectStore(STORE),
    });
    return await action(db);
  } catch {
    return null;
  } finally {
    db?.close();
  }
}
