import * as v from "valibot";
import { planSchema, roundConfigSchema } from "../../src/core/protocol";
import type {
  Assignment,
  CheckIn,
  CheckpointInfo,
  Member,
  Round,
  RoundConfig,
  RoundState,
  TaskName,
} from "../../src/core/protocol";
import type { UpdateMetadata } from "../../src/core/update";

/** The Coordinator's tables. Every method is synchronous, so that a transition can group several in one transaction. */

/** What each version of the tables adds to the one before. Append, never change: a deployment may come from any version. */
const MIGRATIONS = [
  `
  CREATE TABLE IF NOT EXISTS checkpoints (
    version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS rounds (
    number INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, config TEXT NOT NULL,
    base INTEGER NOT NULL REFERENCES checkpoints, checkpoint INTEGER REFERENCES checkpoints,
    opened_at INTEGER NOT NULL, training_at INTEGER, deadline INTEGER, ended_at INTEGER, reason TEXT,
    cleaned INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE IF NOT EXISTS waiting (
    client TEXT PRIMARY KEY, label TEXT NOT NULL, examples INTEGER NOT NULL, seen_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS updates (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, client TEXT NOT NULL, label TEXT NOT NULL,
    state TEXT NOT NULL, assigned_at INTEGER NOT NULL, uploaded_at INTEGER, queued_at INTEGER,
    digest TEXT, bytes INTEGER NOT NULL DEFAULT 0, metadata TEXT, shard INTEGER, UNIQUE (round, client));
  CREATE TABLE IF NOT EXISTS refusals (
    round INTEGER NOT NULL REFERENCES rounds, code TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (round, code));
`,
  `
  ALTER TABLE checkpoints ADD COLUMN trained INTEGER NOT NULL DEFAULT 1;
  UPDATE checkpoints SET trained = 0 WHERE version = 0;
`,
];

export interface RoundRow {
  number: number;
  state: RoundState;
  config: RoundConfig;
  base: number;
  deadline: number | null;
}

export interface StoredCheckpoint extends CheckpointInfo {
  /** False for a random initialization. */
  trained: boolean;
}

export interface UpdateRow {
  id: string;
  round: number;
  state: Member["state"];
  digest: string | null;
  shard: number | null;
  metadata: UpdateMetadata | null;
}

type Row = Record<string, SqlStorageValue>;

export class RoundStore {
  constructor(
    private readonly sql: SqlStorage,
    private readonly task: TaskName,
  ) {
    sql.exec("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)");
    const done = sql.exec<{ n: number }>("SELECT count(*) AS n FROM migrations").one().n;
    MIGRATIONS.slice(done).forEach((migration, i) => {
      sql.exec(migration);
      sql.exec("INSERT INTO migrations VALUES (?)", done + i + 1);
    });
  }

