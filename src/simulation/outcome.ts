import type { LabConfig } from "./config";
import { isTimed } from "./durations";
import { textOf, type Changes } from "./grid";
import { roundsTo } from "./rounds-to";
import type { LabState } from "./simulation";

/** What came of a run in a few numbers, as a sweep's table and file have them. */
export interface Outcome {
  ended: LabState["ended"];
  rounds: number;
  /** On the test examples: the last and the best, which may be of the start, and the last loss; null before the first evaluation. */
  accuracy: number | null;
  best: number | null;
  loss: number | null;
  /** Until the run's target, as {@link roundsTo} counts; null where it has none or is below. */
  toTarget: number | null;
  /** That it took here. */
  seconds: number;
  /** Simulated; null where that says no more than the rounds. */
  time: number | null;
}

/** The rounds with an evaluation, and what each said. */
export const curveOf = (rounds: LabState["rounds"]): { round: number; accuracy: number }[] =>
  rounds.flatMap(({ round, testAccuracy: accuracy }) => (accuracy === null ? [] : [{ round, accuracy }]));

export function outcomeOf(
  config: LabConfig,
  { ended, rounds, evaluation }: Pick<LabState, "ended" | "rounds" | "evaluation">,
): Outcome {
  const curve = curveOf(rounds);
  const reached = curve.map(({ accuracy }) => accuracy);
  const accuracy = evaluation?.accuracy ?? null;
  return {
    ended,
    rounds: rounds.length,
    accuracy,
    best: reached.length > 0 ? Math.max(...reached) : accuracy,
    loss: evaluation?.loss ?? null,
    toTarget: config.target === null ? null : roundsTo(config.target, curve),
    seconds: rounds.reduce((sum, { seconds }) => sum + seconds, 0),
    time: isTimed(config) ? (rounds.at(-1)?.time ?? null) : null,
  };
}

/** A run of a sweep, as its file has it. */
export interface SweepRow {
  changes: Changes;
  seed: number;
  outcome: Outcome;
  /** Why it could not be run; null where it could. */
  problem: string | null;
}

/** A cell of a CSV (RFC 4180). */
const cell = (value: unknown): string => {
  const text = value === null || value === undefined ? "" : textOf(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** A sweep as CSV (RFC 4180), one run in a line. */
export function sweepToCsv(rows: readonly SweepRow[]): string {
  const keys = Object.keys(rows[0]?.changes ?? {}).filter((key) => key !== "seed");
  const head = [
    ...[...keys, "seed", "ended", "rounds", "accuracy", "best_accuracy", "loss"],
    ...["rounds_to_target", "seconds", "simulated_seconds", "problem"],
  ];
  const lines = rows.map(({ changes, seed, outcome, problem }) =>
    [
      ...[...keys.map((key) => changes[key]), seed, outcome.ended, outcome.rounds, outcome.accuracy, outcome.best],
      ...[outcome.loss, outcome.toTarget, outcome.seconds, outcome.time, problem],
    ].map(cell),
  );
  return `${[head, ...lines].map((line) => line.join(",")).join("\r\n")}\r\n`;
}
