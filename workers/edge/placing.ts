import { localSteps } from "../../src/federation/aggregation/fednova";
import { isRobust } from "../../src/federation/aggregation/registry";
import { clipOf, factorOf } from "../../src/federation/round/bounds";
import { linearWeight } from "../../src/federation/aggregation/weights";
import {
  shardsFor,
  type Aggregator,
  type ComparedUpdate,
  type UpdateLocation,
  type WeightedUpdate,
} from "./aggregator";
import { hubOf, updateKey } from "./env";
import { log } from "./log";
import { newHub, type RoundDriver, type TaskContext } from "./round-driver";
import type { SecureRounds } from "./secure-rounds";
import type { RoundRow } from "./store/rounds";
import type { UpdateRow } from "./store/updates";
import { modelOf } from "./upload";

/** An accepted update that is not counted after this long is put in the queue again. */
export const REQUEUE_MS = 5_000;

/**
 * Bytes of updates that are read a second time to be held against their average: 19 of the seed CNN, 304 of the compact one. A merge
 * takes 70 ms longer for each of the seed's, measured with workerd on a machine of two cores.
 */
const MEASURED_BYTES = 400_000_000;

/** Where an update is added: by a hub of the round, or by an Aggregator of this name. */
export interface UpdatePlace {
  hub: boolean;
  round: number;
  shard: string;
  update: WeightedUpdate;
}

/** Where the accepted updates of the open round are added, until each is counted once. */
export class UpdatePlaces {
  constructor(
    private readonly context: TaskContext,
    private readonly driver: RoundDriver,
    private readonly secure: SecureRounds,
  ) {}