  #all<T extends Row>(query: string, ...values: SqlStorageValue[]): T[] {
    return this.sql.exec<T>(query, ...values).toArray();
  }

  latestCheckpoint(): StoredCheckpoint | undefined {
    const [row] = this.#all<{ version: number; sha256: string; bytes: number; trained: number }>(
      "SELECT version, sha256, bytes, trained FROM checkpoints ORDER BY version DESC LIMIT 1",
    );
    return row && { ...row, trained: row.trained === 1 };
  }

  checkpoint(version: number): CheckpointInfo {
    return this.sql
      .exec<{ version: number; sha256: string; bytes: number }>(
        "SELECT version, sha256, bytes FROM checkpoints WHERE version = ?",
        version,
      )
      .one();
  }

  addCheckpoint({ version, sha256, bytes, trained }: StoredCheckpoint, now: number): void {
    this.sql.exec("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?)", version, sha256, bytes, now, Number(trained));
  }

  openRound(): RoundRow | undefined {
    const [row] = this.#all<{ number: number; state: string; config: string; base: number; deadline: number | null }>(
      `SELECT number, state, config, base, deadline FROM rounds
       WHERE state IN ('selecting', 'training', 'aggregating') ORDER BY number DESC LIMIT 1`,
    );
    return row && { ...row, state: row.state as RoundState, config: readConfig(row.config) };
  }

  addRound(config: RoundConfig, base: number, now: number): number {
    return this.sql
      .exec<{ number: number }>(
        "INSERT INTO rounds (state, config, base, opened_at) VALUES ('selecting', ?, ?, ?) RETURNING number",
        JSON.stringify(config),
        base,
        now,
      )
      .one().number;
  }

  startTraining(number: number, deadline: number, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'training', training_at = ?, deadline = ? WHERE number = ?",
      now,
      deadline,
      number,
    );
  }

  /** Takes no more updates: who has not uploaded by now has dropped out. */
  startAggregating(number: number): void {
    this.sql.exec("UPDATE rounds SET state = 'aggregating' WHERE number = ?", number);
    this.#dropMissing(number);
  }

  publish(number: number, version: number, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'published', checkpoint = ?, ended_at = ? WHERE number = ?",
      version,
      now,
      number,
    );
  }

  abandon(number: number, reason: string, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'abandoned', reason = ?, ended_at = ? WHERE number = ?",
      reason,
      now,
      number,
    );
    this.#dropMissing(number);
  }

  #dropMissing(number: number): void {
    this.sql.exec("UPDATE updates SET state = 'dropped' WHERE round = ? AND state = 'training'", number);
  }

  /** Rounds that have ended and whose updates are still in R2. */
  uncleaned(): number[] {
    return this.#all<{ number: number }>(
      "SELECT number FROM rounds WHERE cleaned = 0 AND state IN ('published', 'abandoned')",
    ).map(({ number }) => number);
  }

  setCleaned(number: number): void {
    this.sql.exec("UPDATE rounds SET cleaned = 1 WHERE number = ?", number);
  }

  wait({ client, examples }: CheckIn, label: string, now: number): void {
    this.sql.exec(
      `INSERT INTO waiting VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET label = excluded.label, examples = excluded.examples, seen_at = excluded.seen_at`,
      client,
      label,
      examples,
      now,
    );
  }

  /** Forgets clients that have not asked again since `since`. */
  forgetWaiting(since: number): void {
    this.sql.exec("DELETE FROM waiting WHERE seen_at < ?", since);
  }

  waiting(): { client: string; label: string }[] {
    return this.#all<{ client: string; label: string }>("SELECT client, label FROM waiting");
  }

  clearWaiting(): void {
    this.sql.exec("DELETE FROM waiting");
  }

  assign(round: number, client: { client: string; label: string }, now: number): void {
    this.sql.exec(
      "INSERT INTO updates (id, round, client, label, state, assigned_at) VALUES (?, ?, ?, ?, 'training', ?)",
      crypto.randomUUID(),
      round,
      client.client,
      client.label,
      now,
    );
  }

  assignment(round: RoundRow, client: string): { state: Member["state"]; assignment: Assignment } | undefined {
    const [row] = this.#all<{ id: string; state: string }>(
      "SELECT id, state FROM updates WHERE round = ? AND client = ?",
      round.number,
      client,
    );
    if (!row) return undefined;
    return {
      state: row.state as Member["state"],
      assignment: {
        task: this.task,
        id: row.id,
        round: round.number,
        checkpoint: this.checkpoint(round.base),
        plan: v.parse(planSchema, round.config),
        deadline: round.deadline ?? 0,
      },
    };
  }

  update(id: string): UpdateRow | undefined {
    const [row] = this.#all<{
      id: string;
      round: number;
      state: string;
      digest: string | null;
      shard: number | null;
      metadata: string | null;
    }>("SELECT id, round, state, digest, shard, metadata FROM updates WHERE id = ?", id);
    return (
      row && {
        ...row,
        state: row.state as Member["state"],
        metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as UpdateMetadata),
      }
    );
  }

  setUploaded(id: string, digest: string, bytes: number, metadata: UpdateMetadata, now: number): void {
    this.sql.exec(
      "UPDATE updates SET state = 'uploaded', digest = ?, bytes = ?, metadata = ?, uploaded_at = ? WHERE id = ?",
      digest,
      bytes,
      JSON.stringify(metadata),
      now,
      id,
    );
  }

  setCounted(id: string): void {
    this.sql.exec("UPDATE updates SET state = 'counted' WHERE id = ?", id);
  }

  setShard(id: string, shard: number): void {
    this.sql.exec("UPDATE updates SET shard = ? WHERE id = ?", shard, id);
  }

  /** Updates that each shard of a round was given. */
  shardLoads(round: number): Map<number, number> {
    const rows = this.#all<{ shard: number; load: number }>(
      "SELECT shard, count(*) AS load FROM updates WHERE round = ? AND shard IS NOT NULL GROUP BY shard",
      round,
    );
    return new Map(rows.map(({ shard, load }) => [shard, load]));
  }

  /** Accepted updates that are not counted yet and were last put in the queue before `before`. */
  uncounted(round: number, before: number): string[] {
    return this.#all<{ id: string }>(
      "SELECT id FROM updates WHERE round = ? AND state = 'uploaded' AND coalesce(queued_at, 0) < ?",
      round,
      before,
    ).map(({ id }) => id);
  }

  setQueued(id: string, now: number): void {
    this.sql.exec("UPDATE updates SET queued_at = ? WHERE id = ?", now, id);
  }

  /** How many members of a round's cohort are in each state, and the examples of those that are counted. */
  tally(round: number): Record<Member["state"], number> & { examples: number } {
    const tally = { training: 0, uploaded: 0, counted: 0, dropped: 0, examples: 0 };
    for (const member of this.members(round)) {
      tally[member.state] += 1;
      if (member.state === "counted") tally.examples += member.metadata?.examples ?? 0;
    }
    return tally;
  }

  refuse(round: number, code: string): void {
    this.sql.exec(`INSERT INTO refusals VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1`, round, code);
  }

  roundExists(number: number): boolean {
    return this.#all("SELECT 1 FROM rounds WHERE number = ?", number).length > 0;
  }

  private members(round: number): (Member & { metadata: UpdateMetadata | null })[] {
    return this.#all<{
      label: string;
      state: string;
      bytes: number;
      metadata: string | null;
      assigned_at: number;
      uploaded_at: number | null;
    }>(
      "SELECT label, state, bytes, metadata, assigned_at, uploaded_at FROM updates WHERE round = ? ORDER BY rowid",
      round,
    ).map((row) => {
      const metadata = row.metadata === null ? null : (JSON.parse(row.metadata) as UpdateMetadata);
      return {
        client: row.label,
        state: row.state as Member["state"],
        examples: metadata?.examples ?? null,
        bytesUp: row.bytes,
        bytesDown: metadata?.bytesDown ?? 0,
        trainLoss: metadata?.trainLoss ?? null,
        trainAccuracy: metadata?.trainAccuracy ?? null,
        backend: metadata?.backend ?? null,
        assignedAt: row.assigned_at,
        uploadedAt: row.uploaded_at,
        metadata,
      };
    });
  }

  /** A round as clients and the dashboard see it. */
  round(number: number): Round {
    const row = this.sql
      .exec<{
        number: number;
        state: string;
        config: string;
        base: number;
        checkpoint: number | null;
        opened_at: number;
        training_at: number | null;
        deadline: number | null;
        ended_at: number | null;
        reason: string | null;
      }>("SELECT * FROM rounds WHERE number = ?", number)
      .one();
    const members = this.members(number);
    const counted = members.flatMap(({ state, metadata }) => (state === "counted" && metadata ? [metadata] : []));
    const refused = this.#all<{ code: string; count: number }>(
      "SELECT code, count FROM refusals WHERE round = ?",
      number,
    );
    return {
      number,
      state: row.state as RoundState,
      reason: row.reason,
      config: readConfig(row.config),
      base: this.checkpoint(row.base),
      checkpoint: row.checkpoint === null ? null : this.checkpoint(row.checkpoint),
      openedAt: row.opened_at,
      trainingAt: row.training_at,
      endedAt: row.ended_at,
      deadline: row.deadline,
      waiting: row.state === "selecting" ? this.waiting().length : 0,
      cohort: members.map(({ metadata: _, ...member }) => member),
      refused: Object.fromEntries(refused.map(({ code, count }) => [code, count])),
      trainLoss: weightedMean(counted, "trainLoss", "examples"),
      trainAccuracy: weightedMean(counted, "trainAccuracy", "examples"),
      evalLoss: weightedMean(counted, "evalLoss", "evalExamples"),
      evalAccuracy: weightedMean(counted, "evalAccuracy", "evalExamples"),
      evalExamples: counted.reduce((n, { evalExamples }) => n + evalExamples, 0),
    };
  }

  /** The latest rounds, oldest first. */
  rounds(limit: number): Round[] {
    return this.#all<{ number: number }>("SELECT number FROM rounds ORDER BY number DESC LIMIT ?", limit)
      .map(({ number }) => this.round(number))
      .reverse();
  }
}

/** A stored configuration; an older one lacks what came later. */
const readConfig = (json: string): RoundConfig => v.parse(roundConfigSchema, JSON.parse(json));

function weightedMean(
  rows: UpdateMetadata[],
  value: "trainLoss" | "trainAccuracy" | "evalLoss" | "evalAccuracy",
  weight: "examples" | "evalExamples",
): number | null {
  const total = rows.reduce((n, row) => n + row[weight], 0);
  return total === 0 ? null : rows.reduce((sum, row) => sum + row[value] * row[weight], 0) / total;
}
