import * as v from "valibot";
import { AGGREGATION_NAMES, aggregationOf, needsSteps } from "./aggregation/registry";
import { CODEC_NAMES, DIFFERENCE_CODECS, isRingCodec } from "./codecs/registry";
import { EVIDENCE_KINDS } from "./guard";
import { webhookSchema } from "./webhook";
import { LEAST_NOISE, noiseBesideShares } from "./privacy/noise-scale";
import { FEWEST } from "./secagg/graph";
import { optimizerRule, SERVER_OPTIMIZER_NAMES } from "./server-optimizers/registry";
import { LIVE_NAMES, liveConflict, liveEntries } from "./strategies/live";

/** What travels between a client and the edge, as schemas: both sides check what they are given against these. */

export const sha256Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "not a SHA-256 in hex"));
export const idSchema = v.pipe(v.string(), v.uuid());

/** A task's name is part of addresses and of keys in the store: nothing in it leads anywhere else. */
export const taskNameSchema = v.pipe(
  v.string(),
  v.maxLength(40),
  v.regex(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/, "not a task's name: small letters, digits, and single hyphens within"),
  // What is kept by task is kept in objects, too.
  v.check((name) => !(name in {}), "a name that every object has"),
);

export const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));
export const real = (min: number, max: number) => v.pipe(v.number(), v.minValue(min), v.maxValue(max));

/**
 * Until when a field may change in an open round: while its clients are still to be chosen, or for as long as it is open. It is part
 * of each field's own description, and so of the interface's.
 */
export type Changeable = "selecting" | "open";
const selecting = <S extends v.GenericSchema>(schema: S) =>
  v.pipe(schema, v.metadata({ changeable: "selecting" satisfies Changeable }));
const open = <S extends v.GenericSchema>(schema: S) =>
  v.pipe(schema, v.metadata({ changeable: "open" satisfies Changeable }));

/** Until when a field may change; `never` for one that does not say so. */
export function changeableOf(field: keyof RoundConfig): Changeable | "never" {
  const { changeable } = v.getMetadata(roundConfigSchema.entries[field]) as { changeable?: Changeable };
  return changeable ?? "never";
}

/** How a client trains. What came later than the first version is optional, with what the first version did. */
export const planEntries = {
  /** E: passes over a client's faces. */
  epochs: selecting(whole(1, 100)),
  /** B: faces in a batch. */
  batchSize: selecting(whole(1, 512)),
  learningRate: selecting(v.pipe(v.number(), v.gtValue(0), v.maxValue(10))),
  optimizer: selecting(v.optional(v.picklist(["sgd", "momentum", "adam"]), "sgd")),
  /** FedProx's mu: how strongly the client's weights are held to the checkpoint's. 0 is off. */
  proximal: selecting(v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100)), 0)),
  /** The largest norm of a batch's gradient, over all layers together. 0 is off. */
  clipNorm: selecting(v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1e6)), 0)),
  /** Every label that a client has weighs the same, however many faces show it. */
  balanceLabels: selecting(v.optional(v.boolean(), false)),
  /** Faces are mirrored, turned, moved and brightened a little, anew in every epoch. */
  augment: selecting(v.optional(v.boolean(), false)),
  /** Train everything, or only the dense layers behind the convolutions. */
  layers: selecting(v.optional(v.picklist(["all", "head"]), "all")),
  /** Epochs without a lower loss on the client's held-out faces that end its training early. 0 is off. */
  patience: selecting(v.optional(whole(0, 100), 0)),
  /** What an update is encoded as, and of topk and ternary the share of numbers that is kept. What it loses is sent in later rounds. */
  codec: selecting(v.optional(v.picklist(CODEC_NAMES), "float32")),
  topShare: selecting(v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1)), 0.01)),
  /**
   * Batch normalization: normalizes by its batch and is averaged with the rest; every client keeps its own (FedBN, Li et al. 2021,
   * arXiv 2102.07623); or it is `frozen`: normalizes by the checkpoint's statistics and stays as it is, for batches too small to
   * say anything of a mean and a variance.
   */
  batchNorm: selecting(v.optional(v.picklist(["average", "local", "frozen"]), "average")),
  /**
   * Learning without forgetting (Li and Hoiem 2016, arXiv 1606.09282): how much the base checkpoint's own answers of the faces count
   * beside their labels. 0 is off.
   */
  distill: selecting(v.optional(real(0, 100), 0)),
  /**
   * How much the base checkpoint's answers of dreamed faces count, as many of which join every batch: what it knows of other faces
   * than the client's stays known. See src/model/dreams.ts. 0 is off.
   */
  rehearse: selecting(v.optional(real(0, 100), 0)),
};

