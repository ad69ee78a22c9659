import { use } from "./database";
import type { Take } from "./kept";

/** Notes a take. @throws StorageError */
export const addTake = (take: Omit<Take, "id">): Promise<number> => use((db) => db.add("takes", take as Take));

/** Every take, the oldest first. @throws StorageError */
export const allTakes = (): Promise<Take[]> => use((db) => db.getAll("takes"));

/** Forgets every take. @throws StorageError */
export const deleteAllTakes = (): Promise<void> => use((db) => db.clear("takes"));
