import type { PictureKind } from "../data/own-labels";
import { deltaFor, epsilon, type Mechanism } from "../federation/privacy/accountant";
import type { LabConfig } from "./config";
import { stalenessOf } from "./durations";
import type { LabCommit, LabState } from "./simulation";
import type { StrategySource } from "./strategy-round";

/** A finished or paused run in one file: its configuration, from which it can be run again, and what came of it. */
export interface LabExport {
  format: "best-actor-lab-run";
  version: 3;
  config: LabConfig;
  /** The code that made its rounds, in order; empty in a run of an older version. Version 2 had the exporter's in its place. */
  commits: LabCommit[];
  /** SHA-256 of the data: see `digestOf`. */
  data: string | null;
  /** The files of its strategy, where that is of somebody's own: what it takes to run it again. */
  source?: StrategySource;
  /** What its pictures and labels are, where they are of somebody's own. */
  kind?: PictureKind;
  /** Of the rounds so far, of whom noise hides least, and the delta that it is told for; null without noise. A rehearsal's noise protects nobody. */
  privacy: { epsilon: number; delta: number } | null;
  ended: LabState["ended"];
  rounds: LabState["rounds"];
  columns: LabState["columns"];
  evaluation: LabState["evaluation"];
}

type Outcome = Pick<LabState, "ended" | "rounds" | "columns" | "evaluation" | "kind" | "source" | "commits"> & {
  data?: string | undefined;
};

/** Whom a run's noise hides, by how they take part: those who are drawn all alike, those whom a schedule names each by its own rounds. */
function mechanismsOf({ noise, secure, fraction, schedule, clients }: LabConfig, rounds: number): Mechanism[][] {
  // As the accountant has it of the edge.
  if (!schedule) return [[{ sampling: secure ? 1 : fraction, noise, rounds, clients }]];
  const found = new Map<string, Mechanism[]>();
  for (const client of new Set(schedule.flat())) {
    /** Rounds in which it is named so many times: of several updates the sum moves by as many clips. */
    const times = new Map<number, number>();
    for (let round = 0; round < rounds; round++) {
      const named = schedule[round % schedule.length]?.filter((other) => other === client).length ?? 0;
      if (named > 0) times.set(named, (times.get(named) ?? 0) + 1);
    }
    const own = [...times].sort(([a], [b]) => a - b);
    // Nobody is drawn, so that no draw hides anybody.
    const mechanisms = own.map(([named, count]) => ({ sampling: 1, noise: noise / named, rounds: count, clients }));
    found.set(JSON.stringify(own), mechanisms);
  }
  return [...found.values()];
}

/** @returns of the client that is hidden least; null without noise */
function privacyOf(config: LabConfig, rounds: number): LabExport["privacy"] {
  if (config.noise === 0) return null;
  const delta = deltaFor(config.clients);
  return { epsilon: Math.max(...mechanismsOf(config, rounds).map((own) => epsilon(own, delta))), delta };
}

export function exportRun(
  config: LabConfig,
  { ended, rounds, columns, evaluation, data, kind, source, commits = [] }: Outcome,
): LabExport {
  return {
    format: "best-actor-lab-run",
    version: 3,
    config,
    commits,
    data: data ?? null,
    ...(source && { source }),
    ...(kind && { kind }),
    privacy: privacyOf(config, rounds.length),
    ended,
    rounds,
    columns,
    evaluation,
  };
}

/** The configuration in a file: a bare one, or that of an exported run, still to be checked. @throws SyntaxError */
export function configOf(text: string): unknown {
  // Editors on Windows put a byte-order mark first, which is no JSON.
  const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ""));
  return typeof value === "object" && value !== null && "config" in value ? value.config : value;
}

/** The rounds of a run as CSV (RFC 4180), one in a line. */
export function roundsToCsv(rounds: LabState["rounds"]): string {
  const head = [
    ...["round", "clients", "left", "examples", "train_loss", "train_accuracy", "test_loss", "test_accuracy"],
    ...["attack_success", "published", "learning_rate", "step_norm", "bytes_down", "bytes_up", "seconds"],
    ...["simulated_seconds", "staleness", "accuracy_deviation", "accuracy_least", "accuracy_most"],
  ];
  const lines = rounds.map((one) =>
    [
      ...[one.round, one.cohort.length, one.left, one.examples, one.trainLoss, one.trainAccuracy, one.testLoss],
      ...[
        one.testAccuracy,
        one.attackSuccess,
        one.published,
        one.learningRate,
        one.stepNorm,
        one.bytesDown,
        one.bytesUp,
        one.seconds,
      ],
      ...[one.time, stalenessOf(one), one.spread?.deviation, one.spread?.least, one.spread?.most],
    ]
      .map((value) => value ?? "")
      .join(","),
  );
  return `${[head.join(","), ...lines].join("\r\n")}\r\n`;
}