/** What clients remember from round to round, each on its own device: see strategies/live.ts. The lab has these, and more, in a way of its own. */
const strategyEntries = {
  strategy: selecting(v.optional(v.picklist(LIVE_NAMES), "none")),
  /** FedPer, FedRep: layers at the end that every client has for itself. */
  personalLayers: selecting(liveEntries.personalLayers),
  /** FedRep: epochs in which that head is trained, before the round's own. */
  headEpochs: selecting(liveEntries.headEpochs),
  /** Ditto: how strongly a client's own model is held to the shared one. */
  lambda: selecting(liveEntries.lambda),
  /** MOON: how much its loss counts beside the labels', and the temperature in it. */
  mu: selecting(liveEntries.mu),
  temperature: selecting(liveEntries.temperature),
  /** FedDyn: its alpha, how strongly clients' losses are aligned. */
  alignment: selecting(liveEntries.alignment),
  /** FedDyn, SCAFFOLD: how many devices the federation counts, whether they come or not: the goal count or more. */
  population: selecting(liveEntries.population),
};

export const planSchema = v.object({
  ...planEntries,
  ...strategyEntries,
  /**
   * An update is sent although its client's own held-out examples are recognized worse after the training: where the task began with random
   * weights, so that there may be nothing yet to lose, and its round publishes every candidate.
   */
  sendWorse: v.optional(v.boolean(), false),
  /** The update must say how the base checkpoint does on the training faces. */
  reportInitialLoss: v.optional(v.boolean(), false),
  /**
   * The largest norm that an update counts with, where what its client keeps has to be what counts: the client scales a longer one down
   * itself. 0 where it need not.
   */
  updateNorm: v.optional(real(0, 1e12), 0),
});
export type Plan = v.InferOutput<typeof planSchema>;

/**
 * The most that an update may move the weights, as a share of their own norm, unless a round says otherwise. The one place where
 * this default stands.
 */
export const DEFAULT_MAX_UPDATE_NORM = 0.02;

