import type { PictureKind } from "../data/own-labels";
import { deltaFor, epsilon } from "../federation/privacy/accountant";
import type { LabConfig } from "./config";
import { stalenessOf } from "./durations";
import type { LabState } from "./simulation";
import type { StrategySource } from "./strategy-round";

/** A finished or paused run in one file: its configuration, from which it can be run again, and what came of it. */
export interface LabExport {
  format: "best-actor-lab-run";
  version: 2;
  config: LabConfig;
  /** The git commit of the code that ran it, with `+` where files had been changed; null where that is not known. */
  commit: string | null;
  /** SHA-256 of the data: see `digestOf`. */
  data: string | null;
  /** The files of its strategy, where that is of somebody's own: what it takes to run it again. */
  source?: StrategySource;
  /** What its pictures and labels are, where they are of somebody's own. */
  kind?: PictureKind;
  /** Of the rounds so far, and the delta that it is told for; null without noise. A rehearsal's noise protects nobody. */
  privacy: { epsilon: number; delta: number } | null;
  ended: LabState["ended"];
  rounds: LabState["rounds"];
  columns: LabState["columns"];
  evaluation: LabState["evaluation"];
}

type Outcome = Pick<LabState, "ended" | "rounds" | "columns" | "evaluation" | "kind" | "source"> & {
  data?: string | undefined;
};

export function exportRun(
  config: LabConfig,
  { ended, rounds, columns, evaluation, data, kind, source }: Outcome,
  commit: string | null,
): LabExport {
  const { noise, secure, clients } = config;
  // As the accountant has it of the edge.
  const sampling = secure ? 1 : config.fraction;
  const delta = deltaFor(clients);
  const privacy =
    noise > 0 && !config.schedule
      ? { epsilon: epsilon([{ sampling, noise, rounds: rounds.length, clients }], delta), delta }
      : null;
  return {
    format: "best-actor-lab-run",
    version: 2,
    config,
    commit,
    data: data ?? null,
    ...(source && { source }),
    ...(kind && { kind }),
    privacy,
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
