import * as v from "valibot";
import {
  memberSchema,
  MOST_ROUNDS,
  type Member,
  type Page,
  type Round,
  type RoundConfig,
  type Tally,
} from "../../src/federation/protocol";
import { NO_MEANS, shown } from "../../src/federation/round/shown";
import { quantile } from "../../src/federation/rounds-csv";
import type { Totals } from "./store/rounds";
import type { TaskStore } from "./store/store";
import { metadataColumn } from "./store/updates";

/** Members that a page of rounds tells of, those of its latest rounds first. */
export const MOST_MEMBERS = 100;
/** Characters of a page: what is left out of it is on the page before. */
const MOST_TEXT = 90_000;

/** What clients and the dashboard see of rounds: all that the tables hold, but for what is nobody's to know ({@link shown}). */
export class RoundView {
  constructor(private readonly store: TaskStore) {}

  /** A round, and at most so many of its members. */
  round(number: number, members = Infinity): Round {
    const { store } = this;
    const row = store.rounds.get(number);
    const { config } = row;
    const known = store.rounds.totals(number) ?? this.#totals(number, config);
    const hubs = store.rounds.hubs(number);
    const loads = hubs.length > 0 ? store.updates.shardLoads(number) : undefined;
    return shown({
      number,
      run: row.run,
      state: row.state,
      reason: row.reason,
      plateau: row.plateau,
      config,
      base: store.checkpoints.get(row.base),
      checkpoint: row.candidate === null ? null : store.checkpoints.get(row.candidate),
      openedAt: row.openedAt,
      trainingAt: row.trainingAt,
      endedAt: row.endedAt,
      deadline: row.deadline,
      waiting: row.state === "selecting" ? store.waiting.count() : 0,
      cohort: this.#members(number, members),
      refused: store.refusals.of(number),
      ...known,
      dreams: store.rounds.dreams(number),
      note: store.notes.of(number),
      hubs: hubs.map((hub, i) => ({ ...hub, updates: loads?.get(i) ?? 0 })),
    });
  }

  /** A page of rounds, the oldest first; as many as fit into it. */
  page({ before = Infinity, limit = MOST_ROUNDS }: Partial<Page>): Round[] {
    const rounds: Round[] = [];
    let [members, text] = [MOST_MEMBERS, 0];
    for (const number of this.store.rounds.before(before, limit)) {
      const round = this.round(number, members);
      text += JSON.stringify(round).length;
      if (text > MOST_TEXT && rounds.length > 0) break;
      members -= round.cohort.length;
      rounds.push(round);
    }
    return rounds.reverse();
  }

  /** Folds the members of rounds that ended long ago into what they came to. */
  foldOld(): void {
    for (const number of this.store.rounds.foldable()) {
      const { tally, trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples, evaluation, evidence } =
        this.round(number, 0);
      const means = { trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples };
      this.store.fold(number, { tally, ...means, evaluation, evidence });
    }
  }

  #totals(number: number, { maxExamples }: RoundConfig): Totals {
    const { evaluations, rounds } = this.store;
    const evaluated = {
      evaluation: evaluations.summary(number, maxExamples),
      evidence: evaluations.summaryByKind(number, maxExamples),
    };
    const tally = this.#tally(number);
    const facts = rounds.facts(number);
    if (!facts) return { tally, ...evaluated, ...this.#means(number) };
    const { trainLoss, trainAccuracy, evalExamples } = facts;
    const { evalLoss, evalAccuracy } = evalExamples > 0 ? facts : NO_MEANS;
    return { tally, ...evaluated, trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples };
  }

  /** Means over the counted updates, weighted by their faces. */
  #means(number: number): v.InferOutput<typeof meansRow> {
    const mean = (of: string, by: string): string =>
      `sum(json_extract(metadata, '$.${of}') * json_extract(metadata, '$.${by}')) / sum(json_extract(metadata, '$.${by}'))`;
    return this.store.db.one(
      meansRow,
      `SELECT ${mean("trainLoss", "examples")} AS trainLoss, ${mean("trainAccuracy", "examples")} AS trainAccuracy,
       ${mean("evalLoss", "evalExamples")} AS evalLoss, ${mean("evalAccuracy", "evalExamples")} AS evalAccuracy,
       coalesce(sum(json_extract(metadata, '$.evalExamples')), 0) AS evalExamples
       FROM updates WHERE round = ? AND state = 'counted' AND metadata IS NOT NULL`,
      number,
    );
  }

  #tally(number: number): Tally {
    const row = this.store.db.one(
      tallyRow,
      `SELECT count(*) AS selected, count(uploaded_at) AS uploaded, count(*) FILTER (WHERE state = 'counted') AS counted,
       count(*) FILTER (WHERE state = 'dropped') AS dropped, count(*) FILTER (WHERE state = 'dead') AS dead,
       coalesce(sum(bytes), 0) AS bytesUp, coalesce(sum(json_extract(metadata, '$.bytesDown')), 0) AS bytesDown
       FROM updates WHERE round = ?`,
      number,
    );
    const seconds = this.store.db
      .all(
        v.object({ took: v.number() }),
        "SELECT (uploaded_at - assigned_at) / 1000.0 AS took FROM updates WHERE round = ? AND uploaded_at IS NOT NULL",
        number,
      )
      .map(({ took }) => took);
    return { ...row, medianSeconds: quantile(seconds, 0.5), slowestSeconds: quantile(seconds, 0.95) };
  }

  #members(number: number, most: number): Member[] {
    const rows = this.store.db.all(
      memberRow,
      `SELECT label, state, bytes, metadata, assigned_at, uploaded_at, staleness, norm, cosine FROM updates WHERE round = ?
       ORDER BY rowid LIMIT ?`,
      ...[number, Math.max(0, Math.min(most, 10_000))],
    );
    return rows.map(({ label, state, assigned_at: assignedAt, uploaded_at: uploadedAt, staleness, ...row }) => {
      const { metadata, norm, cosine, bytes } = row;
      return {
        client: label,
        state,
        assignedAt,
        uploadedAt,
        staleness,
        examples: metadata?.examples ?? null,
        bytesUp: bytes,
        bytesDown: metadata?.bytesDown ?? 0,
        trainLoss: metadata?.trainLoss ?? null,
        trainAccuracy: metadata?.trainAccuracy ?? null,
        initialLoss: metadata?.initialLoss ?? null,
        backend: metadata?.backend ?? null,
        norm,
        cosine,
      };
    });
  }
}

const meansRow = v.object({
  trainLoss: v.nullable(v.number()),
  trainAccuracy: v.nullable(v.number()),
  evalLoss: v.nullable(v.number()),
  evalAccuracy: v.nullable(v.number()),
  evalExamples: v.number(),
});

const tallyRow = v.object({
  selected: v.number(),
  uploaded: v.number(),
  counted: v.number(),
  dropped: v.number(),
  dead: v.number(),
  bytesUp: v.number(),
  bytesDown: v.number(),
});

const memberRow = v.object({
  label: v.string(),
  state: memberSchema.entries.state,
  bytes: v.number(),
  metadata: metadataColumn,
  assigned_at: v.number(),
  uploaded_at: v.nullable(v.number()),
  staleness: v.number(),
  norm: v.nullable(v.number()),
  cosine: v.nullable(v.number()),
});