/** How a round is run. Every field has a default, which the form shows too: the least that a call may say is nothing. */
export const roundConfigSchema = v.strictObject({
  /** Updates that close the round. */
  goalCount: selecting(v.optional(whole(1, 1000), 3)),
  /** C: the share of the clients that have checked in which is chosen for the cohort. */
  fraction: selecting(v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1)), 1)),
  ...planEntries,
  ...strategyEntries,
  // What makes a trained model better and never worse, by measurement: the table in docs/lab.md.
  epochs: selecting(v.optional(planEntries.epochs, 3)),
  batchSize: selecting(v.optional(planEntries.batchSize, 5)),
  learningRate: selecting(v.optional(planEntries.learningRate, 0.02)),
  clipNorm: selecting(v.optional(planEntries.clipNorm, 4)),
  batchNorm: selecting(v.optional(planEntries.batchNorm, "frozen")),
  distill: selecting(v.optional(planEntries.distill, 0.4)),
  rehearse: selecting(v.optional(planEntries.rehearse, 3)),
  /** How many times the goal is chosen where enough clients wait, for those who will leave. */
  overSelection: open(v.optional(real(1, 3), 1.3)),
  /** Seconds that the choice waits for more clients once goal / C of them are there. */
  selectionSeconds: open(v.optional(whole(0, 3600), 3)),
  /** Seconds that the round waits for enough clients to check in, before it is given up. */
  waitSeconds: selecting(v.optional(whole(5, 7 * 86_400), 86_400)),
  /** `async`: FedBuff. Who checks in trains at once, and an update counts in whatever round is open when it comes. */
  mode: v.optional(v.picklist(["sync", "async"]), "sync"),
  /** In async rounds: how many versions an update's base may be behind. */
  maxStaleness: open(v.optional(whole(0, 100), 5)),
  /** Where the average is made: in one place, or by hubs in several regions that gossip. */
  topology: selecting(v.optional(v.picklist(["central", "gossip"]), "central")),
  aggregation: selecting(v.optional(v.picklist(AGGREGATION_NAMES), "mean")),
  /** q of q-FedAvg: 0 is the plain mean, more cares more for the clients with the largest loss. */
  q: selecting(v.optional(real(0, 10), 1)),
  /** f: wrong updates that a robust aggregation has to bear. */
  byzantine: selecting(v.optional(whole(0, 400), 1)),
  /** The most faces that an update counts for, whatever its client says: n_k is its own word. */
  maxExamples: selecting(v.optional(whole(1, 100_000), 200)),
  /**
   * The same as a multiple of the middle number of faces that the members of its cohort have said they have: one with far more than the
   * others decides no round alone. 0 is off.
   */
  maxExamplesRatio: selecting(v.optional(real(0, 1000), 2)),
  /**
   * The largest norm of an update as a share of the norm of the weights that it starts from; longer ones are scaled down. The bound for
   * rounds that are open to strangers, which needs no knowledge of norms. 0 is off.
   */
  maxUpdateNorm: selecting(v.optional(real(0, 1e6), DEFAULT_MAX_UPDATE_NORM)),
  /** The largest norm of an update; longer ones are scaled down. 0 is off. */
  updateClip: selecting(v.optional(real(0, 1e6), 0)),
  /** Examples that the base counts as in the average, so that few faces move it little: see `shrinkage`. 0 is off. */
  prior: selecting(v.optional(real(0, 1e6), 100)),
  /**
   * z: Gaussian noise of standard deviation z * updateClip on the sum of the updates, which then count the same however many faces
   * they had (DP-FedAvg, McMahan et al. 2018). Each waiting client is drawn by itself with probability C. 0 is off.
   */
  noise: selecting(v.optional(real(0, 100), 0)),
  /** The share of updates that the clip should leave as they are; it follows their norms from round to round. 0 is off. */
  clipQuantile: selecting(v.optional(real(0, 0.99), 0)),
  /** Secure aggregation: the edge learns the sum of the updates only. With noise, the clients add it. */
  secure: selecting(v.optional(v.boolean(), false)),
  /** Seconds that a step of it waits for the slowest clients. */
  secureStepSeconds: selecting(v.optional(whole(1, 3600), 30)),
  serverOptimizer: selecting(v.optional(v.picklist(SERVER_OPTIMIZER_NAMES), "sgd")),
  serverLearningRate: selecting(v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(100)), 1)),
  serverMomentum: selecting(v.optional(real(0, 0.9999), 0.9)),
  serverBeta2: selecting(v.optional(real(0, 0.99999), 0.99)),
  serverTau: selecting(v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1)), 1e-3)),
  /** eps of FedExP: its paper searches for it in 1e-3 to 1e-1. */
  serverEpsilon: selecting(v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1)), 1e-3)),
  /** Clients that evaluate a round's candidate before it is published, or all of its cohort where that is less. 0 asks nobody. */
  evaluators: open(v.optional(whole(0, 1000), 3)),
  evaluationSeconds: open(v.optional(whole(5, 86_400), 60)),
  /** Waits for the operator's own evaluation, and publishes nothing without it. */
  awaitOperator: open(v.optional(v.boolean(), false)),
  /** Evaluators also tell how many faces of each expression the candidate took for which. */
  evaluateByClass: selecting(v.optional(v.boolean(), false)),
  /** Rounds without a better evaluation that make a plateau. 0 is off. */
  stopPatience: open(v.optional(whole(0, 1000), 0)),
  stopDelta: open(v.optional(real(0, 100), 0)),
  /** At a plateau: refuse further updates, halve the clients' learning rate, or go on. */
  atPlateau: open(v.optional(v.picklist(["stop", "lower-rate", "go-on"]), "stop")),
  /** A candidate whose loss is higher than its base's by more than this is rejected: see guard.ts. null publishes whatever comes. */
  tolerance: open(v.optional(v.nullable(real(0, 1000)), 0.1)),
  /** The least share of dreamed faces on which a candidate answers as its base does, where that has been trained. 0 is off. */
  agreement: open(v.optional(real(0, 1), 0.8)),
  /**
   * What clients that have a round's base get of its checkpoint: all of it, or the difference in this codec. The checkpoint is
   * then the base plus what that decodes to.
   */
  downloadCodec: selecting(v.optional(v.picklist(["float32", ...DIFFERENCE_CODECS]), "float32")),
  /** Only devices with a valid invitation take part: what bounds how many one person can be (SECURITY.md). */
  invited: selecting(v.optional(v.boolean(), false)),
  /** Seconds from the choice of the cohort to the end of the round, come what may. */
  deadlineSeconds: open(v.optional(whole(5, 86_400), 600)),
  /** How many rounds to run, one after the other. */
  rounds: open(v.optional(whole(1, 10_000), 1)),
});
export type RoundConfig = v.InferOutput<typeof roundConfigSchema>;

/** Why a strategy does not go with how clients train, or with what else is done to updates; undefined where it does. */
export function strategyConflict({
  aggregation,
  serverOptimizer,
  optimizer,
  proximal,
  patience,
  noise,
}: Pick<RoundConfig, "aggregation" | "serverOptimizer" | "optimizer" | "proximal" | "patience" | "noise">):
  string | undefined {
  const conflict = aggregationOf(aggregation).conflict?.({ optimizer, proximal, patience });
  if (conflict !== undefined) return conflict;
  if (optimizerRule(serverOptimizer).seesUpdates && noise > 0) {
    return "FedExP's step comes from the norms of single updates, which noise is there to hide: choose another server optimizer.";
  }
  return undefined;
}

