import type { LabConfig } from "../simulation/config";
import { expectedCohort } from "../simulation/cohort";
import { DRAWN } from "../simulation/data";
import type { Dataset, RunRecord } from "./store";

/** How long runs will take, by how long rounds have taken on this device. */

/** A look at an example costs so much of a training step on it, which also goes back: a forward pass of three of that size. */
const LOOK = 1 / 3;

/** Training examples of a data set; 0 where it has not been imported. */
function examplesOf(dataset: LabConfig["dataset"], datasets: readonly Dataset[]): number {
  if (dataset === "drawn") return DRAWN.train;
  return datasets.find(({ name }) => name === dataset)?.train.reduce((a, b) => a + b, 0) ?? 0;
}

/** Examples that a round trains on, and by {@link LOOK} tests with, each as often as it does. */
export function workOf(config: LabConfig, datasets: readonly Dataset[]): number {
  const { clients, examplesPerClient, heldOut, epochs, testExamples, evaluateEvery, topology } = config;
  const each = examplesPerClient || examplesOf(config.dataset, datasets) / clients;
  const models = topology === "gossip" ? clients : 1;
  const tested = (testExamples || 700) * models;
  return expectedCohort(config) * each * (1 - heldOut) * epochs + (LOOK * tested) / evaluateEvery;
}

/** Seconds that one of {@link workOf} has taken in these runs; null where none of them has finished a round. */
export function paceOf(runs: readonly RunRecord[], datasets: readonly Dataset[]): number | null {
  let [seconds, work] = [0, 0];
  for (const { config, rounds } of runs) {
    seconds += rounds.reduce((sum, round) => sum + round.seconds, 0);
    work += rounds.length * workOf(config, datasets);
  }
  return work > 0 ? seconds / work : null;
}

/** Seconds of all rounds that are still to come, at a pace. */
export const secondsLeft = (
  runs: readonly Pick<RunRecord, "config" | "rounds" | "ended">[],
  pace: number,
  datasets: readonly Dataset[],
): number =>
  runs
    .filter(({ ended }) => !ended)
    .reduce((sum, { config, rounds }) => sum + (config.rounds - rounds.length) * workOf(config, datasets) * pace, 0);
