import { EXAMPLE_KINDS, type ExampleKind } from "../federation/tasks/task";
import { findTask, type TaskName } from "../federation/tasks/registry";
import { CONSENTS } from "../faces/consent.svelte";
import { destroyDatabase } from "../faces/database";
import { forgetTrainings } from "../faces/participation";
import { getSetting } from "../faces/settings";
import { destroyLabDatabase } from "../lab/store";
import { forgetTiles } from "../../workers/tf/webgpu/kept-tiles";
import { CHECKPOINT_CACHE } from "../client/checkpoints";
import { clientOf } from "../client/edge";
import { participant } from "./participant.svelte";
import { sent } from "../client/sent.svelte";

/** What became of the last update when consent was withdrawn. */
export type Withdrawn = "nothing-sent" | "withdrawn" | "too-late";

/**
 * Takes consent back to keep faces, drawings or pictures: the training stops, what is left of them in residuals is erased, and an update
 * of which no mean has been made yet is deleted at the edge.
 * @throws StorageError, EdgeAwayError: what is on this device is erased by then
 */
export async function withdrawConsent(kind: ExampleKind): Promise<Withdrawn> {
  await CONSENTS[kind].set(false);
  // The edge may have the update of a round under way without having said so yet.
  const underWay = await getSetting("participation");
  await participant.leave();
  await forgetTrainings();
  await sent.loaded;
  const isMadeOfThem = ({ task }: { task: TaskName }): boolean => findTask(task)?.examples === kind;
  const sending = underWay?.update && { ...underWay.assignment, key: underWay.key };
  const update = [sending, sent.lastUpdate].find((one) => one && isMadeOfThem(one));
  return update ? clientOf().withdrawUpdate(update, update.key) : "nothing-sent";
}

/** Erases everything that this site keeps on this device, and takes the last update back where that is still possible. */
export async function eraseAll(): Promise<void> {
  // Without the edge the update stays where it is until its round ends; the device is erased all the same.
  for (const kind of EXAMPLE_KINDS) await withdrawConsent(kind).catch(() => undefined);
  await destroyDatabase();
  await destroyLabDatabase();
  await forgetTiles();
  await caches.delete(CHECKPOINT_CACHE);
  localStorage.clear();
  sessionStorage.clear();
}