/** Clients that a round may have to wait for: with more it would never begin. */
const MOST_WAITING = 1_000_000;

/** Why parts of a configuration do not go together, in words; undefined when they do. */
export function conflictOf(config: RoundConfig): string | undefined {
  const strategy = strategyConflict(config) ?? liveConflict(config);
  if (strategy !== undefined) return strategy;
  const aggregation = aggregationOf(config.aggregation);
  const optimizer = optimizerRule(config.serverOptimizer);
  if (needsSteps(config) && config.maxExamplesRatio === 0) {
    return "FedNova steps as far as a client on the average, weighted by examples, and one that claims very many would have all step so much further: choose maxExamplesRatio above 0.";
  }
  if (config.topology === "gossip" && !aggregation.isLinear) {
    return "Hubs can gossip about sums only; a robust average needs every update in one place. Choose the mean, or the central topology.";
  }
  if (config.topology === "gossip" && (!aggregation.isForHubs || optimizer.seesUpdates)) {
    return "FedNova and FedExP take a whole cohort's steps and norms, and a hub knows its own only: choose the central topology.";
  }
  if (config.goalCount / config.fraction > MOST_WAITING) {
    return `So many updates of so small a fraction of those who wait need more than ${MOST_WAITING} clients: choose a lower goalCount, or a larger fraction.`;
  }
  if (config.secure && optimizer.seesUpdates) {
    return "FedExP's step comes from the norms of single updates, which secure aggregation hides: choose another server optimizer.";
  }
  if (config.topology === "gossip" && config.downloadCodec !== "float32") {
    return "Hubs hold a checkpoint against their own mean, which a rounded difference is not. Choose float32 downloads, or the central topology.";
  }
  if (config.clipQuantile > 0 && config.updateClip === 0) {
    return "A clip that follows a quantile needs a value to begin with: choose an update clip above 0.";
  }
  if (config.evaluateByClass && (config.secure || config.noise > 0)) {
    return "Counts by class tell the edge how many faces of each expression an evaluator holds out, which such a round is there to hide. Leave them out.";
  }
  if (config.secure) {
    if (aggregation.seesUpdates) {
      return "With secure aggregation nobody sees a single update, and the robust rules compare them; q-FedAvg and FedNova weigh each by itself. Choose the mean.";
    }
    if (config.mode !== "sync" || config.topology !== "central") {
      return "Secure aggregation needs a cohort that stays the same: choose a synchronous, central round.";
    }
    if (!isRingCodec(config.codec)) {
      return "Masked updates are whole numbers: choose int8 or int4.";
    }
    if (config.updateClip === 0)
      return "Masked updates have a range that everybody knows: choose an update clip above 0.";
    if (config.goalCount * config.overSelection > 1000)
      return "Secure aggregation takes cohorts of up to 1,000 clients.";
    if (config.goalCount < FEWEST)
      return `Among fewer than ${FEWEST} clients nothing can be hidden: choose a higher goal count.`;
  }
  if (config.noise > 0) {
    if (config.noise < LEAST_NOISE) return `Noise below ${LEAST_NOISE} hides nobody: choose more, or 0 for none.`;
    if (config.updateClip === 0) return "Noise is scaled by the update clip: choose one above 0.";
    if (config.prior > 0)
      return "Noise is calibrated for clients that count the same however many faces they have: choose prior 0.";
    if (aggregation.seesUpdates || config.mode !== "sync" || config.topology !== "central") {
      return "Noise is calibrated for the mean of a synchronous, central round. Choose these, or no noise.";
    }
    if (config.batchNorm === "average") {
      return "Noise could make the variances of batch normalization negative: let clients keep their own, or freeze it.";
    }
    if (config.evaluators > 0) {
      return "What clients say of a candidate has no noise, and would tell of their faces: choose evaluators 0. Dreamed faces, where the task has them, and the operator, if awaited, still judge it.";
    }
    if (config.clipQuantile > 0) {
      try {
        noiseBesideShares(config.noise, config.goalCount);
      } catch (error) {
        return (error as Error).message;
      }
    }
  }
  if (!aggregation.isLinear) {
    const least = aggregation.leastUpdates(config.byzantine);
    if (config.goalCount < least) {
      return `To bear ${config.byzantine} wrong updates, ${config.aggregation} needs ${least}: choose a higher goal count, or fewer to bear.`;
    }
  }
  return undefined;
}

