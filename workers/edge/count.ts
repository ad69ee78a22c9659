import type { Coordinator } from "./coordinator";
import { hubOf, type Env, type UpdateMessage } from "./env";

/** Tries to hand an update to a hub before another hub gets it. */
const HUB_ATTEMPTS = 3;

const coordinatorOf = ({ COORDINATOR }: Env, task: string): DurableObjectStub<Coordinator> =>
  COORDINATOR.get(COORDINATOR.idFromName(task));

/**
 * Has an accepted update added to its round's sum, and counted: once, however often it is asked to.
 * @param numbers the update's, where they are still at hand
 * @param attempts how often this has been tried, this time included
 */
export async function count(
  env: Env,
  { task, id }: UpdateMessage,
  { numbers, attempts }: { numbers: ArrayBuffer | null; attempts: number },
): Promise<void> {
  const stub = coordinatorOf(env, task);
  const place = await stub.shardOf(id);
  if (!place) return;
  const shard = place.hub
    ? hubOf(env, task, place.round, place.shard)
    : env.AGGREGATOR.get(env.AGGREGATOR.idFromName(place.shard));
  try {
    await shard.add(place.update, numbers);
  } catch (error) {
    if (place.hub && attempts >= HUB_ATTEMPTS) await stub.hubGone(place.round, place.shard);
    throw error;
  }
  await stub.counted(id, place.shard);
}

/** Has an update added right after its upload. Where that fails the queue tries again, and where that is not told, the Coordinator's alarm. */
export async function countNow(env: Env, message: UpdateMessage, numbers: ArrayBuffer | null): Promise<void> {
  try {
    await count(env, message, { numbers, attempts: 1 });
  } catch (error) {
    console.error(`Update ${message.id} goes through the queue:`, error);
    await env.UPDATES.send(message);
  }
}
