import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import { checkpointPieces, decodeCheckpoint } from "../../src/model/checkpoint";
import { encodeDifference, quantizeStep } from "../../src/federation/difference";
import { Cosines } from "../../src/federation/cosines";
import { WeightedSum, type Totals } from "../../src/federation/fedavg";
import { gzip } from "../../src/base/gzip";
import type { ModelSummary, TensorSpec } from "../../src/model/model";
import { isRobust, linearOf, type Aggregation } from "../../src/federation/aggregation/registry";
import { robustAverage, type BlockAverage } from "../../src/federation/aggregation/robust-average";
import { shrinkage } from "../../src/federation/aggregation/weights";
import type { DifferenceCodec } from "../../src/federation/codecs/registry";
import { taskNameSchema, type RoundConfig } from "../../src/federation/protocol";
import type { TaskName } from "../../src/federation/tasks/registry";
import { fromRing, RingSum, type Ring, type RingFacts } from "../../src/federation/secagg/ring";
import { base64ToUint8Array, uint8ArrayToHex } from "uint8array-extras";
import { addMask } from "../../src/federation/secagg/secrets";
import type { Correction } from "../../src/federation/secagg/server";
import { checkWeights } from "../../src/federation/plausible";
import { normOf } from "../../src/federation/privacy/clip";
import { toMean } from "../../src/federation/privacy/mechanism";
import { isKept, type Kept, type NoiseRule } from "../../src/federation/round/rule";
import { serverRuleOf, type ServerPlan } from "../../src/federation/strategies/server-step";
import { initialMoments, type ServerMoments } from "../../src/federation/server-optimizers/optimizer";
import { optimizerRule, type ServerOptimizer } from "../../src/federation/server-optimizers/registry";
import { BLOCK, stepModel } from "../../src/federation/server-optimizers/step-model";
import { knowTask } from "./catalogue";
import { checkpointKey, differenceKey, momentsKey, residualKey, type Env } from "./env";
import { nameOf } from "./identity";
import { log } from "./log";
import { modelOf } from "./upload";

/** Numbers that travel between two aggregators at once: 1 MB of float64. */
const PART = 1 << 17;
/** Bytes of updates that a robust aggregation holds at once. */
const ROBUST_BYTES = 32_000_000;
/** Bytes of an update that are read from R2 at once. */
const CHUNK = 1 << 20;

/** Bytes of sums that one round may have. Objects of a class may share an isolate, which holds 128 MB and has a merge to make as well. */
const MOST_SUMS = 50_000_000;

/** How many shards share a round's updates. @param wanted by the operator: of a large model, fewer fit together */
export const shardsFor = (wanted: number, { parameters }: Pick<ModelSummary, "parameters">): number =>
  Math.max(1, Math.min(Math.floor(wanted) || 1, Math.floor(MOST_SUMS / (8 * parameters))));

/** Where an accepted update lies. */
export interface UpdateLocation {
  id: string;
  key: string;
}

/** An update that a robust rule compares with the others, and what it is multiplied by to keep the round's clip. */
export interface ComparedUpdate extends UpdateLocation {
  factor: number;
}

/** An update and what it brings to the sum. */
export interface WeightedUpdate extends UpdateLocation {
  examples: number;
  weight: number;
  denominator: number;
  /** Numbers of a masked vector, which is summed modulo 2^32; 0 of a plain delta. */
  vector: number;
}

/** A checkpoint that lies in the store, and the bytes of the difference to it where there is one. */
export interface PublishedFile {
  sha256: string;
  bytes: number;
  /** L2 norm of its weights. */
  norm: number;
  /** The same weights in int8. */
  light: { sha256: string; bytes: number };
  differenceBytes?: number;
  /** Of a round with secure aggregation: what its vectors held beside their deltas. */
  facts?: RingFacts;
  /** Of the updates that were measured: the cosine to their average. */
  cosines?: MeasuredUpdate[];
  /** What a strategy's server remembers now, where clients are told it: a file as a checkpoint's, under an address of its own. */
  remembered?: StoredFile;
}

