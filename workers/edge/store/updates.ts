import * as v from "valibot";
import { memberSchema, type DeadLetter } from "../../../src/federation/protocol";
import { NO_MEMBERS, type MemberCounts, type MemberState } from "../../../src/federation/round/life";
import type { UpdateMetadata, UpdateSummary } from "../../../src/federation/update";
import { optionalJson, type Database } from "./database";
import { HIDES_COHORT } from "./rounds";
import type { WaitingClient } from "./waiting";

const memberState = memberSchema.entries.state;

/** What is still asked of an update's own words once it was accepted. */
export const metadataColumn = optionalJson(
  v.object({
    examples: v.number(),
    trainLoss: v.nullable(v.number()),
    trainAccuracy: v.nullable(v.number()),
    bytesDown: v.optional(v.number(), 0),
    backend: v.optional(v.nullable(v.string()), null),
    initialLoss: v.optional(v.number()),
    /** Of local SGD, that its client has taken by what it says; where the round asks. */
    steps: v.optional(v.number()),
    /** Norm of what the server steps of it, where its optimizer asks. */
    stepNorm: v.optional(v.number()),
  }),
);

const updateRow = v.pipe(
  v.object({
    id: v.string(),
    round: v.number(),
    assigned_round: v.number(),
    base: v.number(),
    state: memberState,
    digest: v.nullable(v.string()),
    shard: v.nullable(v.number()),
    norm: v.nullable(v.number()),
    staleness: v.number(),
    metadata: metadataColumn,
    claimed: v.nullable(v.number()),
  }),
  v.transform(({ assigned_round: assignedRound, ...row }) => ({ ...row, assignedRound })),
);

/**
 * A member's update: where it counts (`round`; in async rounds perhaps a later one than it was assigned in), the version of its base,
 * and the faces that its client said it had when it checked in (`claimed`; null where an older edge has not noted it).
 */
export type UpdateRow = v.InferOutput<typeof updateRow>;

const assignmentRow = v.pipe(
  v.object({ id: v.string(), state: memberState, base: v.number(), assigned_round: v.number() }),
  v.transform(({ assigned_round: round, ...row }) => ({ ...row, round })),
);
const idRow = v.object({ id: v.string() });
const numberRow = v.object({ n: v.number() });
const countRow = v.object({ state: memberState, n: v.number() });
const loadRow = v.object({ shard: v.number(), load: v.number() });
const clientRow = v.object({ client: v.string() });
const letterRow = v.object({ id: v.string(), round: v.number(), label: v.string(), reason: v.string() });

const COLUMNS = "id, round, assigned_round, base, state, digest, shard, norm, staleness, metadata, claimed";

/** The members of all rounds and their updates. */
export class UpdateTable {
  constructor(private readonly db: Database) {}

  get(id: string): UpdateRow | undefined {
    return this.#where("id = ?", id)[0];
  }

  /** The client that an update's or an evaluation's id was given to. */
  ownerOf(id: string): string | undefined {
    return this.db.first(
      clientRow,
      "SELECT client FROM updates WHERE id = ?1 UNION ALL SELECT client FROM evaluations WHERE id = ?1",
      id,
    )?.client;
  }

  /** Makes a client a member of a round. */
  assign(round: { number: number; base: number }, { client, label, examples }: WaitingClient, now: number): void {
    this.db.run(
      `INSERT INTO updates (id, round, assigned_round, base, client, label, state, assigned_at, claimed)
       VALUES (?, ?, ?, ?, ?, ?, 'training', ?, ?)`,
      ...[crypto.randomUUID(), round.number, round.number, round.base, client, label, now, examples],
    );
  }

  /** What a client was told to do in this round, or in an async series in an earlier one and has not done yet. */
  assignmentOf(client: string, round: number): v.InferOutput<typeof assignmentRow> | undefined {
    return this.db.first(
      assignmentRow,
      `SELECT id, state, base, assigned_round FROM updates WHERE client = ? AND (assigned_round = ? OR state = 'training')
       ORDER BY state = 'training' DESC LIMIT 1`,
      ...[client, round],
    );
  }

