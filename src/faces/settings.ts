import { use } from "./database";
import type { Settings } from "./kept";
import { sizeOf } from "../base/size";

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