export interface StoredFile {
  sha256: string;
  bytes: number;
}

/** A part of a file that is read when its turn comes. */
interface Piece {
  /** Bytes. */
  length: number;
  read: () => Promise<Uint8Array>;
}

/** An update's cosine to the average of its round; null where it has none. */
export interface MeasuredUpdate {
  id: string;
  cosine: number | null;
}

/** A strategy's server, as it stands before a round. */
export interface StrategyServer extends ServerPlan {
  name: string;
  /** Whether it remembers something already. */
  isBegun: boolean;
  /** Whether clients are told that. */
  isTold: boolean;
  /** Where it sees each update: all of them, each with what its numbers are multiplied by, its clip divided by its steps. */
  perStep: ComparedUpdate[];
}

/** How a round's updates become the next checkpoint. */
export interface MergePlan {
  aggregation: Aggregation;
  /** f of the robust rules. */
  byzantine: number;
  optimizer: ServerOptimizer;
  /** How a strategy's server steps, in the optimizer's place; null where none does. */
  server: StrategyServer | null;
  /** The mean of the updates' squared norms, averaged as the updates are; 0 where nobody asks for it. */
  meanSquare: number;
  /** Examples that the base counts as in the average. */
  prior: number;
  /** What stays as it is in the base. */
  kept: Kept;
  downloadCodec: RoundConfig["downloadCodec"];
  /** DP-FedAvg: what the sum is divided by, and the standard deviation of the noise on the average. */
  privacy: NoiseRule | null;
  /** Secure aggregation: the ring, and what takes the masks off the sum. */
  secure: { ring: Ring; corrections: Correction[]; rotation: number } | null;
  base: { sha256: string; version: number };
  version: number;
  /** The shards that hold a sum; none for a robust rule. */
  shards: string[];
  /** Every counted update, for the robust rules. */
  updates: ComparedUpdate[];
  /** Those whose cosine to the average is told: none where the round hides what single clients sent. */
  measured: UpdateLocation[];
  /** What the Coordinator counted; a sum of anything else is not published. */
  expected: { count: number; examples: number };
  metadata: Record<string, string>;
}

/**
 * One shard of one round: `sum_k weight_k * delta_k` over the updates it was given. SQLite lists those updates; the sum in
 * memory is a cache that is built again from R2 when the object was evicted or killed. Updates are added one at a time, and
 * read in pieces: beside its sum (41 MB for the seed CNN) a shard holds one megabyte.
 *
 * The object that merges holds the next checkpoint (20 MB) and one block of everything else at a time.
 */
