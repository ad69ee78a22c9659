import * as v from "valibot";
import { addCounts } from "../../src/core/evaluation";
import { noiseOf } from "../../src/core/privacy/adaptive-clip";
import type { RingFacts } from "../../src/core/secagg/ring";
import { planSchema, roundConfigSchema } from "../../src/core/protocol";
import type {
  Assignment,
  CheckIn,
  CheckpointInfo,
  CheckpointRecord,
  DeadLetter,
  Evaluation,
  HubState,
  Member,
  Round,
  RoundConfig,
  RoundState,
  Task,
  TaskName,
} from "../../src/core/protocol";
import type { Signer } from "../../src/core/signing";
import type { UpdateMetadata, UpdateSummary } from "../../src/core/update";

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
  `
  ALTER TABLE checkpoints ADD COLUMN status TEXT NOT NULL DEFAULT 'published';
  ALTER TABLE checkpoints ADD COLUMN round INTEGER;
  ALTER TABLE rounds ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE rounds ADD COLUMN select_at INTEGER;
  ALTER TABLE rounds ADD COLUMN evaluate_until INTEGER;
  CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE evaluations (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, client TEXT NOT NULL, asked_at INTEGER NOT NULL,
    result TEXT, UNIQUE (round, client));
  CREATE TABLE updates_3 (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, assigned_round INTEGER NOT NULL REFERENCES rounds,
    base INTEGER NOT NULL REFERENCES checkpoints, client TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL,
    assigned_at INTEGER NOT NULL, uploaded_at INTEGER, queued_at INTEGER, digest TEXT, bytes INTEGER NOT NULL DEFAULT 0,
    metadata TEXT, norm REAL, data_start INTEGER, staleness INTEGER NOT NULL DEFAULT 0, shard INTEGER, reason TEXT,
    UNIQUE (assigned_round, client));
  INSERT INTO updates_3 (id, round, assigned_round, base, client, label, state, assigned_at, uploaded_at, queued_at, digest,
    bytes, metadata, shard)
    SELECT u.id, u.round, u.round, r.base, u.client, u.label, u.state, u.assigned_at, u.uploaded_at, u.queued_at, u.digest,
    u.bytes, u.metadata, u.shard FROM updates u JOIN rounds r ON r.number = u.round;
  DROP TABLE updates;
  ALTER TABLE updates_3 RENAME TO updates;
  CREATE INDEX updates_by_round ON updates (round, state);
`,
  `
  ALTER TABLE rounds ADD COLUMN hubs TEXT NOT NULL DEFAULT '[]';
`,
  // Updates lie decoded in the store from here on: those of an open round lie there in the old form.
  `
  UPDATE rounds SET state = 'abandoned', reason = 'The edge was updated.', ended_at = opened_at WHERE ended_at IS NULL;
  UPDATE updates SET state = 'dropped' WHERE state IN ('training', 'uploaded');
  ALTER TABLE updates DROP COLUMN data_start;
  ALTER TABLE checkpoints ADD COLUMN difference TEXT;
  ALTER TABLE rounds ADD COLUMN facts TEXT;
`,
  `
  CREATE TABLE nonces (client TEXT NOT NULL, nonce TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (client, nonce));
  CREATE INDEX nonces_by_time ON nonces (until);
`,
  `
  ALTER TABLE rounds ADD COLUMN plateau TEXT;
`,
  `
  CREATE INDEX waiting_by_time ON waiting (seen_at);
`,
];

/** Wrong admin tokens from one address, each within a quarter of an hour of the one before, that lock it out for as long. */
const LOCK_OUT_AFTER = 10;
const LOCK_OUT_MS = 900_000;

export interface RoundRow {
  number: number;
  state: RoundState;
  config: RoundConfig;
  base: number;
  /** The first round of the series that this one belongs to. */
  run: number;
  deadline: number | null;
  /** When the cohort is chosen from those who wait; null until enough do. */
  selectAt: number | null;
  evaluateUntil: number | null;
}

