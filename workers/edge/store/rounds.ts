import * as v from "valibot";
import {
  hubSchema,
  roundConfigSchema,
  roundSchema,
  MOST_RANGES,
  ROUND_STATES,
  type HubState,
  type Round,
  type RoundConfig,
  type Task,
} from "../../../src/federation/protocol";
import type { DreamVerdict } from "../../../src/federation/guard";
import type { RoundLife } from "../../../src/federation/round/life";
import type { RingFacts } from "../../../src/federation/secagg/ring";
import { LIVE_OPTIONS, rememberedBy } from "../../../src/federation/strategies/live";
import { optionalJson, time, type Database } from "./database";

/** How many of the last rounds keep their members. */
const KEPT = 100;

/** A stored configuration. An older one lacks what came later; what cannot be read any more has its default, so that a task can always be opened. */
function readConfig(text: string): RoundConfig {
  const stored = JSON.parse(text) as Record<string, unknown>;
  const whole = v.safeParse(roundConfigSchema, stored);
  if (whole.success) return whole.output;
  const readable = Object.entries(roundConfigSchema.entries).filter(
    ([key, field]) => key in stored && v.is(field, stored[key]),
  );
  return v.parse(roundConfigSchema, Object.fromEntries(readable.map(([key]) => [key, stored[key]])));
}

/** The configuration that was read last: every request asks for the same one again, several times. */
let lastRead: { text: string; config: RoundConfig } | undefined;
const configColumn = v.pipe(
  v.string(),
  v.transform((text): RoundConfig => {
    if (lastRead?.text !== text) lastRead = { text, config: readConfig(text) };
    return lastRead.config;
  }),
);

/** `hidesCohort` of a round's configuration, for queries over many. */
export const HIDES_COHORT =
  "coalesce(json_extract(config, '$.noise'), 0) > 0 AND NOT coalesce(json_extract(config, '$.secure'), 0)";

/**
 * A configuration as it is kept: without the options of strategies where there is none, which say nothing, and would be a tenth of each
 * round's row.
 * @throws ValiError rather than keep one that could not be read again
 */
function writeConfig(config: RoundConfig): string {
  const whole = v.parse(roundConfigSchema, config);
  const unsaid: readonly string[] = whole.strategy === "none" ? LIVE_OPTIONS : [];
  return JSON.stringify(Object.fromEntries(Object.entries(whole).filter(([name]) => !unsaid.includes(name))));
}

const roundRow = v.pipe(
  v.object({
    number: v.number(),
    state: v.picklist(ROUND_STATES),
    config: configColumn,
    base: v.number(),
    run: v.number(),
    opened_at: v.number(),
    select_at: time,
    drawn_from: v.nullable(v.number()),
    training_at: time,
    deadline: time,
    aggregating_at: time,
    evaluate_until: time,
    ended_at: time,
    checkpoint: v.nullable(v.number()),
    reason: v.nullable(v.string()),
    plateau: v.nullable(v.string()),
  }),
  v.transform((row) => ({
    number: row.number,
    state: row.state,
    config: row.config,
    /** Version that it starts from. */
    base: row.base,
    /** The first round of the series that this one belongs to. */
    run: row.run,
    openedAt: row.opened_at,
    selectAt: row.select_at,
    drawnFrom: row.drawn_from,
    trainingAt: row.training_at,
    deadline: row.deadline,
    aggregatingAt: row.aggregating_at,
    evaluateUntil: row.evaluate_until,
    endedAt: row.ended_at,
    candidate: row.checkpoint,
    reason: row.reason,
    /** The losses that no longer got better, in words. */
    plateau: row.plateau,
  })),
);
/** A round as its table has it. */
export type RoundRow = v.InferOutput<typeof roundRow>;

const COLUMNS =
  "number, state, config, base, run, opened_at, select_at, drawn_from, training_at, deadline, aggregating_at, evaluate_until, ended_at, checkpoint, reason, plateau";

/** What of a round's life is kept beside its configuration, in the order of the columns. */
const valuesOf = (life: RoundLife): (string | number | null)[] => [
  life.state,
  life.openedAt,
  life.selectAt,
  life.drawnFrom,
  life.trainingAt,
  life.deadline,
  life.aggregatingAt,
  life.evaluateUntil,
  life.endedAt,
  life.candidate,
  life.reason,
  life.dreams && JSON.stringify(life.dreams),
];

/** What a round's members came to: all that is kept of them in the end. */
const totalsSchema = v.pick(roundSchema, [
  ...(["tally", "trainLoss", "trainAccuracy", "evalLoss", "evalAccuracy", "evalExamples"] as const),
  ...(["evaluation", "evidence"] as const),
]);
export type Totals = Pick<Round, keyof v.InferOutput<typeof totalsSchema>>;

const factsSchema = v.object({
  weight: v.number(),
  trainLoss: v.number(),
  trainAccuracy: v.number(),
  evalExamples: v.number(),
  evalLoss: v.number(),
  evalAccuracy: v.number(),
  below: v.number(),
}) satisfies v.GenericSchema<unknown, RingFacts>;

