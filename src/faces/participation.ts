import type { IDBPObjectStore } from "idb";
import { keptAfter } from "../federation/strategies/live";
import { bytesOf, deleteClientStates } from "./client-states";
import { use, type Schema } from "./database";
import { MADE_OF_EXAMPLES, type Participation, type Settings } from "./kept";
import { deleteSetting } from "./settings";

/** The part in a round was forgotten, here or in another tab, while something of it was still on its way. */
export class ForgottenError extends Error {
  override readonly name = "ForgottenError";
}

/** Whether an error is that, also one that has come through a worker. */
export const isForgotten = (error: unknown): boolean => error instanceof Error && error.name === "ForgottenError";

/**
 * Changes what is kept of the part in a round, in one transaction with the question whether it still is: what is late can bring
 * nothing back.
 * @param allowed looks at what is kept
 * @throws ForgottenError where it is not allowed, StorageError
 */
async function changeParticipation(
  allowed: (settings: SettingsStore) => Promise<boolean>,
  change: (settings: SettingsStore, states: StatesStore) => Promise<void>,
): Promise<void> {
  const isDone = await use(async (db) => {
    const transaction = db.transaction(["settings", "clientStates"], "readwrite");
    const settings = transaction.objectStore("settings");
    const may = await allowed(settings);
    if (may) await change(settings, transaction.objectStore("clientStates"));
    await transaction.done;
    return may;
  });
  if (!isDone) throw new ForgottenError("This device no longer takes part in that round.");
}
type SettingsStore = IDBPObjectStore<Schema, ("settings" | "clientStates")[], "settings", "readwrite">;
type StatesStore = IDBPObjectStore<Schema, ("settings" | "clientStates")[], "clientStates", "readwrite">;

const isKept =
  ({ assignment }: Participation) =>
  async (settings: SettingsStore): Promise<boolean> =>
    ((await settings.get("participation")) as Participation | undefined)?.assignment.id === assignment.id;

async function put(settings: SettingsStore, participation: Participation): Promise<void> {
  await settings.put(participation, "participation");
}

/** Begins the part in a round, unless the player has left. @throws ForgottenError, StorageError */
export const beginParticipation = (participation: Participation): Promise<void> =>
  changeParticipation(
    async (settings) => (await settings.get("takingPart")) === true,
    (settings) => put(settings, participation),
  );

/** Keeps how far the part in a round has come. @throws ForgottenError where it is not kept any more, StorageError */
export const keepParticipation = (participation: Participation): Promise<void> =>
  changeParticipation(isKept(participation), (settings) => put(settings, participation));

/**
 * Ends the part in a round.
 * @param accepted the edge has the update: what the training leaves on the device is for the next one
 * @throws ForgottenError where it is not kept any more: then nothing of it is left. StorageError
 */
export const endParticipation = (participation: Participation, accepted = false): Promise<void> =>
  changeParticipation(isKept(participation), async (settings, states) => {
    const { assignment, localNorms, kept, residual } = participation;
    await settings.delete("participation");
    if (!accepted) return;
    const { task, round, remembered } = assignment;
    // As with batch normalization: where the last round shared all of the model, nothing of an earlier one's is worth keeping.
    if (kept) {
      const state = keptAfter({ ...kept, task, round }, await states.get(task), remembered?.rounds);
      await states.put({ ...state, at: Date.now(), bytes: bytesOf(state) });
    } else await states.delete(task);
    const { [assignment.task]: _, ...others } = ((await settings.get("localNorms")) ?? {}) as Settings["localNorms"];
    await settings.put(localNorms ? { ...others, [assignment.task]: localNorms } : others, "localNorms");
    if (!residual) return;
    const residuals = ((await settings.get("residuals")) ?? {}) as Settings["residuals"];
    await settings.put({ ...residuals, [assignment.task]: residual }, "residuals");
  });

/** Leaves: nothing of the part in a round is kept. @throws StorageError */
export async function forgetParticipation(): Promise<void> {
  await use(async (db) => {
    const transaction = db.transaction("settings", "readwrite");
    for (const key of ["takingPart", "participation"]) await transaction.store.delete(key);
    await transaction.done;
  });
}

/** Consent is taken back: of the faces that are kept, nothing that a training made stays. @throws StorageError */
export async function forgetTrainings(): Promise<void> {
  await forgetParticipation();
  await deleteClientStates();
  for (const key of MADE_OF_EXAMPLES) await deleteSetting(key);
}
