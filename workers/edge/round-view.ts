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
import { isOver } from "../../src/federation/round/life";
import { hidesCohort } from "../../src/federation/round/rule";
import { quantile } from "../../src/federation/rounds-csv";
import type { Totals } from "./store/rounds";
import type { TaskStore } from "./store/store";
import { metadataColumn } from "./store/updates";

/** Members that a page of rounds tells of, those of its latest rounds first. */
export const MOST_MEMBERS = 100;
/** Characters of a page: what is left out of it is on the page before. */
const MOST_TEXT = 90_000;

/**
 * What clients and the dashboard see of rounds.
 *
 * In a round with noise, or with secure aggregation, nobody's numbers are told: of the clients only where they are, and of their
 * sums nothing before the round has ended. Means that grow with each client tell that client's numbers by their differences. What
 * noise is there to hide is not told after the end either: no noise is on those sums. Of a round whose cohort is a secret nothing is
 * told that depends on who was drawn: no members, no counts, no refusals.
 */
export class RoundView {
  constructor(private readonly store: TaskStore) {}

  /** A round, and at most so many of its members. */
  round(number: number, members = Infinity): Round {
    const { store } = this;
    const row = store.rounds.get(number);
    const { config } = row;
    const known = store.rounds.totals(number) ?? this.#totals(number, config, isOver(row));
    const isHidden = hidesCohort(config);
    const hubs = store.rounds.hubs(number);
    const loads = hubs.length > 0 ? store.updates.shardLoads(number) : undefined;
    return {
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
      cohort: isHidden ? [] : this.#members(number, config, members),
      refused: isHidden ? {} : store.refusals.of(number),
      ...known,
      tally: isHidden ? null : known.tally,
      ...evaluatedOf(config, known, isOver(row)),
      dreams: store.rounds.dreams(number),
      note: store.notes.of(number),
      hubs: hubs.map((hub, i) => ({ ...hub, updates: loads?.get(i) ?? 0 })),
    };
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

  #totals(number: number, config: RoundConfig, hasEnded: boolean): Totals {
    const { evaluations, rounds } = this.store;
    const evaluated = {
      evaluation: evaluations.summary(number, config.maxExamples),
      evidence: evaluations.summaryByKind(number, config.maxExamples),
    };
    const tally = this.#tally(number, config);
    const facts = rounds.facts(number);
    // With noise never, and under secure aggregation not before the sum that everybody has agreed to open.
    const hidden = config.noise > 0 || (config.secure && (!hasEnded || !facts));
    if (hidden) return { tally, ...evaluated, ...NOTHING };
    if (facts) {
      const { trainLoss, trainAccuracy, evalExamples } = facts;
      const { evalLoss, evalAccuracy } = evalExamples > 0 ? facts : { evalLoss: null, evalAccuracy: null };
      return { tally, ...evaluated, trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples };
    }
    return { tally, ...evaluated, ...this.#means(number) };
  }

  /** Means over the counted updates, weighted by their faces. */
  #means(number: number): typeof NOTHING {
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

  #tally(number: number, config: RoundConfig): Tally {
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
    const tally = { ...row, medianSeconds: quantile(seconds, 0.5), slowestSeconds: quantile(seconds, 0.95) };
    // How well an update packs tells something of it.
    return isPrivate(config) ? { ...tally, bytesUp: 0, bytesDown: 0 } : tally;
  }

  #members(number: number, config: RoundConfig, most: number): Member[] {
    const rows = this.store.db.all(
      memberRow,
      `SELECT label, state, bytes, metadata, assigned_at, uploaded_at, staleness, norm FROM updates WHERE round = ?
       ORDER BY rowid LIMIT ?`,
      ...[number, Math.max(0, Math.min(most, 10_000))],
    );
    return rows.map(({ label, state, assigned_at: assignedAt, uploaded_at: uploadedAt, staleness, ...row }) => {
      const member = { client: label, state, assignedAt, uploadedAt, staleness };
      if (isPrivate(config)) return { ...member, ...UNTOLD };
      const { metadata, norm, bytes } = row;
      return {
        ...member,
        examples: metadata?.examples ?? null,
        bytesUp: bytes,
        bytesDown: metadata?.bytesDown ?? 0,
        trainLoss: metadata?.trainLoss ?? null,
        trainAccuracy: metadata?.trainAccuracy ?? null,
        initialLoss: metadata?.initialLoss ?? null,
        backend: metadata?.backend ?? null,
        norm,
      };
    });
  }
}

/** Rounds that are there to hide what a client sends. */
const isPrivate = ({ noise, secure }: RoundConfig): boolean => noise > 0 || secure;

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
});

const NOTHING: v.InferOutput<typeof meansRow> = {
  trainLoss: null,
  trainAccuracy: null,
  evalLoss: null,
  evalAccuracy: null,
  evalExamples: 0,
};

const UNTOLD = {
  examples: null,
  bytesUp: 0,
  bytesDown: 0,
  trainLoss: null,
  trainAccuracy: null,
  initialLoss: null,
  backend: null,
  norm: null,
} satisfies Partial<Member>;

/**
 * What is shown of a round's evaluations: with noise those of the operator, whose faces are nobody's secret; of one that keeps single
 * clients' numbers their mean at its end, where it is of several. A kind may be a single client.
 */
function evaluatedOf(
  { noise, secure }: RoundConfig,
  { evaluation, evidence }: Pick<Totals, "evaluation" | "evidence">,
  hasEnded: boolean,
): Pick<Round, "evaluation" | "evidence"> {
  const { operator } = evidence;
  if (noise > 0) return { evaluation: operator ?? null, evidence: operator ? { operator } : {} };
  if (!secure) return { evaluation, evidence };
  return { evaluation: hasEnded && evaluation && evaluation.clients > 1 ? evaluation : null, evidence: {} };
}
