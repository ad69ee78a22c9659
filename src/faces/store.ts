import type { IDBPObjectStore, StoreNames } from "idb";
import type { ExampleKind } from "../federation/tasks/task";
import { findTask, isBuiltIn, showsExpressions, taskNamed, type TaskName } from "../federation/tasks/registry";
import { hasClientState } from "./client-states";
import { use, type Schema } from "./database";
import {
  CONSENT_KEYS,
  MADE_OF_EXAMPLES,
  SPLITS,
  type Consent,
  type Drawing,
  type Example,
  type ExampleChange,
  type Face,
  type NewExample,
  type Participation,
  type Split,
} from "./kept";
import { sortAnswered, sortTake } from "./labels";

/** Where each kind is kept. The database's types of them differ in their labels alone. */
const STORES = { face: "faces", drawing: "drawings", picture: "pictures" } as const satisfies Record<
  ExampleKind,
  keyof Schema
>;

/** The player does not let us keep a take, or does not any more: another tab may have said so. Nothing was kept. */
export class NoConsentError extends Error {
  override readonly name = "NoConsentError";
}

const USABLE = ["train", "held-out"] as const satisfies Split[];

/** Every key of the index `ofTask` with one split: an array comes after any text. */
const ofAnyTask = (split: Split): IDBKeyRange => IDBKeyRange.bound([split], [split, []]);

const newestFirst = <E extends Example>(examples: readonly Example[]): E[] =>
  (examples as readonly E[]).toSorted((a, b) => b.id - a.id);

/** The examples of one kind that this device keeps for one task, or for all built-in ones of that kind. Every method throws StorageError where the browser keeps nothing. */
class ExampleStore<E extends Example> {
  /** Told whenever they change, in this tab or in another. */
  readonly #changes: BroadcastChannel;
  readonly #listeners = new Set<() => void>();
  readonly #name: "faces";

  /** @param task an added one; without it, the built-in ones and those that tell the same labels apart: see {@link showsExpressions} */
  constructor(
    private readonly kind: ExampleKind,
    private readonly task?: TaskName,
  ) {
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

  /** All of them, the newest first. Those of other tasks are not read. */
  all(): Promise<E[]> {
    return use(async (db) => {
      const { store } = db.transaction(this.#name);
      const { task } = this;
      const index = store.index("ofTask");
      if (task !== undefined) {
        const found = await Promise.all(SPLITS.map((split) => index.getAll([split, task])));
        return newestFirst<E>(found.flat());
      }
      const others = new Set(await index.getAllKeys());
      if (others.size === 0) return newestFirst<E>(await store.getAll());
      const own = (await store.getAllKeys()).filter((id) => !others.has(id));
      return newestFirst<E>((await Promise.all(own.map((id) => store.get(id)))).flatMap((one) => one ?? []));
    });
  }

  /** What is kept of a label's name: that of an added task, as it was said, else as it is now. */
  #named(label: number, said?: string): Pick<Example, "labelName"> {
    const name = this.task === undefined ? undefined : (said ?? findTask(this.task)?.labels[label]);
    return name === undefined ? {} : { labelName: name };
  }

  #has(example: Example): boolean {
    return example.task === this.task;
  }