const unknownOf = (change: object): string | undefined =>
  Object.keys(change).find((key) => !Object.hasOwn(roundConfigSchema.entries, key));

/** A change of an open round: any of its fields. Absent ones stay as they are. */
export const roundChangeSchema = v.pipe(
  v.record(v.string(), v.unknown()),
  v.check(
    (change) => unknownOf(change) === undefined,
    ({ input }) => `${unknownOf(input)}: an unknown field`,
  ),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const parsed: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(dataset.value)) {
      const field = v.safeParse(roundConfigSchema.entries[key as keyof RoundConfig], value);
      if (!field.success) {
        addIssue({ message: `${key}: ${v.summarize(field.issues)}` });
        return NEVER;
      }
      parsed[key] = field.output;
    }
    return parsed;
  }),
);

/** The token of an invitation: 16 random bytes in base64url. */
export const invitationTokenSchema = v.pipe(v.string(), v.regex(/^[\w-]{22}$/, "not the token of an invitation"));

export const checkInSchema = v.strictObject({
  /** The open round that the client knows of, for which it has made its signing key; null for none. */
  round: v.nullable(whole(1, 1e9)),
  /** Faces that it can train on. */
  examples: whole(1, 100_000),
  /** Faces that it keeps out of training and can evaluate a checkpoint on. */
  heldOut: v.optional(whole(0, 100_000), 0),
  /** What the device was invited with. */
  invitation: v.optional(invitationTokenSchema),
});
export type CheckIn = v.InferOutput<typeof checkInSchema>;

/** Random bytes of an invitation's token: nobody guesses one in the lifetime of a server. */
export const INVITATION_BYTES = 16;

/** What an administrator says of an invitation to make. */
export const invitationRequestSchema = v.strictObject({
  /** Devices that it lets into each round. */
  uses: v.optional(whole(1, 1000), 1),
  /** Whom it is for, for the list. */
  note: v.optional(v.pipe(v.string(), v.trim(), v.maxLength(80)), ""),
});
export type InvitationRequest = v.InferOutput<typeof invitationRequestSchema>;

export const invitationSchema = v.object({
  id: idSchema,
  note: v.string(),
  uses: v.number(),
  /** In the round that is open. */
  usesLeft: v.number(),
  /** Unix time in milliseconds. */
  madeAt: v.number(),
});
export type Invitation = v.InferOutput<typeof invitationSchema>;
export const invitationsSchema = v.array(invitationSchema);

/** As it is told once, when it is made. */
export const newInvitationSchema = v.object({ ...invitationSchema.entries, token: invitationTokenSchema });
export type NewInvitation = v.InferOutput<typeof newInvitationSchema>;

export const checkpointSchema = v.object({
  sha256: sha256Schema,
  /** 0 for the initialization, then one more with each published round. */
  version: whole(0, 1e9),
  bytes: whole(1, 1e9),
  /** The checkpoint that a difference to this one starts from, and that difference's bytes; absent where there is none. */
  difference: v.optional(v.object({ from: sha256Schema, bytes: whole(1, 1e9) })),
  /** The same weights in int8, for who only plays; absent of what an older edge has published, and where the file itself is that. */
  light: v.optional(v.object({ sha256: sha256Schema, bytes: whole(1, 1e9) })),
});
export type CheckpointInfo = v.InferOutput<typeof checkpointSchema>;

/** Rounds in a row that a client is told of at most; who has kept something of an older one begins anew. */
export const MOST_RANGES = 1000;

export const rememberedVectorSchema = v.object({ sha256: sha256Schema, bytes: whole(1, 1e9) });

export const assignmentSchema = v.object({
  task: taskNameSchema,
  /** The id of the one update that this client may send. */
  id: idSchema,
  round: whole(1, 1e9),
  checkpoint: checkpointSchema,
  plan: planSchema,
  /** Unix time in milliseconds. */
  deadline: v.number(),
  /** With secure aggregation: what the ring of the masked vectors is made of, see src/federation/secagg. */
  secure: v.optional(
    v.object({
      cohort: whole(1, 1000),
      clip: v.number(),
      /** Standard deviation of the noise that this client adds to each number of its update; 0 adds none. */
      deviation: v.number(),
      /** The most faces that a client counts for; with noise all count for one. */
      mostExamples: whole(1, 100_000),
      /** With noise, and a clip that follows the norms: how a client tells whether its own lies below it. */
      below: v.optional(v.object({ unit: whole(1, 1e6), variance: whole(1, 1e6) })),
    }),
  ),
  /** Of a round whose server remembers something: of which rounds' updates, each pair the first and the last of some in a row. */
  remembered: v.optional(
    v.object({
      rounds: v.pipe(v.array(v.tuple([whole(1, 1e9), whole(1, 1e9)])), v.maxLength(MOST_RANGES)),
      /** The vector itself, as a checkpoint's file, where clients are told it and there is one. */
      vector: v.optional(rememberedVectorSchema),
    }),
  ),
});
export type Assignment = v.InferOutput<typeof assignmentSchema>;