  assignedIds(round: number): string[] {
    const rows = this.db.all(idRow, "SELECT id FROM updates WHERE assigned_round = ? ORDER BY rowid", round);
    return rows.map(({ id }) => id);
  }

  /** How many faces each member of a round has said it has; also a member of an earlier one, whose update counts in this one. */
  claims(round: number, also: string | null = null): number[] {
    const rows = this.db.all(
      numberRow,
      "SELECT coalesce(claimed, 1) AS n FROM updates WHERE round = ? OR id = ?",
      ...[round, also],
    );
    return rows.map(({ n }) => n);
  }

  /** Clients of any round that have been at work since `since` or later. */
  atWork(since: number): number {
    return this.db.number("SELECT count(*) AS n FROM updates WHERE state = 'training' AND assigned_at >= ?", since);
  }

  /** How many members of a round are in each state. */
  tally(round: number): MemberCounts {
    const tally = { ...NO_MEMBERS };
    const rows = this.db.all(
      countRow,
      "SELECT state, count(*) AS n FROM updates WHERE round = ? GROUP BY state",
      round,
    );
    for (const { state, n } of rows) tally[state] = n;
    return tally;
  }

  /** Examples of a round's counted updates. */
  examples(round: number): number {
    return this.db.number(
      "SELECT coalesce(sum(json_extract(metadata, '$.examples')), 0) AS n FROM updates WHERE round = ? AND state = 'counted'",
      round,
    );
  }

  /** Every counted update of a round, in the order of their assignment. */
  counted(round: number): UpdateRow[] {
    return this.#where("round = ? AND state = 'counted' ORDER BY rowid", round);
  }

  setState(id: string, state: MemberState): void {
    this.db.run("UPDATE updates SET state = ? WHERE id = ?", state, id);
  }

  /** Keeps what is known of an update that has come. @param place where it counts, and how many versions its base is behind */
  setUploaded(
    id: string,
    { digest, bytes, summary }: { digest: string; bytes: number; summary: UpdateSummary },
    place: { round: number; staleness: number },
    now: number,
  ): void {
    this.db.run(
      `UPDATE updates SET digest = ?, bytes = ?, metadata = ?, norm = ?, round = ?, staleness = ?, uploaded_at = ?,
       queued_at = ? WHERE id = ?`,
      ...[digest, bytes, stored(summary.metadata), summary.norm, place.round, place.staleness],
      // The router puts it in the queue right after this.
      ...[now, now, id],
    );
  }

  /** Keeps how an update lay to the average of its round. */
  setCosine(id: string, cosine: number | null): void {
    this.db.run("UPDATE updates SET cosine = ? WHERE id = ? AND state = 'counted'", cosine, id);
  }

  setReason(id: string, reason: string | null): void {
    this.db.run("UPDATE updates SET reason = ? WHERE id = ?", reason, id);
  }

  dropMissing(round: number): void {
    this.db.run("UPDATE updates SET state = 'dropped' WHERE round = ? AND state = 'training'", round);
  }

  /** In an async series: those whose base has become too old. */
  dropStale(oldest: number): void {
    this.db.run("UPDATE updates SET state = 'dropped' WHERE state = 'training' AND base < ?", oldest);
  }

  /** Whoever is still at work for a series that has ended. */
  dropAll(): void {
    this.db.run("UPDATE updates SET state = 'dropped' WHERE state = 'training'");
  }

  /** Updates of a round that were taken out of it, and that still lie somewhere. */
  withdrawn(round: number): UpdateRow[] {
    return this.#where("round = ? AND state = 'dropped' AND digest IS NOT NULL", round);
  }

  /** Nothing is left of a withdrawn update but that there was one. */
  forget(id: string): void {
    this.db.run(
      "UPDATE updates SET digest = NULL, shard = NULL, metadata = NULL, norm = NULL, cosine = NULL, bytes = 0 WHERE id = ?",
      id,
    );
  }