  /** How many train or test. */
  async #countUsable<Names extends ArrayLike<StoreNames<Schema>>>(
    examples: IDBPObjectStore<Schema, Names, "faces", "readwrite">,
  ): Promise<number> {
    const { task } = this;
    const index = examples.index("ofTask");
    const counts = USABLE.map(async (split) =>
      task === undefined
        ? (await examples.index("split").count(split)) - (await index.count(ofAnyTask(split)))
        : index.count([split, task]),
    );
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  /**
   * Keeps a take, in one transaction with the question whether the player still lets us.
   * @returns it, with what it is for: see labels.ts
   * @throws NoConsentError
   */
  async add({ labelName, ...take }: NewExample<E>): Promise<E> {
    const kept = await use(async (db) => {
      const transaction = db.transaction([this.#name, "settings"], "readwrite");
      const consent = await transaction.objectStore("settings").get(CONSENT_KEYS[this.kind]);
      if ((consent as Consent | undefined)?.given !== true) return undefined;
      const examples = transaction.objectStore(this.#name);
      const example = {
        ...sortTake(take, await this.#countUsable(examples)),
        ...(this.task !== undefined && { task: this.task }),
        ...this.#named(take.prompted, labelName),
      };
      const id = await examples.add(example as Face);
      await transaction.done;
      return { ...example, id } as Example as E;
    });
    if (!kept) throw new NoConsentError("There is no consent to keep this on this device.");
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
      const after = before && {
        ...sortAnswered(before, change, await this.#countUsable(transaction.store)),
        // Another label is one of those that the task has now; who only confirms what is kept does so by the name that it has.
        ...(change.label !== undefined &&
          this.#named(change.label, change.label === before.label ? before.labelName : undefined)),
      };
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
      async (examples) => {
        for (const one of await examples.getAll()) if (this.#has(one)) await examples.delete(one.id);
      },
      () => true,
    );
  }

  /** Whether a task learns from what is kept here; one that nobody here has heard of any more has its own by name. */
  #isOf(task: TaskName): boolean {
    return this.task === undefined ? findTask(task) !== undefined && storeOf(task) === this : this.task === task;
  }

  async #forget(
    remove: (
      examples: IDBPObjectStore<Schema, ("faces" | "settings" | "clientStates")[], "faces", "readwrite">,
    ) => Promise<void>,
    isMadeOfThem: (participation: Participation) => boolean,
  ): Promise<void> {
    await use(async (db) => {
      const transaction = db.transaction([this.#name, "settings", "clientStates"], "readwrite");
      const settings = transaction.objectStore("settings");
      await remove(transaction.objectStore(this.#name));
      for (const key of MADE_OF_EXAMPLES) await settings.delete(key);
      await transaction.objectStore("clientStates").clear();
      const kept = (await settings.get("participation")) as Participation | undefined;
      // The examples of each kind have numbers of their own.
      const isOurs = kept !== undefined && this.#isOf(kept.assignment.task);
      // What a strategy keeps was made of all examples before: a round under way must not put it back.
      if (kept && ((isOurs && isMadeOfThem(kept)) || hasClientState(kept))) await settings.delete("participation");
      await transaction.done;
    });
    this.#changed();
  }
}

/** Of the faces that show expressions. */
export const faceStore = new ExampleStore<Face>("face");
export const drawingStore = new ExampleStore<Drawing>("drawing");

/** Of each added task that was asked for, by kind and name. */
const ofAdded = new Map<string, ExampleStore<Example>>();

/** Where the examples of a task are kept. @throws UnknownTaskError */
export function storeOf(task: TaskName): ExampleStore<Example> {
  const description = taskNamed(task);
  const isShared = isBuiltIn(task) || showsExpressions(description);
  return storeOfKind(description.examples, isShared ? undefined : task);
}

/** The same of a task that need not be known here any more. @param task as in {@link Example.task} */
export function storeOfKind(kind: ExampleKind, task: TaskName | undefined): ExampleStore<Example> {
  if (kind === "face" && task === undefined) return faceStore;
  if (kind === "drawing" && task === undefined) return drawingStore;
  const key = `${kind}/${task ?? ""}`;
  const store = ofAdded.get(key) ?? new ExampleStore<Example>(kind, task);
  ofAdded.set(key, store);
  return store;
}

/** How many of a kind are kept of each task, known here or not, without reading them; of what all of the built-in ones share first. */
export const countsOf = (kind: ExampleKind): Promise<{ task: TaskName | undefined; count: number }[]> =>
  use(async (db) => {
    const { store } = db.transaction(STORES[kind] as "faces");
    const index = store.index("ofTask");
    const counts = new Map<TaskName | undefined, number>([[undefined, await store.count()]]);
    for (let cursor = await index.openKeyCursor(null, "nextunique"); cursor; cursor = await cursor.continue()) {
      const [, task] = cursor.key;
      const count = await index.count(cursor.key);
      counts.set(task, (counts.get(task) ?? 0) + count);
      counts.set(undefined, (counts.get(undefined) ?? 0) - count);
    }
    return [...counts].flatMap(([task, count]) => (count > 0 ? [{ task, count }] : []));
  });

/** Calls `listener` whenever examples of any kind and task change, in this tab or in another; returns what ends that. */
export function onAnyChange(listener: () => void): () => void {
  const channels = Object.values(STORES).map((name) => {
    const channel = new BroadcastChannel(`best-actor-${name}`);
    channel.onmessage = () => listener();
    return channel;
  });
  return () => channels.forEach((channel) => channel.close());
}

/** All examples of a kind on this device, whatever task they belong to. @throws StorageError */
export const allOf = (kind: ExampleKind): Promise<Example[]> =>
  use((db) => db.getAll(STORES[kind] as "faces") as Promise<Example[]>);
