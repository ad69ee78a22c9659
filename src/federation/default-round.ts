import * as v from "valibot";
import { roundConfigSchema, type RoundConfig } from "./protocol";
import { taskNamed, type TaskName } from "./tasks/registry";
import type { TaskDescription } from "./tasks/task";

/**
 * A round as the schema says it is where nobody says otherwise. It is apart from the schema because what it says takes a phone a while
 * to find out, and players need it not.
 */
export const DEFAULT_ROUND: RoundConfig = v.parse(roundConfigSchema, {});

/**
 * Plain FederatedAveraging as the seed's notebook has it: batches of five at a learning rate of 0.02, batch normalization by the batch,
 * every update as it comes, every candidate published. For models that begin from nothing: one that has been trained forgets by it, and
 * what keeps a trained one from harm keeps a random one from learning.
 */
export const NOTEBOOK_ROUND = {
  epochs: 1,
  batchSize: 5,
  learningRate: 0.02,
  clipNorm: 0,
  batchNorm: "average",
  distill: 0,
  rehearse: 0,
  prior: 0,
  maxExamplesRatio: 0,
  maxUpdateNorm: 0,
  evaluators: 0,
  tolerance: null,
  agreement: 0,
} as const satisfies Partial<RoundConfig>;

type WithRound = Pick<TaskDescription, "defaultRound">;

/** What a task's rounds are where nobody says otherwise: of one that began with random weights, its own word first, the notebook's. */
const saidOf = ({ defaultRound }: WithRound, isFromScratch: boolean): Partial<RoundConfig> => ({
  ...(isFromScratch && NOTEBOOK_ROUND),
  ...defaultRound,
});

/** The round of a description where nobody says otherwise. @param isFromScratch see `taskSchema` */
export const describedRound = (task: WithRound, isFromScratch: boolean): RoundConfig => ({
  ...DEFAULT_ROUND,
  ...saidOf(task, isFromScratch),
});

/** A task's round where nobody says otherwise. @param isFromScratch see `taskSchema` */
export const defaultRoundOf = (task: TaskName, isFromScratch: boolean): RoundConfig =>
  describedRound(taskNamed(task), isFromScratch);

/** A round's configuration as it is asked for: what is not said is the task's. @param isFromScratch see `taskSchema` */
export const roundSchemaOf = (task: TaskName, isFromScratch: boolean) =>
  v.pipe(
    v.record(v.string(), v.unknown()),
    v.transform((said) => ({ ...saidOf(taskNamed(task), isFromScratch), ...said })),
    roundConfigSchema,
  );
