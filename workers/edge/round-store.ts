import * as v from "valibot";
import { addCounts } from "../../src/core/evaluation";
import { EVIDENCE_KINDS, summarizeEvidence, type DreamVerdict, type Evidence } from "../../src/core/guard";
import { belowNoise, fewestOf, shareOfNoise } from "../../src/core/privacy/distributed";
import { deviationOfShares, noiseOf } from "../../src/core/privacy/noise-scale";
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
import { MIGRATIONS } from "./migrations";

/** The Coordinator's tables. Every method is synchronous, so that a transition can group several in one transaction. */

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
  openedAt: number;
  /** Since when its updates are averaged. */
  aggregatingAt: number | null;
}

export interface StoredCheckpoint extends CheckpointInfo {
  /** False for a random initialization. */
  trained: boolean;
  /** L2 norm of its weights; null where an older edge has not noted it. */
  norm: number | null;
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
  /** Faces that its client said it had when it checked in; null where an older edge has not noted it. */
  claimed: number | null;
}

/** A client that has checked in. */
export interface WaitingClient {
  client: string;
  /** What it is called in this round. */
  label: string;
  /** Faces that it says it has. */
  examples: number;
}

/** What a round's members came to: all that is kept of them in the end. */
export type Totals = Pick<
  Round,
  "tally" | "trainLoss" | "trainAccuracy" | "evalLoss" | "evalAccuracy" | "evalExamples" | "evaluation" | "evidence"
>;

/** Stands for a client among a round's evaluations: no key's hash is this. */
const OPERATOR = "operator";