/** A candidate to evaluate, beside the checkpoint that it was made from, on held-out faces. */
export const evaluationTaskSchema = v.object({
  id: idSchema,
  task: taskNameSchema,
  round: whole(1, 1e9),
  candidate: checkpointSchema,
  base: checkpointSchema,
  /** As in the round's configuration. */
  byClass: v.optional(v.boolean(), false),
  /** Layers at the end of both that are an evaluator's own, where it has some. */
  personalLayers: v.optional(whole(0, 10), 0),
});
export type EvaluationTask = v.InferOutput<typeof evaluationTaskSchema>;

/** No task tells more classes apart. */
const MOST_CLASSES = 100;

/** Counts by class: rows are the labels, columns what the model said. How many there are is the task's. */
const confusionSchema = v.pipe(
  v.array(v.pipe(v.array(whole(0, 100_000_000)), v.maxLength(MOST_CLASSES))),
  v.maxLength(MOST_CLASSES),
);

/** What an evaluator found: mean losses and accuracies of both checkpoints on the same faces. */
export const evaluationSchema = v.strictObject({
  /** Of the candidate, where the round asks for it. */
  confusion: v.optional(confusionSchema),
  examples: whole(1, 100_000),
  loss: real(0, 1000),
  accuracy: real(0, 1),
  baseLoss: real(0, 1000),
  baseAccuracy: real(0, 1),
});
export type Evaluation = v.InferOutput<typeof evaluationSchema>;

/** Means over evaluators, weighted by their faces up to the round's cap. */
const evaluationSumSchema = v.object({ ...evaluationSchema.entries, clients: v.number() });

export const checkInAnswerSchema = v.variant("decision", [
  v.object({ decision: v.literal("evaluate"), evaluation: evaluationTaskSchema }),
  v.object({ decision: v.literal("train"), assignment: assignmentSchema }),
  v.object({
    decision: v.literal("wait"),
    reason: v.picklist(["no-round", "other-round", "selecting", "not-selected", "already-sent", "early-stopped"]),
    retryAfterSeconds: v.number(),
    /** The open round, for which to make a new signing key where the reason is `other-round`. */
    round: v.nullable(v.number()),
  }),
]);
export type CheckInAnswer = v.InferOutput<typeof checkInAnswerSchema>;

/** Where other machines find an own server: origins, the likeliest first. */
export const sharedSchema = v.object({ origins: v.array(v.string()) });
export type Shared = v.InferOutput<typeof sharedSchema>;

export const ROUND_STATES = [
  ...["selecting", "training", "aggregating", "evaluating"],
  ...["published", "rejected", "abandoned"],
] as ("selecting" | "training" | "aggregating" | "evaluating" | "published" | "rejected" | "abandoned")[];
export type RoundState = (typeof ROUND_STATES)[number];

export const memberSchema = v.object({
  /** The first characters of a hash of client and round: the same client has another one in the next round. */
  client: v.string(),
  state: v.picklist(["training", "uploaded", "counted", "dropped", "dead"]),
  /** Versions that its base was behind. */
  staleness: v.number(),
  /** L2 norm of its delta. */
  norm: v.nullable(v.number()),
  /** Of its delta to the average of its round (src/federation/cosines.ts); null before that is there, or where nobody has looked. */
  cosine: v.optional(v.nullable(v.number()), null),
  examples: v.nullable(v.number()),
  bytesUp: v.number(),
  bytesDown: v.number(),
  trainLoss: v.nullable(v.number()),
  trainAccuracy: v.nullable(v.number()),
  /** Its base's loss on the same faces, before it trained; null where its round does not ask for it. */
  initialLoss: v.optional(v.nullable(v.number()), null),
  backend: v.nullable(v.string()),
  /** Unix times in milliseconds. */
  assignedAt: v.number(),
  uploadedAt: v.nullable(v.number()),
});
export type Member = v.InferOutput<typeof memberSchema>;

export const hubSchema = v.object({
  name: v.string(),
  /** `waiting`: it takes updates. `gone`: it has not answered, and others have its updates. */
  state: v.picklist(["waiting", "mixing", "done", "disagrees", "gone"]),
  updates: v.number(),
  /** Blocks of the mean that it holds, of how many. */
  block: v.number(),
  blocks: v.number(),
  /** Attempts: more than a million for each change of the members. */
  epoch: v.number(),
  /** Questions that it has asked other hubs, and those that were not answered. */
  asked: v.number(),
  lost: v.number(),
});
export type HubState = v.InferOutput<typeof hubSchema>;

