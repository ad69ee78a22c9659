import * as v from "valibot";
import type { Round } from "../../../src/federation/protocol";
import type { RoundLife } from "../../../src/federation/round/life";
import { CheckpointTable } from "./checkpoints";
import { Database } from "./database";
import { EvaluationTable } from "./evaluations";
import { EventTable } from "./events";
import { NonceTable } from "./nonces";
import { NoteTable } from "./notes";
import { RefusalTable } from "./refusals";
import { HIDES_COHORT, RoundTable, type RoundRow, type Totals } from "./rounds";
import { SecureTables } from "./secure";
import { SettingsTable } from "./settings";
import { UpdateTable } from "./updates";
import { WaitingTable } from "./waiting";

const countRow = v.object({ key: v.string(), n: v.number() });

/** The open round as it is kept, with all that decides what becomes of it. */
export type StoredLife = RoundLife & RoundRow;

/** A task's tables. What belongs together is one transaction of its caller. */
export class TaskStore {
  readonly db: Database;
  readonly settings: SettingsTable;
  readonly checkpoints: CheckpointTable;
  readonly rounds: RoundTable;
  readonly updates: UpdateTable;
  readonly waiting: WaitingTable;
  readonly evaluations: EvaluationTable;
  readonly refusals: RefusalTable;
  readonly nonces: NonceTable;
  readonly secure: SecureTables;
  readonly events: EventTable;
  readonly notes: NoteTable;

  constructor(sql: SqlStorage, task: string) {
    this.db = new Database(sql);
    this.db.migrate();
    this.settings = new SettingsTable(this.db);
    this.checkpoints = new CheckpointTable(this.db, this.settings);
    this.rounds = new RoundTable(this.db);
    this.updates = new UpdateTable(this.db);
    this.waiting = new WaitingTable(this.db);
    this.evaluations = new EvaluationTable(this.db);
    this.refusals = new RefusalTable(this.db);
    this.nonces = new NonceTable(this.db);
    this.secure = new SecureTables(this.db, task);
    this.events = new EventTable(this.db);
    this.notes = new NoteTable(this.db);
  }

  /** The open round. */
  life(): StoredLife | undefined {
    const row = this.rounds.open();
    if (!row) return undefined;
    const isEvaluating = row.state === "evaluating";
    return {
      ...row,
      waiting: row.state === "selecting" ? this.waiting.count() : 0,
      tally: this.updates.tally(row.number),
      evidence: isEvaluating ? this.evaluations.evidence(row.number) : [],
      dreams: isEvaluating ? this.rounds.dreams(row.number) : null,
    };
  }

  /** The clients' and the operator's answers on a round's candidate, as means over all their faces; null while there is none. */
  evaluation(round: number): Round["evaluation"] {
    const folded = this.rounds.totals(round);
    if (folded) return folded.evaluation;
    return this.evaluations.summary(round, this.rounds.get(round).config.maxExamples);
  }

  /** Keeps of a round what its members came to, and forgets them and its evaluators. */
  fold(round: number, totals: Totals): void {
    this.rounds.fold(round, totals);
    this.updates.forgetMembers(round);
    this.evaluations.forget(round);
  }

  /** Counts for the metrics: updates by state, rounds by state, refusals by code. Rounds that hide their cohort give no updates. */
  counts(): Record<"updates" | "rounds" | "refusals", Record<string, number>> {
    const told = `round NOT IN (SELECT number FROM rounds WHERE ${HIDES_COHORT})`;
    const by = (query: string): Record<string, number> =>
      Object.fromEntries(this.db.all(countRow, query).map(({ key, n }) => [key, n]));
    return {
      updates: by(`SELECT state AS key, count(*) AS n FROM updates WHERE ${told} GROUP BY state`),
      rounds: by("SELECT state AS key, count(*) AS n FROM rounds GROUP BY state"),
      refusals: by(`SELECT code AS key, sum(count) AS n FROM refusals WHERE ${told} GROUP BY code`),
    };
  }
}