export class Aggregator extends DurableObject<Env> {
  #sum: WeightedSum | RingSum | undefined;
  #isCleared = false;
  #turn: Promise<unknown> = Promise.resolve();
  protected readonly task: TaskName;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // Its name is the task's, the round's and the shard's.
    this.task = v.parse(taskNameSchema, nameOf(ctx).split("/")[0]);
    this.createTables();
    void ctx.blockConcurrencyWhile(() => knowTask(env, this.task));
  }

  protected get model(): ModelSummary {
    return modelOf(this.task);
  }

  /**
   * Adds an update once, however often it is asked to.
   * @param numbers those that lie in the store, where the caller still has them
   */
  add(update: WeightedUpdate, numbers: ArrayBuffer | null = null): Promise<void> {
    return this.next(async () => {
      this.reopen();
      const sum = await this.#sumOf(update.vector);
      const known = this.ctx.storage.sql.exec("SELECT 1 FROM added WHERE id = ?", update.id).toArray();
      const removed = this.ctx.storage.sql.exec("SELECT 1 FROM removed WHERE id = ?", update.id).toArray();
      if (known.length > 0 || removed.length > 0) return;
      // A sum that an error leaves half added, or with what is not noted, is worth nothing: the next call builds it again.
      this.#sum = undefined;
      if (numbers) this.#addNumbers(sum, update, numbers);
      else await this.#addTo(sum, update);
      const { id, key, examples, weight, denominator, vector } = update;
      this.ctx.storage.sql.exec(
        "INSERT INTO added VALUES (?, ?, ?, ?, ?, ?)",
        ...[id, key, examples, weight, denominator, vector],
      );
      this.#sum = sum;
    });
  }

  /** Takes an update out, for good: the sum is built again without it. */
  remove(id: string): Promise<void> {
    return this.next(() => {
      this.reopen();
      this.ctx.storage.sql.exec("INSERT OR IGNORE INTO removed VALUES (?)", id);
      this.ctx.storage.sql.exec("DELETE FROM added WHERE id = ?", id);
      this.dropSum();
    });
  }

  /** What the sum holds. */
  totals(): Promise<Totals> {
    return this.next(async () => (await this.#sumOf()).totals);
  }

  /** The float64 numbers of the sum from `start` on, at most `length` of them. */
  part(start: number, length: number): Promise<Float64Array | Uint32Array> {
    return this.next(async () => (await this.#sumOf()).sum.slice(start, start + length));
  }

  /**
   * Makes the next checkpoint of a round, block by block, and stores it: the average of the updates, stepped by the server's
   * optimizer from the base.
   * @throws RangeError when the cohort is too small for a robust rule
   */
  async merge(plan: MergePlan): Promise<PublishedFile> {
    const unmasked = plan.secure ? await this.#unmask(plan, plan.secure) : undefined;
    const average =
      unmasked?.average ?? (isRobust(plan) ? await this.#robustAverage(plan) : await this.#linearAverage(plan));
    if (plan.server && unmasked && unmasked.facts.weight !== plan.expected.count) {
      throw new RangeError(
        "The masked vectors say to count for more or less than one each, and what the server remembers would keep that.",
      );
    }
    // Of masked vectors only their sum says how many examples are behind them.
    const examples = unmasked?.facts.weight ?? plan.expected.examples;
    const stepped = await this.step({ ...plan, expected: { ...plan.expected, examples } }, average, true);
    const { weights, cosines, remembered } = stepped;
    const file =
      plan.downloadCodec === "float32"
        ? await this.publish(weights, plan.metadata)
        : await this.#publishDifference(plan, plan.downloadCodec, weights);
    return { ...file, cosines, ...(remembered && { remembered }), ...(unmasked && { facts: unmasked.facts }) };
  }

  /** The mean under the masks of a round with secure aggregation. */
  async #unmask(
    { shards, expected, privacy }: MergePlan,
    { ring, corrections, rotation }: NonNullable<MergePlan["secure"]>,
  ): Promise<{ average: BlockAverage; facts: RingFacts }> {
    const { stubs } = await this.#filled(shards, expected);
    const sum = new Uint32Array(ring.length);
    for (let at = 0; at < sum.length; at += PART) {
      const count = Math.min(PART, sum.length - at);
      for (const stub of stubs) {
        (await stub.part(at, count)).forEach((value, i) => (sum[at + i] = (sum[at + i] as number) + value));
      }
    }
    for (const { seed, sign } of corrections) await addMask(sum, base64ToUint8Array(seed), sign);
    const { mean, facts } = fromRing(ring, sum, rotation);
    // DP-FedAvg divides by the clients that were expected.
    const factor = privacy ? facts.weight / privacy.denominator : 1;
    const average: BlockAverage = (start, length) =>
      Promise.resolve(Float64Array.from(mean.subarray(start, start + length), (value) => value * factor));
    return { average, facts };
  }

  /** Publishes a checkpoint that is its base plus a difference, and that difference. @param wanted is used up */
  async #publishDifference(
    { base, version, metadata, kept }: MergePlan,
    codec: DifferenceCodec,
    wanted: Float32Array<ArrayBuffer>,
  ): Promise<PublishedFile> {
    const before = await this.env.STORE.get(residualKey(this.task, base.version));
    if (before) {
      const lost = new Float32Array(await before.arrayBuffer());
      // What the round leaves as it is has no difference, also not from a round before that changed it.
      for (const tensor of this.model.tensors.filter((one) => !isKept(this.model, one, kept))) {
        const end = tensor.offset + tensor.size;
        for (let i = tensor.offset; i < end; i++) wanted[i] = (wanted[i] as number) + (lost[i] as number);
      }
    }
    const weights = decodeCheckpoint(await this.read(checkpointKey(base.sha256)), this.model);
    const payload = quantizeStep(this.model, weights, wanted, codec, version);
    await this.env.STORE.put(residualKey(this.task, version), wanted);
    const file = await this.publish(weights, metadata);
    const difference = await gzip(encodeDifference(payload, metadata, codec));
    await this.env.STORE.put(differenceKey(file.sha256), difference);
    return { ...file, differenceBytes: difference.length };
  }

  /**
   * The weights of the next checkpoint, and the cosines of the updates that are measured.
   * @param isFirst whether this one stores the optimizer's moments and measures: of several that make the same checkpoint one does
   * @throws RangeError where they would be none that anybody could use
   */
  protected async step(
    plan: Omit<MergePlan, "shards" | "updates">,
    average: BlockAverage,
    isFirst: boolean,
  ): Promise<{ weights: Float32Array<ArrayBuffer>; cosines: MeasuredUpdate[]; remembered?: StoredFile }> {
    const { optimizer, server, base, version } = plan;
    const weights = decodeCheckpoint(await this.read(checkpointKey(base.sha256)), this.model);
    const norm = normOf(weights);
    const keep = (tensor: TensorSpec): boolean => isKept(this.model, tensor, plan.kept);
    const measured = isFirst ? plan.measured : [];
    const cosines = new Cosines(this.model, measured.length, keep);
    const lost = new Set<number>();
    await stepModel(this.model, weights, {
      optimizer,
      rule: server ? serverRuleOf(server, this.model) : undefined,
      average,
      meanSquare: plan.meanSquare,
      share: shrinkage(plan.expected.examples, plan.prior),
      keep,
      onAverage: (start, mean) => this.#measure(cosines, measured, lost, start, mean),
      moments: async (start, length) => {
        if (server) return this.#memory(base.version, start, length, server);
        return optimizerRule(optimizer.kind).remembers ? this.#moments(base.version, start, length, optimizer) : null;
      },
      onMoments: async (start, moments) => {
        if (!isFirst) return;
        if (server) await this.#keepMemory(version, start, moments.first, server);
        else await this.#keepMoments(version, start, moments, optimizer);
      },
    });
    checkWeights(this.model, weights, norm);
    const { values } = cosines;
    const remembered = isFirst && server?.isTold ? await this.#publishMemory(plan, server, weights) : undefined;
    const cosineOf = (k: number): number | null => (lost.has(k) ? null : (values[k] ?? null));
    return {
      weights,
      cosines: measured.map(({ id }, k) => ({ id, cosine: cosineOf(k) })),
      ...(remembered && { remembered }),
    };
  }

  /**
   * Reads one block of every measured update, one after the other: beside the average one of them is held. No round waits for a figure
   * on the dashboard: an update that cannot be read is `lost`, and has none.
   */
  async #measure(
    cosines: Cosines,
    measured: readonly UpdateLocation[],
    lost: Set<number>,
    start: number,
    mean: Float64Array,
  ): Promise<void> {
    cosines.addMean(start, mean);
    for (const [k, { key }] of measured.entries()) {
      if (lost.has(k)) continue;
      try {
        cosines.addUpdate(k, start, mean, await this.#row(key, start, mean.length));
      } catch (error) {
        lost.add(k);
        log("not-measured", { task: this.task, key, error: String(error) });
      }
    }
  }

  /** Stores a checkpoint as it is, for who trains, and in int8, for who only plays. */
  protected async publish(weights: Float32Array, metadata: Record<string, string>): Promise<PublishedFile> {
    const light = await this.#store(checkpointPieces(this.model, weights, metadata, "int8"));
    const file = await this.#store(checkpointPieces(this.model, weights, metadata, "float32"));
    return { ...file, norm: normOf(weights), light };
  }

  /**
   * Stores what a strategy's server remembers as a file like a checkpoint's, under its digest: from the blocks that it is kept in, so that
   * a merge holds no other vector of all parameters.
   * @param like weights, whose file has the same header but for its metadata
   */
  async #publishMemory(
    { version, metadata }: Pick<MergePlan, "version" | "metadata">,
    { name }: StrategyServer,
    like: Float32Array,
  ): Promise<StoredFile> {
    const { parameters } = this.model;
    const [header] = checkpointPieces(this.model, like, { ...metadata, of: name }, "float32");
    const blocks = Array.from({ length: Math.ceil(parameters / BLOCK) }, (_, k): Piece => {
      const start = k * BLOCK;
      return {
        length: 4 * Math.min(BLOCK, parameters - start),
        read: () => this.read(momentsKey(this.task, version, name, start)),
      };
    });
    return this.#store([...(header ? [header] : []), ...blocks]);
  }

  /** Stores a checkpoint's file. It may be as large as the weights: it is digested and stored piece by piece, and never there as a whole. */
  async #store(pieces: readonly (Uint8Array | Piece)[]): Promise<StoredFile> {
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    const write = async (stream: WritableStream<Uint8Array>): Promise<void> => {
      const writer = stream.getWriter();
      for (const one of pieces) {
        const piece = one instanceof Uint8Array ? one : await one.read();
        for (let at = 0; at < piece.length; at += CHUNK) await writer.write(piece.subarray(at, at + CHUNK));
      }
      await writer.close();
    };
    const digest = new crypto.DigestStream("SHA-256");
    await write(digest);
    const sha256 = uint8ArrayToHex(await digest.digest);
    const file = new FixedLengthStream(bytes);
    await Promise.all([this.env.STORE.put(checkpointKey(sha256), file.readable, { sha256 }), write(file.writable)]);
    return { sha256, bytes };
  }

  /** Forgets everything, once the round has ended: an object that stores nothing is no more. */
  clear(): Promise<void> {
    return this.next(async () => {
      this.dropSum();
      // Before the rest, which may fail half-way.
      this.#isCleared = true;
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
    });
  }

  /** Makes the tables, which an object that was cleared has no more. */
  protected createTables(): void {
    this.ctx.storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS added (id TEXT PRIMARY KEY, key TEXT NOT NULL, examples INTEGER NOT NULL,
       weight REAL NOT NULL, denominator REAL NOT NULL, vector INTEGER NOT NULL);
       CREATE TABLE IF NOT EXISTS removed (id TEXT PRIMARY KEY);`,
    );
  }

  /** Whether there is nothing here: all was cleared, and nothing has come since. */
  protected get isCleared(): boolean {
    return this.#isCleared;
  }

  /** Before anything is stored again. */
  protected reopen(): void {
    if (!this.#isCleared) return;
    nameOf(this.ctx);
    this.createTables();
    this.#isCleared = false;
  }

  /** The sum in memory is no longer that of the updates: the next call that needs it builds it again. */
  protected dropSum(): void {
    this.#sum = undefined;
  }

  /** The shards of a round, and what each holds. @throws Error when that is not what was counted */
  async #filled(
    shards: string[],
    expected: MergePlan["expected"],
  ): Promise<{ stubs: DurableObjectStub<Aggregator>[]; totals: Totals[] }> {
    const stubs = shards.map((name) => this.env.AGGREGATOR.get(this.env.AGGREGATOR.idFromName(name)));
    const totals = await Promise.all(stubs.map((stub) => stub.totals()));
    const sum = (key: "count" | "examples"): number => totals.reduce((total, one) => total + one[key], 0);
    if (sum("count") !== expected.count || sum("examples") !== expected.examples) {
      throw new Error(
        `The shards hold ${sum("count")} updates of ${sum("examples")} examples; ` +
          `${expected.count} of ${expected.examples} were counted.`,
      );
    }
    return { stubs, totals };
  }

  /** The mean of the shards' sums, by block. @throws Error when they do not hold what was counted */
  async #linearAverage({ shards, expected, privacy, aggregation }: MergePlan): Promise<BlockAverage> {
    const { stubs, totals } = await this.#filled(shards, expected);
    const sum = (key: keyof Totals): number => totals.reduce((total, one) => total + one[key], 0);
    const totalled = { examples: sum("examples"), denominator: sum("denominator") };
    const denominator = privacy?.denominator ?? linearOf(aggregation).divisor(totalled);
    return async (start, length) => {
      const total = new WeightedSum(length);
      for (let at = 0; at < length; at += PART) {
        const count = Math.min(PART, length - at);
        for (const stub of stubs) total.addPart(at, (await stub.part(start + at, count)) as Float64Array);
      }
      toMean(total.sum, denominator, privacy);
      return total.sum;
    };
  }

  #robustAverage({ aggregation, byzantine, updates }: MergePlan): Promise<BlockAverage> {
    const { parameters } = this.model;
    const piece = Math.max(1, Math.min(BLOCK, Math.floor(ROBUST_BYTES / (4 * updates.length))));
    return robustAverage(
      { aggregation, byzantine, updates: updates.length, parameters, piece },
      (which, start, length) =>
        this.#rows(
          which.map((i) => updates[i] as ComparedUpdate),
          start,
          length,
        ),
    );
  }

  /** The same coordinates of several updates, clipped, by range reads. */
  #rows(updates: ComparedUpdate[], start: number, length: number): Promise<Float32Array[]> {
    return Promise.all(
      updates.map(async ({ key, factor }) => {
        const row = await this.#row(key, start, length);
        if (factor !== 1) for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) * factor;
        return row;
      }),
    );
  }

  async #row(key: string, start: number, length: number): Promise<Float32Array> {
    const object = await this.env.STORE.get(key, { range: { offset: start * 4, length: length * 4 } });
    if (!object) throw new Error(`${key} is not in the store.`);
    return new Float32Array(await object.arrayBuffer());
  }

  /** The optimizer's moments after a version; new ones where there are none, as before the first adaptive round. */
  async #moments(version: number, start: number, length: number, optimizer: ServerOptimizer): Promise<ServerMoments> {
    const object = await this.env.STORE.get(momentsKey(this.task, version, optimizer.kind, start));
    if (!object) return initialMoments(length, optimizer);
    const values = new Float32Array(await object.arrayBuffer());
    return { first: values.slice(0, length), second: values.slice(length) };
  }

  /**
   * What a strategy's server remembers of a block after a version, and of one that sees updates their sum per step, for which they are read
   * one after the other.
   * @throws Error where something of it is lost: clients go on from it
   */
  async #memory(
    version: number,
    start: number,
    length: number,
    { name, isBegun, perStep }: StrategyServer,
  ): Promise<ServerMoments> {
    const key = momentsKey(this.task, version, name, start);
    const object = isBegun ? await this.env.STORE.get(key) : null;
    if (isBegun && !object) throw new Error(`${key} is not in the store.`);
    const first = object ? new Float32Array(await object.arrayBuffer()) : new Float32Array(length);
    const sum = new WeightedSum(perStep.length > 0 ? length : 0);
    for (const { key, factor } of perStep) sum.addPart(0, await this.#row(key, start, length), factor);
    return { first, second: Float32Array.from(sum.sum) };
  }

  /** @throws RangeError where it would be nothing that anybody could go on from */
  async #keepMemory(version: number, start: number, memory: Float32Array, { name }: StrategyServer): Promise<void> {
    if (!memory.every(Number.isFinite)) {
      throw new RangeError(`What the server of ${name} would remember is not finite: nothing is published.`);
    }
    await this.env.STORE.put(momentsKey(this.task, version, name, start), memory);
  }

  async #keepMoments(
    version: number,
    start: number,
    { first, second }: ServerMoments,
    { kind }: ServerOptimizer,
  ): Promise<void> {
    const both = new Float32Array(first.length * 2);
    both.set(first);
    both.set(second, first.length);
    await this.env.STORE.put(momentsKey(this.task, version, kind, start), both);
  }

  /** Runs one piece of work after the other, so that no two change the sum at once. */
  protected next<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** The sum of deltas. */
  protected async load(): Promise<WeightedSum> {
    const sum = await this.#sumOf();
    if (sum instanceof RingSum) throw new Error("This shard's sum is one of masked vectors.");
    return sum;
  }

  /** The sum, built again where it was lost. @param vector numbers of a masked vector, where the first one is about to come */
  async #sumOf(vector = 0): Promise<WeightedSum | RingSum> {
    if (this.#sum) return this.#sum;
    this.reopen();
    const rows = this.ctx.storage.sql
      .exec<{ key: string; examples: number; weight: number; denominator: number; vector: number }>(
        "SELECT key, examples, weight, denominator, vector FROM added",
      )
      .toArray();
    const length = rows[0]?.vector ?? vector;
    const sum = length > 0 ? new RingSum(length) : new WeightedSum(this.model.parameters);
    for (const row of rows) await this.#addTo(sum, row);
    this.#sum = sum;
    return sum;
  }

  /** Adds all of an update's numbers. */
  #addNumbers(sum: WeightedSum | RingSum, { id, weight, ...totals }: WeightedUpdate, numbers: ArrayBuffer): void {
    if (numbers.byteLength !== 4 * sum.length) {
      throw new RangeError(`${id} has ${numbers.byteLength / 4} numbers instead of ${sum.length}.`);
    }
    if (sum instanceof RingSum) sum.addPart(0, new Uint32Array(numbers));
    else sum.addPart(0, new Float32Array(numbers), weight);
    sum.addTotals({ count: 1, ...totals });
  }

  /** Adds an update's numbers as they stream out of R2. */
  async #addTo(sum: WeightedSum | RingSum, { key, weight, ...totals }: Omit<WeightedUpdate, "id">): Promise<void> {
    const object = await this.env.STORE.get(key);
    if (!object) throw new Error(`${key} is not in the store.`);
    const reader = object.body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(CHUNK);
    let start = 0;
    for (let read = CHUNK; read === CHUNK;) {
      const { value } = await reader.readAtLeast(CHUNK, new Uint8Array(buffer));
      read = value?.byteLength ?? 0;
      if (value && read > 0) {
        const numbers = [value.buffer, value.byteOffset, read / 4] as const;
        if (sum instanceof RingSum) sum.addPart(start, new Uint32Array(...numbers));
        else sum.addPart(start, new Float32Array(...numbers), weight);
        start += read / 4;
        buffer = value.buffer; // Handed back: the one that went in is detached.
      }
    }
    if (start !== sum.length) throw new Error(`${key} holds ${start} numbers instead of ${sum.length}.`);
    sum.addTotals({ count: 1, ...totals });
  }

  protected async read(key: string): Promise<Uint8Array<ArrayBuffer>> {
    const object = await this.env.STORE.get(key);
    if (!object) throw new Error(`${key} is not in the store.`);
    return new Uint8Array(await object.arrayBuffer());
  }
}