/** What became of a round's whole cohort. */
export const tallySchema = v.object({
  selected: v.number(),
  uploaded: v.number(),
  counted: v.number(),
  dropped: v.number(),
  dead: v.number(),
  bytesUp: v.number(),
  bytesDown: v.number(),
  /** How long its clients took from when they were chosen until their updates were there, in seconds: median, 95th percentile. */
  medianSeconds: v.nullable(v.number()),
  slowestSeconds: v.nullable(v.number()),
});
export type Tally = v.InferOutput<typeof tallySchema>;

/** Words of so many characters, without the spaces around them: letters beyond the first 65,536 are one each. */
const words = (least: number, most: number) =>
  v.pipe(
    v.string(),
    v.trim(),
    v.check((text) => {
      const { length } = Array.from(text);
      return length >= least && length <= most;
    }, `not ${least} to ${most} characters`),
  );

/** An operator's words on a round, and on what was started with it. Without words and tags there is no note. */
export const noteSchema = v.strictObject({
  text: v.optional(words(0, 500), ""),
  tags: v.optional(v.pipe(v.array(words(1, 24)), v.maxLength(8)), () => []),
});
export type Note = v.InferOutput<typeof noteSchema>;

export const roundSchema = v.object({
  number: v.number(),
  /** The first round of the run that it belongs to: of all that was started together. */
  run: v.optional(v.number()),
  state: v.picklist(ROUND_STATES),
  /** Why it ended as it did, in words. */
  reason: v.nullable(v.string()),
  /** The losses that no longer got better, in words, where they ended its run or slowed it down after this round. */
  plateau: v.optional(v.nullable(v.string()), null),
  config: roundConfigSchema,
  base: checkpointSchema,
  checkpoint: v.nullable(checkpointSchema),
  openedAt: v.number(),
  trainingAt: v.nullable(v.number()),
  endedAt: v.nullable(v.number()),
  deadline: v.nullable(v.number()),
  /** Clients that have checked in and wait to be chosen. */
  waiting: v.number(),
  /** null where who takes part is a secret: in rounds with noise of the edge. */
  tally: v.nullable(tallySchema),
  /**
   * Its members, or some of them: a page of rounds tells of a hundred at most, a round by itself of all, and one that has ended long
   * ago, or hides its cohort, of none.
   */
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
  /** The candidate and its base on the evaluators' faces; null until there is one. */
  evaluation: v.nullable(evaluationSumSchema),
  /** The same by who evaluated: members of the cohort, clients that were not in it, the operator. */
  evidence: v.optional(v.record(v.picklist(EVIDENCE_KINDS), v.optional(evaluationSumSchema)), {}),
  /** How the candidate answers on dreamed faces, held against its base; null where that was not looked at. */
  dreams: v.optional(v.nullable(v.object({ agreement: v.number(), divergence: v.number() })), null),
  /** The hubs of a round that gossips; none in a central one. */
  hubs: v.optional(v.array(hubSchema), []),
  /** An operator's words on it. */
  note: v.optional(v.nullable(noteSchema), null),
});
export type Round = v.InferOutput<typeof roundSchema>;

export const taskSchema = v.object({
  task: taskNameSchema,
  /** A retired one has no more rounds. */
  state: v.optional(v.picklist(["open", "retired"]), "open"),
  /** What its network is called. */
  model: v.string(),
  checkpoint: checkpointSchema,
  /** False while the checkpoint is still the random initialization. */
  trained: v.boolean(),
  /** Whether its first version was such an initialization: its rounds then are the notebook's where nobody says otherwise. */
  fromScratch: v.optional(v.boolean(), false),
  /** The open round, for which a client makes its key; null where there is none, or where an edge does not say. */
  round: v.optional(v.nullable(v.number()), null),
  /** Every series of rounds so far that has read clients' updates, by its sampling and its noise: what epsilon is made of. */
  privacy: v.optional(
    v.array(
      v.object({
        sampling: v.number(),
        noise: v.number(),
        rounds: v.number(),
        /** Clients that these rounds were drawn from, all together: delta is chosen below one in as many. */
        clients: v.optional(v.number()),
      }),
    ),
    [],
  ),
});
export type Task = v.InferOutput<typeof taskSchema>;

/** A page of the task's rounds, the oldest first. */
export const historySchema = v.object({ task: taskSchema, rounds: v.array(roundSchema) });
export type History = v.InferOutput<typeof historySchema>;

