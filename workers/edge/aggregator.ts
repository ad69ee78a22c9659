import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import { WeightedSum } from "../../src/core/fedavg";
import type { ModelSummary } from "../../src/core/model";
import { taskNameSchema } from "../../src/core/protocol";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint";
import { decodeSafetensors } from "../../src/core/safetensors";
import { checkpointKey, type Env } from "./env";
import { sha256Hex } from "./digest";
import { modelOf } from "./upload";

/** Numbers in one part of a partial sum that travels between aggregators: 8 MB of float64. */
const PART = 1_000_000;

/** Where an accepted update lies and what it weighs. */
export interface UpdateLocation {
  id: string;
  key: string;
  examples: number;
}

/**
 * One shard of one round: `sum n_k * delta_k` over the updates it was given. SQLite lists those updates; the sum in
 * memory is a cache that is built again from R2 when the object was evicted or killed. Updates are added one at a time.
 */
export class Aggregator extends DurableObject<Env> {
  #sum: WeightedSum | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #model: ModelSummary;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // Its name is the task's, the round's and the shard's.
    this.#model = modelOf(v.parse(taskNameSchema, ctx.id.name?.split("/")[0]));
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS added (id TEXT PRIMARY KEY, key TEXT NOT NULL, examples INTEGER NOT NULL)",
    );
  }

  /** Adds an update once, however often it is asked to. */
  add(update: UpdateLocation): Promise<void> {
    return this.#next(async () => {
      const sum = await this.#load();
      const known = this.ctx.storage.sql.exec("SELECT 1 FROM added WHERE id = ?", update.id).toArray();
      if (known.length > 0) return;
      const delta = await this.#delta(update.key);
      sum.add(delta, update.examples);
      this.ctx.storage.sql.exec("INSERT INTO added VALUES (?, ?, ?)", update.id, update.key, update.examples);
    });
  }

  /** How many updates and examples the sum holds. */
  totals(): Promise<{ count: number; examples: number }> {
    return this.#next(async () => {
      const { count, examples } = await this.#load();
      return { count, examples };
    });
  }

  /** The float64 numbers of the sum from `start` on, at most {@link PART} of them. */
  part(start: number): Promise<Float64Array> {
    return this.#next(async () => (await this.#load()).sum.slice(start, start + PART));
  }

  /**
   * Adds the other shards' sums to this one's, applies the mean to the base checkpoint, and stores the result.
   * @param expected what the Coordinator counted; a sum of anything else is not published.
   */
  merge(
    shards: string[],
    base: string,
    expected: { count: number; examples: number },
    metadata: Record<string, string>,
  ): Promise<{ sha256: string; bytes: number }> {
    return this.#next(async () => {
      const total = await this.#load();
      // From here on it holds other shards' updates too: a second try starts from R2.
      this.#sum = undefined;
      for (const name of shards) {
        const shard = this.env.AGGREGATOR.get(this.env.AGGREGATOR.idFromName(name));
        for (let start = 0; start < total.length; start += PART) total.addPart(start, await shard.part(start));
        total.addTotals(await shard.totals());
      }
      if (total.count !== expected.count || total.examples !== expected.examples) {
        throw new Error(
          `The shards hold ${total.count} updates of ${total.examples} examples; ` +
            `${expected.count} of ${expected.examples} were counted.`,
        );
      }
      const weights = decodeCheckpoint(await this.#read(checkpointKey(base)), this.#model);
      total.applyTo(weights);
      const file = encodeCheckpoint(this.#model, weights, metadata, "float32");
      const sha256 = await sha256Hex(file);
      await this.env.STORE.put(checkpointKey(sha256), file, { sha256 });
      return { sha256, bytes: file.length };
    });
  }

  /** Forgets everything, once the round has ended. */
  clear(): Promise<void> {
    return this.#next(() => {
      this.#sum = undefined;
      this.ctx.storage.sql.exec("DELETE FROM added");
    });
  }

  /** Runs one piece of work after the other, so that no two hold an update in memory at once. */
  #next<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #load(): Promise<WeightedSum> {
    if (this.#sum) return this.#sum;
    const sum = new WeightedSum(this.#model.parameters);
    const rows = this.ctx.storage.sql.exec<{ key: string; examples: number }>("SELECT key, examples FROM added");
    for (const { key, examples } of rows.toArray()) sum.add(await this.#delta(key), examples);
    this.#sum = sum;
    return sum;
  }

  async #delta(key: string): Promise<Float32Array> {
    return decodeSafetensors(await this.#read(key), this.#model.tensors).data;
  }

  async #read(key: string): Promise<Uint8Array<ArrayBuffer>> {
    const object = await this.env.STORE.get(key);
    if (!object) throw new Error(`${key} is not in the store.`);
    return new Uint8Array(await object.arrayBuffer());
  }
}