/** How many of the last rounds keep their members. */
const KEPT = 100;
/** How far back every tenth checkpoint is kept. */
const LONGEST = 1000;

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
    const [row] = this.#all<CheckpointRow & { trained: number; norm: number | null }>(
      `SELECT version, sha256, bytes, difference, trained, norm FROM checkpoints WHERE status = 'published' AND (? IS NULL OR version = ?)
       ORDER BY version DESC LIMIT 1`,
      chosen ?? null,
      Number(chosen ?? 0),
    );
    return row && { ...checkpointOf(row), trained: row.trained === 1, norm: row.norm };
  }

  /** L2 norm of the weights of a version; null where nobody knows. */
  normOf(version: number): number | null {
    return (
      this.#all<{ norm: number | null }>("SELECT norm FROM checkpoints WHERE version = ?", version)[0]?.norm ?? null
    );
  }

  setNorm(version: number, norm: number): void {
    this.sql.exec("UPDATE checkpoints SET norm = ? WHERE version = ?", norm, version);
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
    }>(
      "SELECT version, sha256, bytes, status, round, created_at FROM checkpoints ORDER BY version DESC LIMIT 1000",
    ).map(({ created_at, status, ...row }) => ({
      ...row,
      status: status as CheckpointRecord["status"],
      createdAt: created_at,
      current: row.version === current,
    }));
  }

  setCheckpointStatus(version: number, status: CheckpointRecord["status"]): void {
    this.sql.exec("UPDATE checkpoints SET status = ? WHERE version = ?", status, version);
  }

  /**
   * Files that the policy lets go: all but the first one, the last `keep`, every tenth of the last {@link LONGEST}, the current one,
   * and what a round starts from.
   */
  disposableCheckpoints(keep: number): { version: number; sha256: string }[] {
    return this.#all<{ version: number; sha256: string }>(
      `SELECT version, sha256 FROM checkpoints WHERE status IN ('published', 'rejected')
       AND version > 0 AND (version % 10 != 0 OR version < (SELECT max(version) FROM checkpoints) - ?)
       AND version NOT IN (SELECT version FROM checkpoints WHERE status = 'published' ORDER BY version DESC LIMIT ?)
       AND version != ? AND version NOT IN
         (SELECT base FROM updates WHERE state = 'training' UNION SELECT base FROM rounds WHERE ended_at IS NULL)`,
      ...[LONGEST, keep, this.currentCheckpoint()?.version ?? 0],
    );
  }

  checkpoint(version: number): CheckpointInfo {
    return checkpointOf(
      this.sql
        .exec<CheckpointRow>("SELECT version, sha256, bytes, difference FROM checkpoints WHERE version = ?", version)
        .one(),
    );
  }

  /** Whether a version has learned anything: it shipped with the app, or a round has made it. */
  isTrained(version: number): boolean {
    const [row] = this.#all<{ trained: number }>("SELECT trained FROM checkpoints WHERE version = ?", version);
    return row?.trained === 1;
  }

  addCheckpoint(
    { version, sha256, bytes, trained, difference, norm }: StoredCheckpoint,
    status: "published" | "candidate",
    round: number | null,
    now: number,
  ): void {
    this.sql.exec(
      `INSERT INTO checkpoints (version, sha256, bytes, created_at, trained, status, round, difference, norm)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[version, sha256, bytes, now, Number(trained), status, round],
      ...[difference ? JSON.stringify(difference) : null, norm],
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
      opened_at: number;
      aggregating_at: number | null;
    }>(
      `SELECT number, state, config, base, run, deadline, select_at, evaluate_until, opened_at, aggregating_at FROM rounds
       WHERE ended_at IS NULL ORDER BY number DESC LIMIT 1`,
    );
    if (!row) return undefined;
    const { select_at: selectAt, evaluate_until: evaluateUntil, opened_at: openedAt, ...rest } = row;
    const { aggregating_at: aggregatingAt, ...others } = rest;
    const [state, config] = [row.state as RoundState, readConfig(row.config)];
    return { ...others, state, config, selectAt, evaluateUntil, openedAt, aggregatingAt };
  }

  /** @param run the first round of the series; null begins one */
  addRound(config: RoundConfig, base: number, run: number | null, now: number): number {
    const { number } = this.sql
      .exec<{ number: number }>(
        "INSERT INTO rounds (state, config, base, opened_at) VALUES ('selecting', ?, ?, ?) RETURNING number",
        writeConfig(config),
        base,
        now,
      )
      .one();
    this.sql.exec("UPDATE rounds SET run = ? WHERE number = ?", run ?? number, number);
    return number;
  }

  setConfig(number: number, config: RoundConfig): void {
    this.sql.exec("UPDATE rounds SET config = ? WHERE number = ?", writeConfig(config), number);
  }

  /** @param at null: until enough clients wait */
  setSelectAt(number: number, at: number | null): void {
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
  startAggregating(number: number, drop: boolean, now: number): void {
    this.sql.exec("UPDATE rounds SET state = 'aggregating', aggregating_at = ? WHERE number = ?", now, number);
    if (drop) this.dropMissing(number);
  }

  /** Brings what is due in an open round into the time that it has at most from now on. */
  limitTimes({ number, config }: RoundRow, now: number): void {
    this.sql.exec(
      `UPDATE rounds SET opened_at = min(opened_at, ?), aggregating_at = min(aggregating_at, ?), deadline = min(deadline, ?),
       select_at = min(select_at, ?), evaluate_until = min(evaluate_until, ?) WHERE number = ?`,
      now,
      now,
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

  /** What every evaluator of a round has said, and which kind each is. */
  evidence(round: number): (Evaluation & Pick<Evidence, "kind">)[] {
    return this.#all<{ client: string; result: string; member: number }>(
      `SELECT client, result, EXISTS (SELECT 1 FROM updates u WHERE u.round = e.round AND u.client = e.client) AS member
       FROM evaluations e WHERE round = ? AND result IS NOT NULL`,
      round,
    ).map(({ client, result, member }) => ({
      ...(JSON.parse(result) as Evaluation),
      kind: client === OPERATOR ? "operator" : member === 1 ? "cohort" : "others",
    }));
  }

  /** Takes the operator's own evaluation of a round's candidate; a later one replaces it. */
  setOperatorEvaluation(round: number, evaluation: Evaluation, now: number): void {
    this.sql.exec("DELETE FROM evaluations WHERE round = ? AND client = ?", round, OPERATOR);
    this.sql.exec(
      "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?)",
      crypto.randomUUID(),
      round,
      OPERATOR,
      now,
      JSON.stringify(evaluation),
    );
  }

  /** How a round's candidate answers on dreamed faces, held against its base; null where nobody has looked. */
  setDreams(round: number, verdict: DreamVerdict | null): void {
    this.sql.exec("UPDATE rounds SET dreams = ? WHERE number = ?", verdict && JSON.stringify(verdict), round);
  }

  dreams(round: number): DreamVerdict | null {
    const text = this.#all<{ dreams: string | null }>("SELECT dreams FROM rounds WHERE number = ?", round)[0]?.dreams;
    return text ? (JSON.parse(text) as DreamVerdict) : null;
  }

  /** The clients' and the operator's answers, as means over all their faces; null while there is none. */
  evaluation(round: number): Round["evaluation"] {
    const folded = this.totals(round);
    if (folded) return folded.evaluation;
    const evidence = this.evidence(round);
    const sum = summarizeEvidence(evidence, this.round(round).config.maxExamples);
    const told = evidence.flatMap(({ confusion }) => (confusion ? [confusion] : []));
    return sum && { ...(told.length > 0 && { confusion: addCounts(told) }), ...sum };
  }

  /** The same by who evaluated. */
  evidenceByKind(round: number): Round["evidence"] {
    const folded = this.totals(round);
    if (folded) return folded.evidence;
    const all = this.evidence(round);
    const { maxExamples } = this.round(round).config;
    return Object.fromEntries(
      EVIDENCE_KINDS.flatMap((kind) => {
        const sum = summarizeEvidence(
          all.filter((one) => one.kind === kind),
          maxExamples,
        );
        return sum ? [[kind, sum]] : [];
      }),
    );
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

  /** What is kept of a round's members once they are folded; undefined while they are there. */
  totals(round: number): Totals | undefined {
    const [row] = this.#all<{ totals: string | null }>("SELECT totals FROM rounds WHERE number = ?", round);
    return row?.totals == null ? undefined : (JSON.parse(row.totals) as Totals);
  }

  /** Rounds that have ended, are cleared up, and are older than the last {@link KEPT}: their members can be folded. */
  foldable(): number[] {
    return this.#all<{ number: number }>(
      `SELECT number FROM rounds WHERE totals IS NULL AND cleaned = 1 AND ended_at IS NOT NULL
       AND number <= (SELECT max(number) FROM rounds) - ?`,
      KEPT,
    ).map(({ number }) => number);
  }

  /** Keeps of a round what its members came to, and forgets them and its evaluators. */
  fold(round: number, totals: Totals): void {
    this.sql.exec("UPDATE rounds SET totals = ?, hubs = '[]' WHERE number = ?", JSON.stringify(totals), round);
    this.sql.exec("DELETE FROM updates WHERE round = ? AND state != 'training'", round);
    this.sql.exec("DELETE FROM evaluations WHERE round = ?", round);
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

  /** Forgets clients that have not asked again since `since`. @returns whether there were any */
  forgetWaiting(since: number): boolean {
    return this.sql.exec("DELETE FROM waiting WHERE seen_at < ?", since).rowsWritten > 0;
  }

  waiting(): WaitingClient[] {
    return this.#all<WaitingClient & Row>("SELECT client, label, examples FROM waiting");
  }

  /** How many clients wait, which is asked at every check-in. */
  countWaiting(): number {
    return this.#all<{ count: number }>("SELECT count(*) AS count FROM waiting")[0]?.count ?? 0;
  }

  /** When the client that has not asked for longest was last seen; null when nobody waits. */
  oldestWaiting(): number | null {
    return this.sql.exec<{ at: number | null }>("SELECT min(seen_at) AS at FROM waiting").one().at;
  }

  clearWaiting(): void {
    this.sql.exec("DELETE FROM waiting");
  }

  assign({ number, base }: RoundRow, { client, label, examples }: WaitingClient, now: number): void {
    this.sql.exec(
      `INSERT INTO updates (id, round, assigned_round, base, client, label, state, assigned_at, claimed)
       VALUES (?, ?, ?, ?, ?, ?, 'training', ?, ?)`,
      ...[crypto.randomUUID(), number, number, base, client, label, now, examples],
    );
  }

  assignedIds(round: number): string[] {
    return this.#all<{ id: string }>("SELECT id FROM updates WHERE assigned_round = ? ORDER BY rowid", round).map(
      ({ id }) => id,
    );
  }

  /** What the members of a round with secure aggregation are told of the ring of its vectors. */
  secureFacts({ number, config }: Pick<RoundRow, "number" | "config">): NonNullable<Assignment["secure"]> {
    const { noise, updateClip: clip, goalCount, clipQuantile, codec } = config;
    const facts = { cohort: this.assignedIds(number).length, clip, deviation: 0, equally: noise > 0 };
    if (noise === 0 || (codec !== "int8" && codec !== "int4")) return facts;
    // As much noise as the fewest vectors of which a mean is made need together.
    const fewest = fewestOf(config);
    const below = clipQuantile > 0 ? belowNoise(deviationOfShares(goalCount), fewest) : undefined;
    return { ...facts, deviation: shareOfNoise(noiseOf(config), clip, fewest, codec), below };
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

  /** Clients of any round that have been at work since `since` or later. */
  atWork(since: number): number {
    return this.sql
      .exec<{ n: number }>("SELECT count(*) AS n FROM updates WHERE state = 'training' AND assigned_at >= ?", since)
      .one().n;
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
      claimed: number | null;
    }>(
      `SELECT id, round, assigned_round, base, state, digest, shard, norm, staleness, metadata, claimed
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
    const rows = this.#all<{ state: Member["state"]; n: number; examples: number | null }>(
      "SELECT state, count(*) AS n, sum(json_extract(metadata, '$.examples')) AS examples FROM updates WHERE round = ? GROUP BY state",
      round,
    );
    for (const { state, n, examples } of rows) {
      tally[state] = n;
      if (state === "counted") tally.examples = examples ?? 0;
    }
    return tally;
  }

  refuse(round: number, code: string): void {
    this.sql.exec(`INSERT INTO refusals VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1`, round, code);
  }

  /** What a round, open or not, was told to do, and the checkpoint that it has come to. */
  round(number: number): { config: RoundConfig; checkpoint: CheckpointInfo | null } {
    const { config, checkpoint } = this.sql
      .exec<{ config: string; checkpoint: number | null }>(
        "SELECT config, checkpoint FROM rounds WHERE number = ?",
        number,
      )
      .one();
    return { config: readConfig(config), checkpoint: checkpoint === null ? null : this.checkpoint(checkpoint) };
  }

  roundExists(number: number): boolean {
    return this.#all("SELECT 1 FROM rounds WHERE number = ?", number).length > 0;
  }

  /**
   * Every series of rounds that has read clients' updates, by sampling and noise. One with noise counts from its draw on, whatever
   * became of it; one without counts once it has made a checkpoint.
   */
  mechanisms(): Task["privacy"] {
    return this.#all<{ sampling: number; noise: number; rounds: number; clients: number }>(
      // Who adds the noise itself does not trust the edge, which knows who was drawn: then the draw hides nobody.
      `SELECT CASE WHEN coalesce(json_extract(config, '$.noise'), 0) > 0 AND json_extract(config, '$.secure') THEN 1
         ELSE json_extract(config, '$.fraction') END AS sampling,
       coalesce(json_extract(config, '$.noise'), 0) AS noise, count(*) AS rounds,
       max(ceil(json_extract(config, '$.goalCount') / json_extract(config, '$.fraction'))) AS clients FROM rounds
       WHERE CASE WHEN coalesce(json_extract(config, '$.noise'), 0) > 0 THEN training_at ELSE checkpoint END IS NOT NULL
       GROUP BY 1, 2`,
    );
  }
}

/** A checkpoint as its table has it. */
type CheckpointRow = { version: number; sha256: string; bytes: number; difference: string | null };

const checkpointOf = ({ version, sha256, bytes, difference }: CheckpointRow): CheckpointInfo => ({
  ...{ version, sha256, bytes },
  ...(difference !== null && { difference: JSON.parse(difference) as CheckpointInfo["difference"] }),
});

/** A configuration as it is kept. @throws ValiError rather than keep one that could not be read again */
const writeConfig = (config: RoundConfig): string => JSON.stringify(v.parse(roundConfigSchema, config));

/** A stored configuration. An older one lacks what came later; what cannot be read any more has its default, so that a task can always be opened. */
export function readConfig(json: string): RoundConfig {
  const stored = JSON.parse(json) as Record<string, unknown>;
  const whole = v.safeParse(roundConfigSchema, stored);
  if (whole.success) return whole.output;
  const readable = Object.entries(roundConfigSchema.entries).filter(
    ([key, field]) => key in stored && v.is(field, stored[key]),
  );
  return v.parse(roundConfigSchema, Object.fromEntries(readable.map(([key]) => [key, stored[key]])));
}