  /** Forgets the members of a round, but those that may still send something. */
  forgetMembers(round: number): void {
    this.db.run("DELETE FROM updates WHERE round = ? AND state != 'training'", round);
  }

  /** Those of rounds that do not hide their cohort. */
  deadLetters(): DeadLetter[] {
    return this.db
      .all(
        letterRow,
        `SELECT id, round, label, coalesce(reason, '') AS reason FROM updates WHERE state = 'dead'
         AND round NOT IN (SELECT number FROM rounds WHERE ${HIDES_COHORT}) ORDER BY rowid`,
      )
      .map(({ label, ...row }) => ({ ...row, client: label }));
  }

  /** The rounds in which a round's updates were assigned, and so where their files lie. */
  assignedRounds(round: number): number[] {
    const rows = this.db.all(numberRow, "SELECT DISTINCT assigned_round AS n FROM updates WHERE round = ?", round);
    return rows.map(({ n }) => n);
  }

  /** Ids of a round's assignments whose files must stay: they are on their way into a round that is open. */
  pendingIds(assignedRound: number): Set<string> {
    const rows = this.db.all(
      idRow,
      `SELECT u.id FROM updates u JOIN rounds r ON r.number = u.round WHERE u.assigned_round = ?
       AND (u.state = 'training' OR (u.state IN ('uploaded', 'counted', 'dead') AND r.ended_at IS NULL))`,
      assignedRound,
    );
    return new Set(rows.map(({ id }) => id));
  }

  setShard(id: string, shard: number): void {
    this.db.run("UPDATE updates SET shard = ? WHERE id = ?", shard, id);
  }

  /** Updates that each shard of a round was given. */
  shardLoads(round: number): Map<number, number> {
    const rows = this.db.all(
      loadRow,
      "SELECT shard, count(*) AS load FROM updates WHERE round = ? AND shard IS NOT NULL GROUP BY shard",
      round,
    );
    return new Map(rows.map(({ shard, load }) => [shard, load]));
  }

  /** Counted updates that a shard has added. */
  countedBy(round: number, shard: number): number {
    return this.db.number(
      "SELECT count(*) AS n FROM updates WHERE round = ? AND shard = ? AND state = 'counted'",
      ...[round, shard],
    );
  }

  /** Takes a shard's updates away from it, to be counted by others. */
  unassignShard(round: number, shard: number, queuedAt: number): void {
    this.db.run(
      `UPDATE updates SET shard = NULL, state = 'uploaded', queued_at = ? WHERE round = ? AND shard = ?
       AND state IN ('uploaded', 'counted')`,
      ...[queuedAt, round, shard],
    );
  }

  /** Accepted updates that are not counted yet and were last put in the queue before `before`. */
  uncounted(round: number, before: number): string[] {
    const rows = this.db.all(
      idRow,
      "SELECT id FROM updates WHERE round = ? AND state = 'uploaded' AND coalesce(queued_at, 0) < ?",
      ...[round, before],
    );
    return rows.map(({ id }) => id);
  }

  /** When the longest waiting accepted update was last put in the queue (0 for never); null when none waits. */
  oldestQueued(round: number): number | null {
    return this.db.one(
      v.object({ at: v.nullable(v.number()) }),
      "SELECT min(coalesce(queued_at, 0)) AS at FROM updates WHERE round = ? AND state = 'uploaded'",
      round,
    ).at;
  }

  setQueued(id: string, now: number): void {
    this.db.run("UPDATE updates SET queued_at = ? WHERE id = ?", now, id);
  }

  /** After the clock was set back: nothing was queued in a future that has not come yet. */
  limitQueued(round: number, now: number): void {
    this.db.run("UPDATE updates SET queued_at = min(queued_at, ?) WHERE round = ?", now, round);
  }

  #where(condition: string, ...values: SqlStorageValue[]): UpdateRow[] {
    return this.db.all(updateRow, `SELECT ${COLUMNS} FROM updates WHERE ${condition}`, ...values);
  }
}

const stored = (metadata: UpdateMetadata | null): string | null => metadata && JSON.stringify(metadata);