const numberRow = v.object({ number: v.number() });

/** What rounds have in common whose server goes on from what it remembers, in SQL, with the values from the second parameter on. */
function alike(config: RoundConfig): { isAlike: string; values: (string | number)[] } {
  const fields = rememberedBy(config) as readonly (keyof RoundConfig)[];
  return {
    isAlike: fields.map((field, i) => `json_extract(r.config, '$.${field}') = ?${i + 2}`).join(" AND "),
    values: fields.map((field) => config[field] as string | number),
  };
}

/** The rounds of a task. */
export class RoundTable {
  constructor(private readonly db: Database) {}

  /** The round that is under way. */
  open(): RoundRow | undefined {
    return this.db.first(roundRow, `SELECT ${COLUMNS} FROM rounds WHERE ended_at IS NULL ORDER BY number DESC LIMIT 1`);
  }

  get(number: number): RoundRow {
    return this.db.one(roundRow, `SELECT ${COLUMNS} FROM rounds WHERE number = ?`, number);
  }

  /** Whether the task has had any. */
  hasBeen(): boolean {
    return this.db.exists("SELECT 1 FROM rounds LIMIT 1");
  }

  exists(number: number): boolean {
    return this.db.exists("SELECT 1 FROM rounds WHERE number = ?", number);
  }

  /** The numbers of a page's rounds, the last one first. */
  before(number: number, limit: number): number[] {
    const rows = this.db.all(
      numberRow,
      "SELECT number FROM rounds WHERE number < ? ORDER BY number DESC LIMIT ?",
      ...[Math.min(number, Number.MAX_SAFE_INTEGER), limit],
    );
    return rows.map((row) => row.number);
  }

  /** Gives a round its number. @param run the first round of the series; null begins one */
  add(config: RoundConfig, base: number, run: number | null, now: number): number {
    const { number } = this.db.one(
      numberRow,
      "INSERT INTO rounds (state, config, base, opened_at) VALUES ('selecting', ?, ?, ?) RETURNING number",
      ...[writeConfig(config), base, now],
    );
    this.db.run("UPDATE rounds SET run = ? WHERE number = ?", run ?? number, number);
    return number;
  }

  /**
   * Keeps what a round has become.
   * @param before what is kept of it so far; undefined for all that is new
   * @returns whether that is anything else
   */
  save(life: RoundLife, before?: RoundLife): boolean {
    const isConfigured = life.config !== before?.config;
    if (isConfigured) {
      this.db.run("UPDATE rounds SET config = ? WHERE number = ?", writeConfig(life.config), life.number);
    }
    const [values, old] = [valuesOf(life), before && valuesOf(before)];
    if (old && values.every((value, i) => value === old[i])) return isConfigured;
    this.db.run(
      `UPDATE rounds SET state = ?, opened_at = ?, select_at = ?, drawn_from = ?, training_at = ?, deadline = ?, aggregating_at = ?,
       evaluate_until = ?, ended_at = ?, checkpoint = ?, reason = ?, dreams = ? WHERE number = ?`,
      ...[...values, life.number],
    );
    return true;
  }

  setPlateau(number: number, words: string): void {
    this.db.run("UPDATE rounds SET plateau = ? WHERE number = ?", words, number);
  }

  /** How a round's candidate answers on dreamed faces, held against its base; null where nobody has looked. */
  dreams(number: number): DreamVerdict | null {
    const verdict = v.object({ agreement: v.number(), divergence: v.number() });
    const row = v.object({ dreams: optionalJson(verdict) });
    return this.db.one(row, "SELECT dreams FROM rounds WHERE number = ?", number).dreams;
  }

  /** What the vectors of a round with secure aggregation held beside their deltas. */
  facts(number: number): RingFacts | undefined {
    const row = v.object({ facts: optionalJson(factsSchema) });
    return this.db.one(row, "SELECT facts FROM rounds WHERE number = ?", number).facts ?? undefined;
  }

  setFacts(number: number, facts: RingFacts): void {
    this.db.run("UPDATE rounds SET facts = ? WHERE number = ?", JSON.stringify(facts), number);
  }

  /** The hubs of a round that gossips; none in a central one. */
  hubs(number: number): HubState[] {
    const row = v.object({ hubs: optionalJson(v.array(hubSchema)) });
    return this.db.one(row, "SELECT hubs FROM rounds WHERE number = ?", number).hubs ?? [];
  }

  setHubs(number: number, hubs: readonly HubState[]): void {
    this.db.run("UPDATE rounds SET hubs = ? WHERE number = ?", JSON.stringify(hubs), number);
  }

  /** The rounds of a run that have had a candidate, in their order. */
  ofRun(run: number): number[] {
    const rows = this.db.all(
      numberRow,
      "SELECT number FROM rounds WHERE run = ? AND state IN ('published', 'rejected') ORDER BY number",
      run,
    );
    return rows.map(({ number }) => number);
  }

