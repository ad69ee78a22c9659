import {
  MOST_ROUNDS,
  type Member,
  type Page,
  type Round,
  type RoundConfig,
  type RoundState,
  type Tally,
} from "../../src/core/protocol";
import { quantile } from "../../src/core/rounds-csv";
import type { UpdateMetadata } from "../../src/core/update";
import { readConfig, type RoundStore, type Totals } from "./round-store";

/** Members that a page of rounds tells of, those of its latest rounds first. */
export const MOST_MEMBERS = 100;
/** Characters of a page: what is left out of it is on the page before. */
const MOST_TEXT = 90_000;

/**
 * What clients and the dashboard see of rounds.
 *
 * In a round with noise, or with secure aggregation, nobody's numbers are told: of the clients only where they are, and of their
 * sums nothing before the round has ended. Means that grow with each client tell that client's numbers by their differences. What
 * noise is there to hide is not told after the end either: no noise is on those sums.
 */
export class RoundView {
  constructor(
    private readonly sql: SqlStorage,
    private readonly store: RoundStore,
  ) {}

  /** A round, and at most so many of its members. */
  round(number: number, members = Infinity): Round {
    const row = this.sql.exec<RoundRecord>(`SELECT ${COLUMNS} FROM rounds WHERE number = ?`, number).one();
    const config = readConfig(row.config);
    const isOver = row.ended_at !== null;
    const known = this.store.totals(number) ?? this.#totals(number, config, isOver);
    const hubs = this.store.hubs(number);
    const loads = hubs.length > 0 ? this.store.shardLoads(number) : undefined;
    const refused = this.sql
      .exec<{ code: string; count: number }>("SELECT code, count FROM refusals WHERE round = ?", number)
      .toArray();
    return {
      number,
      run: row.run,
      state: row.state as RoundState,
      reason: row.reason,
      plateau: row.plateau,
      config,
      base: this.store.checkpoint(row.base),
      checkpoint: row.checkpoint === null ? null : this.store.checkpoint(row.checkpoint),
      openedAt: row.opened_at,
      trainingAt: row.training_at,
      endedAt: row.ended_at,
      deadline: row.deadline,
      waiting: row.state === "selecting" ? this.store.countWaiting() : 0,
      cohort: this.#members(number, config, members),
      refused: Object.fromEntries(refused.map(({ code, count }) => [code, count])),
      ...known,
      evaluation: isOver || !isPrivate(config) ? known.evaluation : null,
      // A kind may be a single client.
      evidence: isPrivate(config) ? {} : known.evidence,
      dreams: this.store.dreams(number),
      hubs: hubs.map((hub, i) => ({ ...hub, updates: loads?.get(i) ?? 0 })),
    };
  }

  /** A page of rounds, the oldest first; as many as fit into it. */
  page({ before = Infinity, limit = MOST_ROUNDS }: Partial<Page>): Round[] {
    const numbers = this.sql
      .exec<{ number: number }>(
        "SELECT number FROM rounds WHERE number < ? ORDER BY number DESC LIMIT ?",
        Math.min(before, Number.MAX_SAFE_INTEGER),
        limit,
      )
      .toArray();
    const rounds: Round[] = [];
    let [members, text] = [MOST_MEMBERS, 0];
    for (const { number } of numbers) {
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
    for (const number of this.store.foldable()) {
      const round = this.round(number, 0);
      const { tally, trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples, ...rest } = round;
      const { evaluation, evidence } = rest;
      const means = { trainLoss, trainAccuracy, evalLoss, evalAccuracy, evalExamples };
      const totals = { tally, ...means, evaluation, evidence };
      this.store.fold(number, totals);
    }
  }

  #totals(number: number, config: RoundConfig, isOver: boolean): Totals {
    const evaluation = this.store.evaluation(number);
    const evaluated = { evaluation, evidence: this.store.evidenceByKind(number) };
    const tally = this.#tally(number, config);
    const facts = this.store.facts(number);
    // With noise never, and under secure aggregation not before the sum that everybody has agreed to open.
    const hidden = config.noise > 0 || (config.secure && (!isOver || !facts));
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
    return this.sql
      .exec<typeof NOTHING>(
        `SELECT ${mean("trainLoss", "examples")} AS trainLoss, ${mean("trainAccuracy", "examples")} AS trainAccuracy,
         ${mean("evalLoss", "evalExamples")} AS evalLoss, ${mean("evalAccuracy", "evalExamples")} AS evalAccuracy,
         coalesce(sum(json_extract(metadata, '$.evalExamples')), 0) AS evalExamples
         FROM updates WHERE round = ? AND state = 'counted' AND metadata IS NOT NULL`,
        number,
      )
      .one();
  }

