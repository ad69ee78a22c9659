import { use } from "./database";
import type { Settings } from "./kept";

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
