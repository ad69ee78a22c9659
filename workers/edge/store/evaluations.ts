import * as v from "valibot";
import { addCounts } from "../../../src/model/evaluation";
import { EVIDENCE_KINDS, summarizeEvidence, type Evidence } from "../../../src/federation/guard";
import { evaluationSchema, type Evaluation, type Round } from "../../../src/federation/protocol";
import { flag, optionalJson, type Database } from "./database";

/** Stands for a client among a round's evaluations: no key's hash is this. */
const OPERATOR = "operator";

const answerRow = v.object({ client: v.string(), result: optionalJson(evaluationSchema), member: flag });
const askedRow = v.object({ client: v.string(), done: flag, asked_at: v.number() });
const roundRow = v.object({ round: v.number() });

/** Whom a round's candidate was given to evaluate, and what they have said. */
export class EvaluationTable {
  constructor(private readonly db: Database) {}

  /** Asks a client to evaluate a round's candidate; the same question again for one that was asked before. */
  ask(round: number, client: string, now: number): string {
    this.db.run(
      "INSERT OR IGNORE INTO evaluations (id, round, client, asked_at) VALUES (?, ?, ?, ?)",
      ...[crypto.randomUUID(), round, client, now],
    );
    const row = v.object({ id: v.string() });
    return this.db.one(row, "SELECT id FROM evaluations WHERE round = ? AND client = ?", round, client).id;
  }

  /** The round whose candidate an evaluation is of, if there is such an evaluation. */
  roundOf(id: string): number | undefined {
    return this.db.first(roundRow, "SELECT round FROM evaluations WHERE id = ?", id)?.round;
  }

  /** @returns the round whose candidate this answers, if it was asked for and not answered yet */
  answer(id: string, evaluation: Evaluation): number | undefined {
    return this.db.first(
      roundRow,
      "UPDATE evaluations SET result = ? WHERE id = ? AND result IS NULL RETURNING round",
      ...[JSON.stringify(evaluation), id],
    )?.round;
  }

  /** Takes the operator's own evaluation of a round's candidate; a later one replaces it. */
  setOperator(round: number, evaluation: Evaluation, now: number): void {
    this.db.run("DELETE FROM evaluations WHERE round = ? AND client = ?", round, OPERATOR);
    this.db.run(
      "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?)",
      ...[crypto.randomUUID(), round, OPERATOR, now, JSON.stringify(evaluation)],
    );
  }

  /**
   * Clients whose word on a round's candidate is there or may still come, and whether this one has answered.
   * @param askedSince who was asked before that and is silent is not waited for: its place is another's
   */
  stateOf(round: number, client: string, askedSince: number): { asked: number; own: "none" | "asked" | "answered" } {
    const rows = this.db.all(
      askedRow,
      "SELECT client, result IS NOT NULL AS done, asked_at FROM evaluations WHERE round = ? AND client != ?",
      ...[round, OPERATOR],
    );
    const own = rows.find((row) => row.client === client);
    const asked = rows.filter(({ done, asked_at }) => done || asked_at > askedSince).length;
    return { asked, own: own === undefined ? "none" : own.done ? "answered" : "asked" };
  }

  /** What every evaluator of a round has said, and which kind each is. */
  evidence(round: number): (Evaluation & Pick<Evidence, "kind" | "best">)[] {
    return this.db
      .all(
        answerRow,
        `SELECT client, result, EXISTS (SELECT 1 FROM updates u WHERE u.round = e.round AND u.client = e.client) AS member
         FROM evaluations e WHERE round = ? AND result IS NOT NULL`,
        round,
      )
      .flatMap(({ client, result, member }): (Evaluation & Pick<Evidence, "kind" | "best">)[] => {
        if (!result) return [];
        if (client !== OPERATOR) return [{ ...result, kind: member ? "cohort" : "others" }];
        return [{ ...result, kind: "operator", best: this.#bestBefore(round, result.examples) }];
      });
  }

  /** The clients' and the operator's answers, as means over all their faces; null while there is none. */
  summary(round: number, maxExamples: number): Round["evaluation"] {
    const evidence = this.evidence(round);
    const sum = summarizeEvidence(evidence, maxExamples);
    const told = evidence.flatMap(({ confusion }) => (confusion ? [confusion] : []));
    return sum && { ...(told.length > 0 && { confusion: addCounts(told) }), ...sum };
  }

  /** The same by who evaluated. */
  summaryByKind(round: number, maxExamples: number): NonNullable<Round["evidence"]> {
    const evidence = this.evidence(round);
    return Object.fromEntries(
      EVIDENCE_KINDS.flatMap((kind) => {
        const own = evidence.filter((one) => one.kind === kind);
        const sum = summarizeEvidence(own, maxExamples);
        return sum ? [[kind, sum]] : [];
      }),
    );
  }

  /** The best accuracy on as many of the operator's faces that a version had which was published before a round. */
  #bestBefore(round: number, examples: number): number | undefined {
    const [row] = this.db.all(
      v.object({ best: v.nullable(v.number()) }),
      `SELECT max(json_extract(e.result, '$.accuracy')) AS best FROM evaluations e JOIN rounds r ON r.number = e.round
       WHERE e.client = ? AND e.round < ? AND r.state = 'published' AND json_extract(e.result, '$.examples') = ?`,
      ...[OPERATOR, round, examples],
    );
    return row?.best ?? undefined;
  }

  forget(round: number): void {
    this.db.run("DELETE FROM evaluations WHERE round = ?", round);
  }
}