  #tally(number: number, config: RoundConfig): Tally {
    const row = this.sql
      .exec<Omit<Tally, "medianSeconds" | "slowestSeconds">>(
        `SELECT count(*) AS selected, count(uploaded_at) AS uploaded, count(*) FILTER (WHERE state = 'counted') AS counted,
         count(*) FILTER (WHERE state = 'dropped') AS dropped, count(*) FILTER (WHERE state = 'dead') AS dead,
         coalesce(sum(bytes), 0) AS bytesUp, coalesce(sum(json_extract(metadata, '$.bytesDown')), 0) AS bytesDown
         FROM updates WHERE round = ?`,
        number,
      )
      .one();
    const seconds = this.sql
      .exec<{ took: number }>(
        "SELECT (uploaded_at - assigned_at) / 1000.0 AS took FROM updates WHERE round = ? AND uploaded_at IS NOT NULL",
        number,
      )
      .toArray()
      .map(({ took }) => took);
    const tally = { ...row, medianSeconds: quantile(seconds, 0.5), slowestSeconds: quantile(seconds, 0.95) };
    // How well an update packs tells something of it.
    return isPrivate(config) ? { ...tally, bytesUp: 0, bytesDown: 0 } : tally;
  }

  #members(number: number, config: RoundConfig, most: number): Member[] {
    return this.sql
      .exec<MemberRecord>(
        `SELECT label, state, bytes, metadata, assigned_at, uploaded_at, staleness, norm FROM updates WHERE round = ?
         ORDER BY rowid LIMIT ?`,
        number,
        Math.max(0, Math.min(most, 10_000)),
      )
      .toArray()
      .map((row) => {
        const member = {
          client: row.label,
          state: row.state as Member["state"],
          assignedAt: row.assigned_at,
          uploadedAt: row.uploaded_at,
          staleness: row.staleness,
        };
        if (isPrivate(config)) return { ...member, ...UNTOLD };
        const metadata = row.metadata === null ? null : (JSON.parse(row.metadata) as UpdateMetadata);
        return {
          ...member,
          examples: metadata?.examples ?? null,
          bytesUp: row.bytes,
          bytesDown: metadata?.bytesDown ?? 0,
          trainLoss: metadata?.trainLoss ?? null,
          trainAccuracy: metadata?.trainAccuracy ?? null,
          backend: metadata?.backend ?? null,
          norm: row.norm,
        };
      });
  }
}

/** Rounds that are there to hide what a client sends. */
const isPrivate = ({ noise, secure }: RoundConfig): boolean => noise > 0 || secure;

const NOTHING: Pick<Totals, "trainLoss" | "trainAccuracy" | "evalLoss" | "evalAccuracy" | "evalExamples"> = {
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
  backend: null,
  norm: null,
} satisfies Partial<Member>;

const COLUMNS =
  "number, state, config, base, checkpoint, opened_at, training_at, deadline, ended_at, reason, run, plateau" as const;

type RoundRecord = {
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
};

type MemberRecord = {
  label: string;
  state: string;
  bytes: number;
  metadata: string | null;
  assigned_at: number;
  uploaded_at: number | null;
  staleness: number;
  norm: number | null;
};
