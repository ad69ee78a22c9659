import type { Evaluation } from "../model/evaluation";
import type { ModelSummary } from "../model/model";
import type { RoundConfig } from "../federation/protocol";
import type { Shares } from "./cohort";
import type { ClientMetrics } from "./collect";
import type { LabConfig } from "./config";
import type { ClientResult, LabData, LabPool } from "./pool";
import type { LabProgress, LabRound, LabState } from "./simulation";
import type { RunStrategy } from "./strategy-round";

/** What a round of a run is played with. */
export interface Playing {
  config: LabConfig;
  data: LabData;
  pool: LabPool;
  signal: AbortSignal | undefined;
  model: ModelSummary;
  shares: Shares;
  strategic: RunStrategy | null;
  /** Changed by what comes of the round. */
  state: LabState;
  /** Of the round, from 1. */
  number: number;
  /** What an edge would be told of it. */
  rules: RoundConfig;
  /** Bytes of a checkpoint. */
  down: number;
  evaluate: (weights: Float32Array) => Promise<Evaluation>;
  report: (doing: LabProgress["doing"], done: number, of: number) => void;
}

/** What has come of one. */
export interface Played {
  round: Omit<LabRound, "round" | "learningRate" | "seconds" | "time">;
  /** Updates that count, and how many of them had a norm of at most the clip. */
  facts: { count: number; below: number };
  /** Its configuration in the end. */
  rules: RoundConfig;
}

export const metricsOf = (
  client: number,
  examples: number,
  { loss, accuracy, heldOut }: Pick<ClientResult, "loss" | "accuracy" | "heldOut">,
): ClientMetrics => ({
  client,
  examples,
  loss,
  accuracy,
  heldOut: heldOut.examples,
  heldOutLoss: heldOut.loss,
  heldOutAccuracy: heldOut.accuracy,
});