  /** Whether a version was made by a round whose server remembers something that a round of this strategy goes on from. */
  isRemembered(version: number, config: RoundConfig): boolean {
    const { isAlike, values } = alike(config);
    const rows = this.db.all(
      numberRow,
      `SELECT r.number FROM checkpoints c JOIN rounds r ON r.number = c.round WHERE c.version = ?1 AND ${isAlike}`,
      ...[version, ...values],
    );
    return rows.length > 0;
  }

  /**
   * The rounds like one, whose server remembers something, that have led to a version, one from the version of the other, with no
   * other round between: those whose updates are in what its server remembers there. (What clients keep of tensors that do not move is not what
   * the server does.) Each pair the first and the last of some in a row, the latest first; the last hundred thousand.
   */
  remembered(version: number, config: RoundConfig): [first: number, last: number][] {
    const { isAlike, values } = alike(config);
    const rows = this.db.all(
      numberRow,
      `WITH RECURSIVE led (number, base) AS (
         SELECT r.number, r.base FROM checkpoints c JOIN rounds r ON r.number = c.round
           WHERE c.version = ?1 AND ${isAlike}
         UNION ALL
         SELECT r.number, r.base FROM led JOIN checkpoints c ON c.version = led.base JOIN rounds r ON r.number = c.round
           WHERE ${isAlike})
       SELECT number FROM led LIMIT 100000`,
      ...[version, ...values],
    );
    const ranges: [number, number][] = [];
    for (const { number } of rows) {
      const range = ranges.at(-1);
      if (range?.[0] === number + 1) range[0] = number;
      else ranges.push([number, number]);
    }
    return ranges.slice(0, MOST_RANGES);
  }

  /** Rounds that have ended and whose updates are still in R2. */
  uncleaned(): number[] {
    const rows = this.db.all(numberRow, "SELECT number FROM rounds WHERE cleaned = 0 AND ended_at IS NOT NULL");
    return rows.map(({ number }) => number);
  }

  setCleaned(number: number): void {
    this.db.run("UPDATE rounds SET cleaned = 1 WHERE number = ?", number);
  }

  /** What is kept of a round's members once they are folded; undefined while they are there. */
  totals(number: number): Totals | undefined {
    const row = v.object({ totals: optionalJson(totalsSchema) });
    return this.db.one(row, "SELECT totals FROM rounds WHERE number = ?", number).totals ?? undefined;
  }

  /** Rounds that have ended, are cleared up, and are older than the last {@link KEPT}: their members can be folded. */
  foldable(): number[] {
    const rows = this.db.all(
      numberRow,
      `SELECT number FROM rounds WHERE totals IS NULL AND cleaned = 1 AND ended_at IS NOT NULL
       AND number <= (SELECT max(number) FROM rounds) - ?`,
      KEPT,
    );
    return rows.map(({ number }) => number);
  }

  fold(number: number, totals: Totals): void {
    this.db.run("UPDATE rounds SET totals = ?, hubs = '[]' WHERE number = ?", JSON.stringify(totals), number);
  }

  /**
   * Every series of rounds that has read clients' updates, by sampling and noise. One with noise counts from its draw on, whatever
   * became of it; one without counts once it has made a checkpoint. Of its clients none is known again in another round: there are at most
   * as many as all these rounds were drawn from. Counted anew where there is another last round, or that one has come further: everybody
   * asks, and all rounds before it have ended.
   */
  mechanisms(): Task["privacy"] {
    const columns = "number, config, drawn_from, training_at, checkpoint";
    const last = this.db.first(v.unknown(), `SELECT ${columns} FROM rounds ORDER BY number DESC LIMIT 1`);
    const upTo = JSON.stringify(last ?? null);
    if (this.#mechanisms?.upTo !== upTo) this.#mechanisms = { upTo, series: this.#countMechanisms() };
    return this.#mechanisms.series;
  }

  #mechanisms: { upTo: string; series: Task["privacy"] } | undefined;

  #countMechanisms(): Task["privacy"] {
    return this.db.all(
      v.object({ sampling: v.number(), noise: v.number(), rounds: v.number(), clients: v.number() }),
      // Who adds the noise itself does not trust the edge, which knows who was drawn: then the draw hides nobody.
      `SELECT CASE WHEN coalesce(json_extract(config, '$.noise'), 0) > 0 AND json_extract(config, '$.secure') THEN 1
         ELSE json_extract(config, '$.fraction') END AS sampling,
       coalesce(json_extract(config, '$.noise'), 0) AS noise, count(*) AS rounds,
       sum(coalesce(drawn_from, ceil(json_extract(config, '$.goalCount') / json_extract(config, '$.fraction')))) AS clients
       FROM rounds
       WHERE CASE WHEN coalesce(json_extract(config, '$.noise'), 0) > 0 THEN training_at ELSE checkpoint END IS NOT NULL
       GROUP BY 1, 2`,
    );
  }
}
