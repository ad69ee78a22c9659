import { checkpointKey, differenceKey } from "./env";
import type { UpdatePlaces } from "./placing";
import type { TaskContext } from "./round-driver";

/** Forgets the sums and deletes the updates of a round that has ended, and the checkpoints that the policy lets go. */
export async function clean(context: TaskContext, places: UpdatePlaces, round: number): Promise<void> {
  const { store, env, task } = context;
  await places.clear(round);
  for (const assigned of new Set([round, ...store.updates.assignedRounds(round)])) {
    const pending = store.updates.pendingIds(assigned);
    await deleteAll(env.STORE, `updates/${task}/${assigned}/`, (key) => !pending.has(key.split("/")[3] ?? ""));
  }
  for (const { version, sha256, light, remembered } of store.checkpoints.disposable(Number(env.KEEP_CHECKPOINTS))) {
    const beside = [light, remembered].flatMap((file) => (file ? [checkpointKey(file.sha256)] : []));
    await env.STORE.delete([checkpointKey(sha256), differenceKey(sha256), ...beside]);
    await deleteAll(env.STORE, `moments/${task}/${version}/`, () => true);
    store.checkpoints.setStatus(version, "deleted");
  }
  store.secure.forget(round);
  store.rounds.setCleaned(round);
}

/** Deletes what lies under a prefix and is not wanted any more. */
async function deleteAll(bucket: R2Bucket, prefix: string, isOver: (key: string) => boolean): Promise<void> {
  let cursor: string | undefined;
  do {
    const page = await bucket.list({ prefix, ...(cursor && { cursor }) });
    const keys = page.objects.map(({ key }) => key).filter(isOver);
    if (keys.length > 0) await bucket.delete(keys);
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
}