  /**
   * The shard that adds an update, the least loaded one when it is first asked for; null when no shard has to: the update counts no more,
   * or its round's rule needs all updates at once.
   */
  async placeOf(id: string): Promise<UpdatePlace | null> {
    const { store, env } = this.context;
    const update = store.updates.get(id);
    const open = store.rounds.open();
    if (!update?.digest || update.round !== open?.number || update.state !== "uploaded") return null;
    if (isRobust(open.config)) {
      const object = await env.STORE.head(this.#keyOf(update));
      if (!object) throw new Error(`${this.#keyOf(update)} is not in the store.`);
      this.counted(id, null);
      return null;
    }
    const hub = open.config.topology === "gossip";
    const shard = update.shard ?? this.#leastLoaded(update, hub);
    const place = { hub, round: update.round, shard: this.#placeName(update.round, shard) };
    if (open.config.secure) {
      const weights = { examples: 0, weight: 1, denominator: 0, vector: this.secure.ring(open).length };
      return { ...place, update: { ...this.#locate(update), ...weights } };
    }
    if (!update.metadata) return null;
    const { examples, initialLoss = null, steps = localSteps(examples, open.config) } = update.metadata;
    const facts = { examples, steps, norm: update.norm ?? 0, initialLoss, staleness: update.staleness };
    const clip = clipOf(open.config, store.checkpoints.normOf(update.base));
    return {
      ...place,
      update: { ...this.#locate(update), examples, ...linearWeight(facts, open.config, clip), vector: 0 },
    };
  }

  /** A shard has added this update; null where the rule needs no shard. */
  counted(id: string, shard: string | null): void {
    const { store, storage } = this.context;
    storage.transactionSync(() => {
      const member = store.updates.get(id);
      if (!member) return;
      // Taken away from that shard in the meantime: another one has still to add it.
      if (shard !== (member.shard === null ? null : this.#placeName(member.round, member.shard))) return;
      this.driver.send({ type: "counted", member }, Date.now());
    });
  }

  /** Every counted update of a round, for a rule that compares them. */
  compared({ number, config }: RoundRow): ComparedUpdate[] {
    const { store } = this.context;
    return store.updates.counted(number).map((update) => ({
      ...this.#locate(update),
      factor: factorOf(update.norm ?? 0, clipOf(config, store.checkpoints.normOf(update.base))),
    }));
  }

  /**
   * Every counted update of a round, for a server that divides each by the steps that its client has taken. How many those were follows from
   * its examples, which are its word: it has taken an epoch's single step at least.
   */
  perStep({ number, config }: Pick<RoundRow, "number" | "config">): ComparedUpdate[] {
    const { store } = this.context;
    return store.updates.counted(number).map((update) => ({
      ...this.#locate(update),
      factor:
        factorOf(update.norm ?? 0, clipOf(config, store.checkpoints.normOf(update.base))) /
        (update.metadata?.steps ?? config.epochs),
    }));
  }

  /**
   * The counted updates whose cosine to the average is told: all of them, or of very many so many as can be read in some seconds. Which
   * those are says their ids, which are random and given by the edge: nobody can see to it that nobody looks.
   */
  measured(round: number): UpdateLocation[] {
    const { store, task } = this.context;
    const most = Math.floor(MEASURED_BYTES / (4 * modelOf(task).parameters));
    const updates = store.updates.counted(round).map((update) => this.#locate(update));
    return updates.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, most);
  }

  /** The mean of the squared norms of what is stepped of a round's counted updates, clipped and averaged as the updates are. */
  meanSquare({ number, config }: Pick<RoundRow, "number" | "config">): number {
    const { store } = this.context;
    let [sum, total] = [0, 0];
    for (const { norm, base, metadata } of store.updates.counted(number)) {
      const own = norm ?? 0;
      const weight = isRobust(config) ? 1 : (metadata?.examples ?? 0);
      const factor = factorOf(own, clipOf(config, store.checkpoints.normOf(base)));
      sum += weight * ((metadata?.stepNorm ?? own) * factor) ** 2;
      total += weight;
    }
    return total === 0 ? 0 : sum / total;
  }

  /** The Aggregators that hold a round's sum. */
  shardsOf(round: number): string[] {
    return [...this.context.store.updates.shardLoads(round).keys()].map((shard) => this.#shardName(round, shard));
  }

  aggregator(name: string): DurableObjectStub<Aggregator> {
    const { AGGREGATOR } = this.context.env;
    return AGGREGATOR.get(AGGREGATOR.idFromName(name));
  }

  /** Puts updates into the queue again that have waited for too long. */
  async requeue(round: number, now: number): Promise<void> {
    const { store, env, task } = this.context;
    for (const id of store.updates.uncounted(round, now - REQUEUE_MS)) {
      await env.UPDATES.send({ task, id });
      store.updates.setQueued(id, now);
    }
  }

  /** Deletes what is left of updates that were taken out of a round. */
  async removeWithdrawn(round: number): Promise<void> {
    const { store, env, task } = this.context;
    for (const update of store.updates.withdrawn(round)) {
      if (update.shard !== null) {
        const hub = store.rounds.hubs(round)[update.shard];
        const place = hub ? hubOf(env, task, round, hub.name) : this.aggregator(this.#shardName(round, update.shard));
        await place.remove(update.id);
      }
      await env.STORE.delete(this.#keyOf(update));
      store.updates.forget(update.id);
    }
  }

  /** Gives a hub of the open round up: the others get its updates, and begin again without it. @returns whether it was one */
  hubGone(round: number, name: string): boolean {
    const { store, storage, task } = this.context;
    return storage.transactionSync(() => {
      const hubs = store.rounds.hubs(round);
      const shard = hubs.findIndex((hub) => hub.name === name && hub.state !== "gone");
      if (store.rounds.open()?.number !== round || shard < 0) return false;
      hubs[shard] = { ...newHub(name), state: "gone" };
      store.rounds.setHubs(round, hubs);
      const now = Date.now();
      this.driver.send({ type: "uncounted", members: store.updates.countedBy(round, shard) }, now, round);
      store.updates.unassignShard(round, shard, now - REQUEUE_MS);
      log("hub-gone", { task, round, hub: name });
      return true;
    });
  }

  /** Forgets the sums of a round. */
  async clear(round: number): Promise<void> {
    const { store, env, task } = this.context;
    const hubs = store.rounds.hubs(round);
    for (const hub of hubs) {
      const cleared = hubOf(env, task, round, hub.name).clear();
      // One that is gone may never answer again.
      await (hub.state === "gone" ? cleared.catch(() => undefined) : cleared);
    }
    if (hubs.length > 0) return;
    for (const name of [mergeName(task, round), ...this.shardsOf(round)]) await this.aggregator(name).clear();
  }

  /** The least loaded shard of a round, which has this update from now on. */
  #leastLoaded({ id, round }: UpdateRow, hub: boolean): number {
    const { store, env, task } = this.context;
    const loads = store.updates.shardLoads(round);
    const shards = hub
      ? store.rounds.hubs(round).flatMap(({ state }, i) => (state === "gone" ? [] : [i]))
      : Array.from({ length: shardsFor(Number(env.AGGREGATOR_SHARDS), modelOf(task)) }, (_, i) => i);
    if (shards.length === 0) throw new Error("No hub of the round answers.");
    const shard = shards.reduce((best, i) => ((loads.get(i) ?? 0) < (loads.get(best) ?? 0) ? i : best));
    store.updates.setShard(id, shard);
    return shard;
  }

  #locate(update: UpdateRow): UpdateLocation {
    return { id: update.id, key: this.#keyOf(update) };
  }

  #keyOf({ assignedRound, id, digest }: UpdateRow): string {
    return updateKey(this.context.task, assignedRound, id, digest ?? "");
  }

  /** What a shard of a round is called: the name of a hub, or that of an Aggregator. */
  #placeName(round: number, shard: number): string {
    return this.context.store.rounds.hubs(round)[shard]?.name ?? this.#shardName(round, shard);
  }

  #shardName(round: number, shard: number): string {
    return `${this.context.task}/${round}/${shard}`;
  }
}

/** The Aggregator that merges a round's shards. */
export const mergeName = (task: string, round: number): string => `${task}/${round}/merge`;