export interface StoredCheckpoint extends CheckpointInfo {
  /** False for a random initialization. */
  trained: boolean;
}

export interface UpdateRow {
  id: string;
  /** Where it counts; in async rounds perhaps a later one than it was assigned in. */
  round: number;
  assignedRound: number;
  /** Version of its base. */
  base: number;
  state: Member["state"];
  digest: string | null;
  shard: number | null;
  norm: number | null;
  staleness: number;
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

  #setting(key: string): string | undefined {
    return this.#all<{ value: string }>("SELECT value FROM settings WHERE key = ?", key)[0]?.value;
  }

  #set(key: string, value: string | null): void {
    if (value === null) this.sql.exec("DELETE FROM settings WHERE key = ?", key);
    else
      this.sql.exec("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value);
  }

  /**
   * Notes an administrator's call from an address.
   * @returns whether it may go on: not with a wrong token, and with none at all for a while after too many wrong ones
   */
  adminCall(address: string, isRight: boolean, now: number): "allowed" | "wrong" | "locked" {
    const key = `admin-failures/${address}`;
    const stored = this.#setting(key);
    const { failures, since } = stored
      ? (JSON.parse(stored) as { failures: number; since: number })
      : { failures: 0, since: now };
    const isFresh = now - since < LOCK_OUT_MS;
    if (isFresh && failures >= LOCK_OUT_AFTER) return "locked";
    if (isRight) {
      this.#set(key, null);
      return "allowed";
    }
    this.#set(key, JSON.stringify({ failures: isFresh ? failures + 1 : 1, since: now }));
    return "wrong";
  }

  /** Why the last run of rounds was stopped early; undefined while it was not. */
  get earlyStop(): string | undefined {
    return this.#setting("early-stop");
  }

  setPlateau(round: number, words: string): void {
    this.sql.exec("UPDATE rounds SET plateau = ? WHERE number = ?", words, round);
  }

  setEarlyStop(reason: string | null): void {
    this.#set("early-stop", reason);
  }

  /** The checkpoint that clients get: the last that was published, or what an administrator went back to. */
  currentCheckpoint(): StoredCheckpoint | undefined {
    const chosen = this.#setting("current");
    const [row] = this.#all<CheckpointRow & { trained: number }>(
      `SELECT version, sha256, bytes, difference, trained FROM checkpoints WHERE status = 'published' AND (? IS NULL OR version = ?)
       ORDER BY version DESC LIMIT 1`,
      chosen ?? null,
      Number(chosen ?? 0),
    );
    return row && { ...checkpointOf(row), trained: row.trained === 1 };
  }

  setCurrent(version: number): void {
    this.#set("current", String(version));
  }

  /** The number that the next checkpoint gets: no number is used twice, also after a rollback. */
  nextVersion(): number {
    return this.sql.exec<{ next: number }>("SELECT coalesce(max(version), -1) + 1 AS next FROM checkpoints").one().next;
  }

  checkpoints(): CheckpointRecord[] {
    const current = this.currentCheckpoint()?.version;
    return this.#all<{
      version: number;
      sha256: string;
      bytes: number;
      status: string;
      round: number | null;
      created_at: number;
    }>("SELECT version, sha256, bytes, status, round, created_at FROM checkpoints ORDER BY version DESC").map(
      ({ created_at, status, ...row }) => ({
        ...row,
        status: status as CheckpointRecord["status"],
        createdAt: created_at,
        current: row.version === current,
      }),
    );
  }

  setCheckpointStatus(version: number, status: CheckpointRecord["status"]): void {
    this.sql.exec("UPDATE checkpoints SET status = ? WHERE version = ?", status, version);
  }

  /** Files that the policy lets go: all but the last `keep`, every tenth, the current one, and what a round starts from. */
  disposableCheckpoints(keep: number): { version: number; sha256: string }[] {
    return this.#all<{ version: number; sha256: string }>(
      `SELECT version, sha256 FROM checkpoints WHERE status IN ('published', 'rejected') AND version % 10 != 0
       AND version NOT IN (SELECT version FROM checkpoints WHERE status = 'published' ORDER BY version DESC LIMIT ?)
       AND version != ? AND version NOT IN
         (SELECT base FROM updates WHERE state = 'training' UNION SELECT base FROM rounds WHERE ended_at IS NULL)`,
      keep,
      this.currentCheckpoint()?.version ?? 0,
    );
  }

  checkpoint(version: number): CheckpointInfo {
    return checkpointOf(
      this.sql
        .exec<CheckpointRow>("SELECT version, sha256, bytes, difference FROM checkpoints WHERE version = ?", version)
        .one(),
    );
  }

  addCheckpoint(
    { version, sha256, bytes, trained, difference }: StoredCheckpoint,
    status: "published" | "candidate",
    round: number | null,
    now: number,
  ): void {
    this.sql.exec(
      `INSERT INTO checkpoints (version, sha256, bytes, created_at, trained, status, round, difference)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[version, sha256, bytes, now, Number(trained), status, round, difference ? JSON.stringify(difference) : null],
    );
  }

  openRound(): RoundRow | undefined {
    const [row] = this.#all<{
      number: number;
      state: string;
      config: string;
      base: number;
      run: number;
      deadline: number | null;
      select_at: number | null;
      evaluate_until: number | null;
    }>(
      `SELECT number, state, config, base, run, deadline, select_at, evaluate_until FROM rounds
       WHERE ended_at IS NULL ORDER BY number DESC LIMIT 1`,
    );
    if (!row) return undefined;
    const { select_at: selectAt, evaluate_until: evaluateUntil, ...rest } = row;
    return { ...rest, state: row.state as RoundState, config: readConfig(row.config), selectAt, evaluateUntil };
  }

  /** @param run the first round of the series; null begins one */
  addRound(config: RoundConfig, base: number, run: number | null, now: number): number {
    const { number } = this.sql
      .exec<{ number: number }>(
        "INSERT INTO rounds (state, config, base, opened_at) VALUES ('selecting', ?, ?, ?) RETURNING number",
        JSON.stringify(config),
        base,
        now,
      )
      .one();
    this.sql.exec("UPDATE rounds SET run = ? WHERE number = ?", run ?? number, number);
    return number;
  }

  setConfig(number: number, config: RoundConfig): void {
    this.sql.exec("UPDATE rounds SET config = ? WHERE number = ?", JSON.stringify(config), number);
  }

  setSelectAt(number: number, at: number): void {
    this.sql.exec("UPDATE rounds SET select_at = ? WHERE number = ?", at, number);
  }

  startTraining(number: number, deadline: number, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'training', training_at = ?, deadline = ? WHERE number = ?",
      now,
      deadline,
      number,
    );
  }

  /** Takes no more updates: in a synchronous round, who has not uploaded by now has dropped out. */
  startAggregating(number: number, drop: boolean): void {
    this.sql.exec("UPDATE rounds SET state = 'aggregating' WHERE number = ?", number);
    if (drop) this.dropMissing(number);
  }

  /** Brings what is due in an open round into the time that it has at most from now on. */
  limitTimes({ number, config }: RoundRow, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET deadline = min(deadline, ?), select_at = min(select_at, ?), evaluate_until = min(evaluate_until, ?) WHERE number = ?",
      now + config.deadlineSeconds * 1000,
      now + config.selectionSeconds * 1000,
      now + config.evaluationSeconds * 1000,
      number,
    );
    this.sql.exec("UPDATE updates SET queued_at = min(queued_at, ?) WHERE round = ?", now, number);
    this.sql.exec("DELETE FROM waiting WHERE seen_at > ?", now);
  }

  startEvaluating(number: number, version: number, until: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'evaluating', checkpoint = ?, evaluate_until = ? WHERE number = ?",
      version,
      until,
      number,
    );
  }

  end(number: number, state: "published" | "rejected", version: number, reason: string | null, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = ?, checkpoint = ?, reason = ?, ended_at = ? WHERE number = ?",
      state,
      version,
      reason,
      now,
      number,
    );
  }

  /** Notes a signature, for as long as it would be fresh. @returns whether it is new */
  isNew({ client, nonce, until }: Signer, now: number): boolean {
    this.sql.exec("DELETE FROM nonces WHERE until < ?", now);
    const { rowsWritten } = this.sql.exec("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", client, nonce, until);
    return rowsWritten > 0;
  }

  /** The client that an update's or evaluation's id was given to. */
  ownerOf(id: string): string | undefined {
    return this.#all<{ client: string }>(
      "SELECT client FROM updates WHERE id = ?1 UNION ALL SELECT client FROM evaluations WHERE id = ?1",
      id,
    )[0]?.client;
  }

  /** Asks a client to evaluate a round's candidate; the same question again for one that was asked before. */
  askEvaluation(round: number, client: string, now: number): string {
    this.sql.exec(
      "INSERT OR IGNORE INTO evaluations (id, round, client, asked_at) VALUES (?, ?, ?, ?)",
      crypto.randomUUID(),
      round,
      client,
      now,
    );
    return this.sql
      .exec<{ id: string }>("SELECT id FROM evaluations WHERE round = ? AND client = ?", round, client)
      .one().id;
  }

  /** The round whose candidate an evaluation is of, if there is such an evaluation. */
  roundOfEvaluation(id: string): number | undefined {
    return this.#all<{ round: number }>("SELECT round FROM evaluations WHERE id = ?", id)[0]?.round;
  }

  /** @returns the round whose candidate this answers, if it was asked for and not answered yet */
  answerEvaluation(id: string, evaluation: Evaluation): number | undefined {
    return this.#all<{ round: number }>(
      "UPDATE evaluations SET result = ? WHERE id = ? AND result IS NULL RETURNING round",
      JSON.stringify(evaluation),
      id,
    )[0]?.round;
  }

  /** Clients that were asked to evaluate a round's candidate, and whether this one has answered. */
  evaluationState(round: number, client: string): { asked: number; own: "none" | "asked" | "answered" } {
    const rows = this.#all<{ client: string; done: number }>(
      "SELECT client, result IS NOT NULL AS done FROM evaluations WHERE round = ?",
      round,
    );
    const own = rows.find((row) => row.client === client);
    return {
      asked: rows.length,
      own: own === undefined ? "none" : own.done === 1 ? "answered" : "asked",
    };
  }

  /** The evaluators' answers as means over all their faces; null while there is none. */
  evaluation(round: number): Round["evaluation"] {
    const results = this.#all<{ result: string }>(
      "SELECT result FROM evaluations WHERE round = ? AND result IS NOT NULL",
      round,
    ).map(({ result }) => JSON.parse(result) as Evaluation);
    const examples = results.reduce((n, one) => n + one.examples, 0);
    if (examples === 0) return null;
    const mean = (key: "loss" | "accuracy" | "baseLoss" | "baseAccuracy"): number =>
      results.reduce((sum, one) => sum + one[key] * one.examples, 0) / examples;
    const told = results.flatMap(({ confusion }) => (confusion ? [confusion] : []));
    return {
      ...(told.length > 0 && { confusion: addCounts(told) }),
      examples,
      clients: results.length,
      loss: mean("loss"),
      accuracy: mean("accuracy"),
      baseLoss: mean("baseLoss"),
      baseAccuracy: mean("baseAccuracy"),
    };
  }

  /** Losses of the candidates of a run's rounds that have ended, in their order. */
  runLosses(run: number): number[] {
    return this.#all<{ number: number }>(
      "SELECT number FROM rounds WHERE run = ? AND state IN ('published', 'rejected') ORDER BY number",
      run,
    ).flatMap(({ number }) => this.evaluation(number)?.loss ?? []);
  }

  abandon(number: number, reason: string, now: number): void {
    this.sql.exec(
      "UPDATE rounds SET state = 'abandoned', reason = ?, ended_at = ? WHERE number = ?",
      reason,
      now,
      number,
    );
    this.dropMissing(number);
  }

  /** In an async series: those whose base has become too old. */
  dropStale(oldest: number): void {
    this.sql.exec("UPDATE updates SET state = 'dropped' WHERE state = 'training' AND base < ?", oldest);
  }

  /** Whoever is still at work for a series that has ended. */
  dropAll(): void {
    this.sql.exec("UPDATE updates SET state = 'dropped' WHERE state = 'training'");
  }

  dropMissing(number: number): void {
    this.sql.exec("UPDATE updates SET state = 'dropped' WHERE round = ? AND state = 'training'", number);
  }

  /** Rounds that have ended and whose updates are still in R2. */
  uncleaned(): number[] {
    return this.#all<{ number: number }>("SELECT number FROM rounds WHERE cleaned = 0 AND ended_at IS NOT NULL").map(
      ({ number }) => number,
    );
  }

  setCleaned(number: number): void {
    this.sql.exec("UPDATE rounds SET cleaned = 1 WHERE number = ?", number);
  }

  wait(client: string, { examples }: CheckIn, label: string, now: number): void {
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

  /** How many clients wait, which is asked at every check-in. */
  countWaiting(): number {
    return this.#all<{ count: number }>("SELECT count(*) AS count FROM waiting")[0]?.count ?? 0;
  }

  clearWaiting(): void {
    this.sql.exec("DELETE FROM waiting");
  }

  assign({ number, base }: RoundRow, client: { client: string; label: string }, now: number): void {
    this.sql.exec(
      `INSERT INTO updates (id, round, assigned_round, base, client, label, state, assigned_at)
       VALUES (?, ?, ?, ?, ?, ?, 'training', ?)`,
      ...[crypto.randomUUID(), number, number, base, client.client, client.label, now],
    );
  }

  assignedIds(round: number): string[] {
    return this.#all<{ id: string }>("SELECT id FROM updates WHERE assigned_round = ? ORDER BY rowid", round).map(
      ({ id }) => id,
    );
  }

  /** What the members of a round with secure aggregation are told of the ring of its vectors. */
  secureFacts({ number, config }: Pick<RoundRow, "number" | "config">): NonNullable<Assignment["secure"]> {
    const { noise, updateClip: clip, goalCount } = config;
    // As much noise as the fewest vectors of which a mean is made need together.
    const fewest = Math.ceil(goalCount / 2);
    const deviation = noise > 0 ? (noiseOf(config) * clip) / Math.sqrt(fewest) : 0;
    return { cohort: this.assignedIds(number).length, clip, deviation, equally: noise > 0 };
  }

  /** What the vectors of a round with secure aggregation held beside their deltas. */
  setFacts(round: number, facts: RingFacts): void {
    this.sql.exec("UPDATE rounds SET facts = ? WHERE number = ?", JSON.stringify(facts), round);
  }

  facts(round: number): RingFacts | undefined {
    const { facts } = this.sql.exec<{ facts: string | null }>("SELECT facts FROM rounds WHERE number = ?", round).one();
    return facts === null ? undefined : (JSON.parse(facts) as RingFacts);
  }

  /** One member is out of its round. */
  drop(id: string): void {
    this.sql.exec("UPDATE updates SET state = 'dropped' WHERE id = ?", id);
  }

  /** Updates of a round that their clients have taken back, and that still lie somewhere. */
  withdrawn(round: number): UpdateRow[] {
    return this.#updates("round = ? AND state = 'dropped' AND digest IS NOT NULL", round);
  }

  /** Nothing is left of a withdrawn update but that there was one. */
  forgetUpdate(id: string): void {
    this.sql.exec(
      "UPDATE updates SET digest = NULL, shard = NULL, metadata = NULL, norm = NULL, bytes = 0 WHERE id = ?",
      id,
    );
  }

  /** Clients of any round that are still at work. */
  atWork(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM updates WHERE state = 'training'").one().n;
  }

  /** What a client was told to do in the open round, or in an async series in an earlier one and has not done yet. */
  assignment(open: RoundRow, client: string): { state: Member["state"]; assignment: Assignment } | undefined {
    const [row] = this.#all<{ id: string; state: string; base: number; assigned_round: number }>(
      `SELECT id, state, base, assigned_round FROM updates WHERE client = ? AND (assigned_round = ? OR state = 'training')
       ORDER BY state = 'training' DESC LIMIT 1`,
      client,
      open.number,
    );
    if (!row) return undefined;
    const round = { ...open, number: row.assigned_round, base: row.base };
    return {
      state: row.state as Member["state"],
      assignment: {
        task: this.task,
        id: row.id,
        round: round.number,
        checkpoint: this.checkpoint(round.base),
        plan: v.parse(planSchema, { ...round.config, reportInitialLoss: round.config.aggregation === "q-fair" }),
        deadline: round.deadline ?? 0,
        ...(round.config.secure && { secure: this.secureFacts(round) }),
      },
    };
  }

  update(id: string): UpdateRow | undefined {
    return this.#updates("id = ?", id)[0];
  }

  /** Every counted update of a round, in the order of their assignment. */
  countedUpdates(round: number): UpdateRow[] {
    return this.#updates("round = ? AND state = 'counted' ORDER BY rowid", round);
  }

  #updates(condition: string, ...values: SqlStorageValue[]): UpdateRow[] {
    return this.#all<{
      id: string;
      round: number;
      assigned_round: number;
      base: number;
      state: string;
      digest: string | null;
      shard: number | null;
      norm: number | null;
      staleness: number;
      metadata: string | null;
    }>(
      `SELECT id, round, assigned_round, base, state, digest, shard, norm, staleness, metadata
       FROM updates WHERE ${condition}`,
      ...values,
    ).map(({ assigned_round: assignedRound, ...row }) => ({
      ...row,
      assignedRound,
      state: row.state as Member["state"],
      metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as UpdateMetadata),
    }));
  }

  /** @param place the round in which it counts, and how many versions its base is behind */
  setUploaded(
    id: string,
    { digest, bytes, summary }: { digest: string; bytes: number; summary: UpdateSummary },
    place: { round: number; staleness: number },
    now: number,
  ): void {
    this.sql.exec(
      `UPDATE updates SET state = 'uploaded', digest = ?, bytes = ?, metadata = ?, norm = ?, round = ?,
       staleness = ?, uploaded_at = ?, queued_at = ? WHERE id = ?`,
      ...[digest, bytes, summary.metadata && JSON.stringify(summary.metadata), summary.norm],
      // The router puts it in the queue right after this.
      ...[place.round, place.staleness, now, now, id],
    );
  }

  /** Gives an update up that could not be added, until somebody replays it. */
  setDead(id: string, reason: string): boolean {
    return (
      this.#all(
        "UPDATE updates SET state = 'dead', reason = ? WHERE id = ? AND state = 'uploaded' RETURNING id",
        reason,
        id,
      ).length > 0
    );
  }

  revive(id: string, now: number): void {
    this.sql.exec("UPDATE updates SET state = 'uploaded', queued_at = ?, reason = NULL WHERE id = ?", now, id);
  }

  deadLetters(): DeadLetter[] {
    return this.#all<{ id: string; round: number; label: string; reason: string }>(
      "SELECT id, round, label, coalesce(reason, '') AS reason FROM updates WHERE state = 'dead' ORDER BY rowid",
    ).map(({ label, ...row }) => ({ ...row, client: label }));
  }

  /** The rounds in which a round's updates were assigned, and so where their files lie. */
  assignedRounds(round: number): number[] {
    return this.#all<{ n: number }>("SELECT DISTINCT assigned_round AS n FROM updates WHERE round = ?", round).map(
      ({ n }) => n,
    );
  }

  /** Ids of a round's assignments whose files must stay: they are on their way into a round that is open. */
  pendingIds(assignedRound: number): Set<string> {
    const rows = this.#all<{ id: string }>(
      `SELECT u.id FROM updates u JOIN rounds r ON r.number = u.round WHERE u.assigned_round = ?
       AND (u.state = 'training' OR (u.state IN ('uploaded', 'counted', 'dead') AND r.ended_at IS NULL))`,
      assignedRound,
    );
    return new Set(rows.map(({ id }) => id));
  }

  /** Counts for the metrics: updates by state, rounds by state, refusals by code. */
  counts(): Record<"updates" | "rounds" | "refusals", Record<string, number>> {
    const by = (query: string): Record<string, number> =>
      Object.fromEntries(this.#all<{ key: string; n: number }>(query).map(({ key, n }) => [key, n]));
    return {
      updates: by("SELECT state AS key, count(*) AS n FROM updates GROUP BY state"),
      rounds: by("SELECT state AS key, count(*) AS n FROM rounds GROUP BY state"),
      refusals: by("SELECT code AS key, sum(count) AS n FROM refusals GROUP BY code"),
    };
  }

  setCounted(id: string): void {
    this.sql.exec("UPDATE updates SET state = 'counted' WHERE id = ?", id);
  }

  setShard(id: string, shard: number): void {
    this.sql.exec("UPDATE updates SET shard = ? WHERE id = ?", shard, id);
  }

  hubs(round: number): HubState[] {
    const { hubs } = this.sql.exec<{ hubs: string }>("SELECT hubs FROM rounds WHERE number = ?", round).one();
    return JSON.parse(hubs) as HubState[];
  }

  setHubs(round: number, hubs: HubState[]): void {
    this.sql.exec("UPDATE rounds SET hubs = ? WHERE number = ?", JSON.stringify(hubs), round);
  }

  /** Takes a shard's updates away from it, to be counted by others. */
  unassignShard(round: number, shard: number, now: number): void {
    this.sql.exec(
      `UPDATE updates SET shard = NULL, state = 'uploaded', queued_at = ? WHERE round = ? AND shard = ?
       AND state IN ('uploaded', 'counted')`,
      ...[now, round, shard],
    );
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

  /** When the longest waiting accepted update was last put in the queue (0 for never); null when none waits. */
  oldestQueued(round: number): number | null {
    return this.sql
      .exec<{ at: number | null }>(
        "SELECT min(coalesce(queued_at, 0)) AS at FROM updates WHERE round = ? AND state = 'uploaded'",
        round,
      )
      .one().at;
  }

  setQueued(id: string, now: number): void {
    this.sql.exec("UPDATE updates SET queued_at = ? WHERE id = ?", now, id);
  }

  /** How many members of a round's cohort are in each state, and the examples of those that are counted. */
  tally(round: number): Record<Member["state"], number> & { examples: number } {
    const tally = { training: 0, uploaded: 0, counted: 0, dropped: 0, dead: 0, examples: 0 };
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

  /**
   * Every series of rounds that has read clients' updates, by sampling and noise. One with noise counts from its draw on, whatever
   * became of it; one without counts once it has made a checkpoint.
   */
  mechanisms(): Task["privacy"] {
    return this.#all<{ sampling: number; noise: number; rounds: number }>(
      `SELECT json_extract(config, '$.fraction') AS sampling, coalesce(json_extract(config, '$.noise'), 0) AS noise,
       count(*) AS rounds FROM rounds
       WHERE CASE WHEN coalesce(json_extract(config, '$.noise'), 0) > 0 THEN training_at ELSE checkpoint END IS NOT NULL
       GROUP BY 1, 2`,
    );
  }

  private members(round: number): (Member & { metadata: UpdateMetadata | null })[] {
    return this.#all<{
      label: string;
      state: string;
      bytes: number;
      metadata: string | null;
      assigned_at: number;
      uploaded_at: number | null;
      staleness: number;
      norm: number | null;
    }>(
      `SELECT label, state, bytes, metadata, assigned_at, uploaded_at, staleness, norm FROM updates WHERE round = ?
       ORDER BY rowid`,
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
        staleness: row.staleness,
        norm: row.norm,
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
        run: number;
        plateau: string | null;
      }>("SELECT * FROM rounds WHERE number = ?", number)
      .one();
    const members = this.members(number);
    const hubs = this.hubs(number);
    const loads = hubs.length > 0 ? this.shardLoads(number) : undefined;
    const config = readConfig(row.config);
    const counted = members.flatMap(({ state, metadata }) => (state === "counted" && metadata ? [metadata] : []));
    const facts = this.facts(number);
    const refused = this.#all<{ code: string; count: number }>(
      "SELECT code, count FROM refusals WHERE round = ?",
      number,
    );
    return {
      number,
      run: row.run,
      state: row.state as RoundState,
      reason: row.reason,
      plateau: row.plateau,
      config,
      base: this.checkpoint(row.base),
      checkpoint: row.checkpoint === null ? null : this.checkpoint(row.checkpoint),
      openedAt: row.opened_at,
      trainingAt: row.training_at,
      endedAt: row.ended_at,
      deadline: row.deadline,
      waiting: row.state === "selecting" ? this.countWaiting() : 0,
      // Noise would be for nothing if the exact numbers of a client stood here.
      cohort: members.map(({ metadata: _, ...member }) =>
        config.noise > 0
          ? { ...member, norm: null, examples: null, trainLoss: null, trainAccuracy: null, bytesUp: 0 }
          : member,
      ),
      refused: Object.fromEntries(refused.map(({ code, count }) => [code, count])),
      trainLoss: facts?.trainLoss ?? weightedMean(counted, "trainLoss", "examples"),
      trainAccuracy: facts?.trainAccuracy ?? weightedMean(counted, "trainAccuracy", "examples"),
      ...(facts && facts.evalExamples > 0
        ? { evalLoss: facts.evalLoss, evalAccuracy: facts.evalAccuracy, evalExamples: facts.evalExamples }
        : {
            evalLoss: weightedMean(counted, "evalLoss", "evalExamples"),
            evalAccuracy: weightedMean(counted, "evalAccuracy", "evalExamples"),
            evalExamples: counted.reduce((n, { evalExamples }) => n + evalExamples, 0),
          }),
      evaluation: this.evaluation(number),
      hubs: hubs.map((hub, i) => ({ ...hub, updates: loads?.get(i) ?? 0 })),
    };
  }

  /** The latest rounds, oldest first. */
  rounds(limit: number): Round[] {
    return this.#all<{ number: number }>("SELECT number FROM rounds ORDER BY number DESC LIMIT ?", limit)
      .map(({ number }) => this.round(number))
      .reverse();
  }
}

/** A checkpoint as its table has it. */
type CheckpointRow = { version: number; sha256: string; bytes: number; difference: string | null };

const checkpointOf = ({ version, sha256, bytes, difference }: CheckpointRow): CheckpointInfo => ({
  ...{ version, sha256, bytes },
  ...(difference !== null && { difference: JSON.parse(difference) as CheckpointInfo["difference"] }),
});

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