/** Which page: rounds whose number is lower than `before`, at most `limit` of them. */
export const MOST_ROUNDS = 30;
const written = (least: number, most: number) =>
  v.pipe(v.string(), v.regex(/^[0-9]{1,10}$/, "not a whole number"), v.transform(Number), whole(least, most));
export const pageSchema = v.strictObject({
  before: v.optional(written(1, 1e9)),
  limit: v.optional(written(1, MOST_ROUNDS), String(MOST_ROUNDS)),
});
export type Page = v.InferOutput<typeof pageSchema>;

/** What a task's log tells of. Those of {@link ALERTING} are told to the operator's webhook too. */
export const EVENT_KINDS = [
  ...["round-open", "round-published", "round-rejected", "round-abandoned", "early-stop", "rolled-back"],
  ...["dead-letter", "replayed", "nobody-came", "clock-set-back", "alarm-failed", "alerts-set", "alert-failed"],
  ...["task-retired", "task-reopened"],
] as (
  | ("round-open" | "round-published" | "round-rejected" | "round-abandoned" | "early-stop" | "rolled-back")
  | ("dead-letter" | "replayed" | "nobody-came" | "clock-set-back" | "alarm-failed" | "alerts-set" | "alert-failed")
  | ("task-retired" | "task-reopened")
)[];
export type EventKind = (typeof EVENT_KINDS)[number];
export const ALERTING: readonly EventKind[] = ["round-rejected", "round-abandoned", "dead-letter", "nobody-came"];

/** Something that happened to a task, and why. */
export const taskEventSchema = v.object({
  /** One more with each event. */
  id: whole(1, 1e12),
  /** Unix time in milliseconds. */
  at: v.number(),
  kind: v.picklist(EVENT_KINDS),
  round: v.nullable(v.number()),
  /** Why, or of what, in words; empty where there is nothing to add. */
  detail: v.string(),
});
export type TaskEvent = v.InferOutput<typeof taskEventSchema>;
/** The newest first. */
export const taskEventsSchema = v.array(taskEventSchema);
/** Events that are kept: what is older is forgotten. */
export const MOST_EVENTS = 500;

/** Where an operator wants to be told of what goes wrong; null for nowhere. */
export const alertsSchema = v.strictObject({ webhook: v.nullable(webhookSchema) });
export type Alerts = v.InferOutput<typeof alertsSchema>;

/** What has changed in a round: the fields that are others now, and members by their places. */
export const roundDifferenceSchema = v.object({
  number: v.number(),
  fields: v.partial(v.omit(roundSchema, ["number", "cohort"])),
  cohort: v.array(v.tuple([v.number(), memberSchema])),
});
export type RoundDifference = v.InferOutput<typeof roundDifferenceSchema>;

/**
 * What the WebSocket says: the latest rounds once, a round that is new, then what changes of it, ten times a second at most; what
 * happened; and how many clients have asked lately or are at work, as far as keys can be told apart.
 */
export const liveEventSchema = v.variant("type", [
  v.object({ type: v.literal("history"), history: historySchema }),
  v.object({ type: v.literal("round"), round: roundSchema, task: taskSchema }),
  v.object({ type: v.literal("change"), change: roundDifferenceSchema, task: v.optional(taskSchema) }),
  v.object({ type: v.literal("event"), event: taskEventSchema }),
  v.object({ type: v.literal("presence"), online: v.number() }),
]);
export type LiveEvent = v.InferOutput<typeof liveEventSchema>;
/** What a watcher says now and then, so that the edge need not write to one that no longer reads. */
export const READING = "reading";
/** Messages after which it says so. */
export const READING_EVERY = 50;

/** A checkpoint of the task's past. */
export const checkpointRecordSchema = v.object({
  ...checkpointSchema.entries,
  status: v.picklist(["published", "candidate", "rejected", "deleted"]),
  round: v.nullable(v.number()),
  createdAt: v.number(),
  /** True for the one that clients get now. */
  current: v.boolean(),
});
export type CheckpointRecord = v.InferOutput<typeof checkpointRecordSchema>;
export const checkpointsSchema = v.array(checkpointRecordSchema);

/** An accepted update that could not be added, however often it was tried. */
export const deadLetterSchema = v.object({
  id: idSchema,
  round: v.number(),
  client: v.string(),
  reason: v.string(),
});
export const deadLettersSchema = v.array(deadLetterSchema);
export type DeadLetter = v.InferOutput<typeof deadLetterSchema>;

/** An error as RFC 9457 writes it, with a stable `code`. */
export const problemSchema = v.object({
  type: v.string(),
  title: v.string(),
  status: v.number(),
  code: v.string(),
  detail: v.string(),
});
export type Problem = v.InferOutput<typeof problemSchema>;
