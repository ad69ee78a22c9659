import type { IDBPObjectStore } from "idb";
import type { ExampleKind } from "../federation/tasks/task";
import { TASKS, type TaskName } from "../federation/tasks/registry";
import { use, type Schema } from "./database";
import {
  MADE_OF_EXAMPLES,
  type Drawing,
  type Example,
  type ExampleChange,
  type Face,
  type NewExample,
  type Participation,
} from "./kept";
import { sortAnswered, sortTake } from "./labels";

/** Where each kind is kept. The database's types of the two differ in their labels alone. */
const STORES = { face: "faces", drawing: "drawings" } as const satisfies Record<ExampleKind, keyof Schema>;

/** How many train or test. */
async function countUsable(examples: IDBPObjectStore<Schema, ["faces"], "faces", "readwrite">): Promise<number> {
  const bySplit = examples.index("split");
  return (await bySplit.count("train")) + (await bySplit.count("held-out"));
}

/** The examples of one kind that this device keeps. Every method throws StorageError where the browser keeps nothing. */
class ExampleStore<E extends Example> {
  /** Told whenever they change, in this tab or in another. */
  readonly #changes: BroadcastChannel;
  readonly #listeners = new Set<() => void>();
  readonly #name: "faces";

  constructor(private readonly kind: ExampleKind) {
    this.#name = STORES[kind] as "faces";
    this.#changes = new BroadcastChannel(`best-actor-${this.#name}`);
    this.#changes.onmessage = () => this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #changed(): void {
    this.#changes.postMessage(null);
    this.#tell();
  }

  /** Calls `listener` after every change; returns what ends that. */
  onChanged(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** All of them, the newest first. */
  all(): Promise<E[]> {
    return use(async (db) => {
      const found = (await db.getAll(this.#name)) as Example[] as E[];
      return found.sort((a, b) => b.id - a.id);
    });
  }

  /** Keeps a take. @returns it, with what it is for: see labels.ts */
  async add(take: NewExample<E>): Promise<E> {
    const kept = await use(async (db) => {
      const transaction = db.transaction(this.#name, "readwrite");
      const example = sortTake(take, await countUsable(transaction.store));
      const id = await transaction.store.add(example as Face);
      await transaction.done;
      return { ...example, id } as Example as E;
    });
    this.#changed();
    return kept;
  }

  /** Keeps some as they are, except that each gets a new id. Where that fails, none is kept. */
  async addAll(examples: readonly Omit<E, "id">[]): Promise<void> {
    await use(async (db) => {
      const transaction = db.transaction(this.#name, "readwrite");
      await Promise.all([
        ...examples.map((one) => transaction.store.add(one as Omit<Example, "id"> as Face)),
        transaction.done,
      ]);
    });
    this.#changed();
  }

  /** Notes of which a round's update was made. */
  async noteRound(ids: readonly number[], task: TaskName, round: number): Promise<void> {
    await use(async (db) => {
      const transaction = db.transaction(this.#name, "readwrite");
      for (const id of ids) {
        const one = await transaction.store.get(id);
        if (one) await transaction.store.put({ ...one, rounds: [...(one.rounds ?? []), { task, round }] });
      }
      await transaction.done;
    });
    this.#changed();
  }

  /** Says what one shows, or what it is for. @returns it after that; undefined if it is gone */
  async change(id: number, change: ExampleChange<E>): Promise<E | undefined> {
    const changed = await use(async (db) => {
      const transaction = db.transaction(this.#name, "readwrite");
      const before = (await transaction.store.get(id)) as Example | undefined as E | undefined;
      const after = before && sortAnswered(before, change, await countUsable(transaction.store));
      if (after) await transaction.store.put(after as Example as Face);
      await transaction.done;
      return after;
    });
    this.#changed();
    return changed;
  }

  /** Puts a deleted one back as it was. */
  async restore(example: E): Promise<void> {
    await use((db) => db.put(this.#name, example as Example as Face));
    this.#changed();
  }

  /** Deletes one, and what trainings have made of it: an update under way that has it begins again. */
  async delete(id: number): Promise<void> {
    await this.#forget(
      (examples) => examples.delete(id),
      ({ train, heldOut }) => [...train, ...heldOut].includes(id),
    );
  }

  /** Deletes all of them and whatever a training has made of them. */
  async deleteAll(): Promise<void> {
    await this.#forget(
      (examples) => examples.clear(),
      () => true,
    );
  }

  async #forget(
    remove: (examples: IDBPObjectStore<Schema, ["faces", "settings"], "faces", "readwrite">) => Promise<void>,
    isMadeOfThem: (participation: Participation) => boolean,
  ): Promise<void> {
    await use(async (db) => {
      const transaction = db.transaction([this.#name, "settings"], "readwrite");
      const settings = transaction.objectStore("settings");
      await remove(transaction.objectStore(this.#name));
      for (const key of MADE_OF_EXAMPLES) await settings.delete(key);
      const kept = (await settings.get("participation")) as Participation | undefined;
      // Faces and drawings have numbers of their own.
      const isOurs = kept !== undefined && TASKS[kept.assignment.task].examples === this.kind;
      if (isOurs && isMadeOfThem(kept)) await settings.delete("participation");
      await transaction.done;
    });
    this.#changed();
  }
}

export const faceStore = new ExampleStore<Face>("face");
export const drawingStore = new ExampleStore<Drawing>("drawing");

/** Where the examples of a task are kept. */
export const storeOf = (task: TaskName): ExampleStore<Example> =>
  TASKS[task].examples === "face" ? faceStore : drawingStore;
