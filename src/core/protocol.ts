import * as v from "valibot";
import { MODEL_NAMES, type ModelName } from "./model";

/** What travels between a client and the edge, as schemas: both sides check what they are given against these. */

export const sha256Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "not a SHA-256 in hex"));
export const idSchema = v.pipe(v.string(), v.uuid());

/** The tasks of this deployment, and the model that each trains. The players' devices choose one. */
export const TASKS = {
  expressions: { model: "seed" },
  "expressions-compact": { model: "compact" },
} as const satisfies Record<string, { model: ModelName }>;
export type TaskName = keyof typeof TASKS;
export const TASK_NAMES = Object.keys(TASKS) as [TaskName, ...TaskName[]];
export const DEFAULT_TASK: TaskName = "expressions";
export const taskNameSchema = v.picklist(TASK_NAMES);

const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));

/** How a client trains. What came later than the first version is optional, with what the first version did. */
const planEntries = {
  /** E: passes over a client's faces. */
  epochs: whole(1, 100),
  /** B: faces in a batch. */
  batchSize: whole(1, 512),
  learningRate: v.pipe(v.number(), v.gtValue(0), v.maxValue(10)),
  optimizer: v.optional(v.picklist(["sgd", "momentum", "adam"]), "sgd"),
  /** FedProx's mu: how strongly the client's weights are held to the checkpoint's. 0 is off. */
  proximal: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100)), 0),
  /** The largest norm of a batch's gradient, over all layers together. 0 is off. */
  clipNorm: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1e6)), 0),
  /** Every label that a client has weighs the same, however many faces show it. */
  balanceLabels: v.optional(v.boolean(), false),
  /** Faces are mirrored, turned, moved and brightened a little, anew in every epoch. */
  augment: v.optional(v.boolean(), false),
  /** Train everything, or only the dense layers behind the convolutions. */
  layers: v.optional(v.picklist(["all", "head"]), "all"),
  /** Epochs without a lower loss on the client's held-out faces that end its training early. 0 is off. */
  patience: v.optional(whole(0, 100), 0),
};
export const planSchema = v.object(planEntries);
export type Plan = v.InferOutput<typeof planSchema>;

/** How a round is run. */
export const roundConfigSchema = v.strictObject({
  /** Updates that close the round. */
  goalCount: whole(1, 1000),
  /** C: the share of the clients that have checked in which is chosen for the cohort. */
  fraction: v.pipe(v.number(), v.gtValue(0), v.maxValue(1)),
  ...planEntries,
  /** Seconds from the choice of the cohort to the end of the round, come what may. */
  deadlineSeconds: whole(5, 86_400),
  /** How many rounds to run, one after the other. */
  rounds: whole(1, 10_000),
});
export type RoundConfig = v.InferOutput<typeof roundConfigSchema>;

/** The seed's learning rate, and the notebook's batches of five. */
export const DEFAULT_ROUND: RoundConfig = {
  goalCount: 3,
  fraction: 1,
  epochs: 1,
  batchSize: 5,
  learningRate: 0.02,
  optimizer: "sgd",
  proximal: 0,
  clipNorm: 0,
  balanceLabels: false,
  augment: false,
  layers: "all",
  patience: 0,
  deadlineSeconds: 600,
  rounds: 1,
};

export const checkInSchema = v.strictObject({
  /** The client's random id; it says nothing about the person. */
  client: idSchema,
  /** Faces that it can train on. */
  examples: whole(1, 100_000),
});
export type CheckIn = v.InferOutput<typeof checkInSchema>;

export const checkpointSchema = v.object({
  sha256: sha256Schema,
  /** 0 for the initialization, then one more with each published round. */
  version: whole(0, 1e9),
  bytes: whole(1, 1e9),
});
export type CheckpointInfo = v.InferOutput<typeof checkpointSchema>;

export const assignmentSchema = v.object({
  task: taskNameSchema,
  /** The id of the one update that this client may send. */
  id: idSchema,
  round: whole(1, 1e9),
  checkpoint: checkpointSchema,
  plan: planSchema,
  /** Unix time in milliseconds. */
  deadline: v.number(),
});
export type Assignment = v.InferOutput<typeof assignmentSchema>;

export const checkInAnswerSchema = v.variant("decision", [
  v.object({ decision: v.literal("train"), assignment: assignmentSchema }),
  v.object({
    decision: v.literal("wait"),
    reason: v.picklist(["no-round", "selecting", "not-selected", "already-sent"]),
    retryAfterSeconds: v.number(),
  }),
]);
export type CheckInAnswer = v.InferOutput<typeof checkInAnswerSchema>;

export const ROUND_STATES = ["selecting", "training", "aggregating", "published", "abandoned"] as const;
export type RoundState = (typeof ROUND_STATES)[number];

export const memberSchema = v.object({
  /** The first characters of a hash of client and round: the same client has another one in the next round. */
  client: v.string(),
  state: v.picklist(["training", "uploaded", "counted", "dropped"]),
  examples: v.nullable(v.number()),
  bytesUp: v.number(),
  bytesDown: v.number(),
  trainLoss: v.nullable(v.number()),
  trainAccuracy: v.nullable(v.number()),
  backend: v.nullable(v.string()),
  /** Unix times in milliseconds. */
  assignedAt: v.number(),
  uploadedAt: v.nullable(v.number()),
});
export type Member = v.InferOutput<typeof memberSchema>;

export const roundSchema = v.object({
  number: v.number(),
  state: v.picklist(ROUND_STATES),
  /** Why it ended as it did, in words. */
  reason: v.nullable(v.string()),
  config: roundConfigSchema,
  base: checkpointSchema,
  checkpoint: v.nullable(checkpointSchema),
  openedAt: v.number(),
  trainingAt: v.nullable(v.number()),
  endedAt: v.nullable(v.number()),
  deadline: v.nullable(v.number()),
  /** Clients that have checked in and wait to be chosen. */
  waiting: v.number(),
  cohort: v.array(memberSchema),
  /** Updates that were refused, by problem code. */
  refused: v.record(v.string(), v.number()),
  /** Means over the counted updates, weighted by their examples; null until there is one. */
  trainLoss: v.nullable(v.number()),
  trainAccuracy: v.nullable(v.number()),
  /** The round's base checkpoint on the cohort's held-out faces. */
  evalLoss: v.nullable(v.number()),
  evalAccuracy: v.nullable(v.number()),
  evalExamples: v.number(),
});
export type Round = v.InferOutput<typeof roundSchema>;

export const taskSchema = v.object({
  task: taskNameSchema,
  model: v.picklist(MODEL_NAMES),
  checkpoint: checkpointSchema,
  /** False while the checkpoint is still the random initialization. */
  trained: v.boolean(),
});
export type Task = v.InferOutput<typeof taskSchema>;

export const historySchema = v.object({ task: taskSchema, rounds: v.array(roundSchema) });
export type History = v.InferOutput<typeof historySchema>;

/** What the WebSocket says: everything once, then each round as it changes. */
export const liveEventSchema = v.variant("type", [
  v.object({ type: v.literal("history"), history: historySchema }),
  v.object({ type: v.literal("round"), round: roundSchema, task: taskSchema }),
]);
export type LiveEvent = v.InferOutput<typeof liveEventSchema>;

/** An error as RFC 9457 writes it, with a stable `code`. */
export const problemSchema = v.object({
  type: v.string(),
  title: v.string(),
  status: v.number(),
  code: v.string(),
  detail: v.string(),
});
export type Problem = v.InferOutput<typeof problemSchema>;
