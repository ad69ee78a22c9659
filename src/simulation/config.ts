import * as v from "valibot";
import { PLAIN_CAMERA, type Camera } from "../data/camera";
import { MODEL_NAMES, MODELS, summarize } from "../model/model";
import { conflictOf, planEntries, real, roundConfigSchema, whole } from "../federation/protocol";
import { asRoundSays, isLive, serverConflict, stepsConflict } from "../federation/strategies/live";
import { STRATEGIES } from "../federation/strategies/registry";
import { normalizationSchema } from "../federation/tasks/description";
import { taskOf } from "../federation/tasks/registry";
import { nearestOf } from "../base/nearest";
import { ATTACKS } from "./attack";
import { batchSizeSchema, expectedCohort } from "./cohort";
import { LabConfigError } from "./config-error";
import { DURATIONS } from "./durations";
import { withNamedRule } from "./named-rules";
import { roundOf } from "./simulated-round";
import { optionsOf, scheduleConflict } from "./strategy-round";

/** A federation to rehearse. Configuration and data decide every number of a run, on any machine with the same arithmetic. */

/** Labelled pictures that the lab knows; what each is stands in src/data. */
export const DATASETS = ["drawn", "fer2013", "mnist", "own"] as const;
export type DatasetName = (typeof DATASETS)[number];

/** Ways to share examples out, each said by its own paper: see partition.ts. */
export const PARTITIONS = ["iid", "dirichlet", "dirichlet-symmetric", "labels", "shards", "natural"] as const;

/** What is done to every picture of training and test alike. */
export const cameraEntries = { gain: real(0.05, 4), angle: real(-180, 180), mirror: v.boolean() };
const cameraSchema: v.GenericSchema<unknown, Camera> = v.strictObject(cameraEntries);

/** What a round and the lab say alike stands in the round's description. */
const round = roundConfigSchema.entries;

const entries = {
  name: v.optional(v.pipe(v.string(), v.maxLength(80)), "Run"),
  /** Decides who has what, the cohorts, the order of the examples, dropout and noise. */
  seed: v.optional(whole(0, 2 ** 32 - 1), 1),
  dataset: v.picklist(DATASETS),
  model: v.picklist(MODEL_NAMES),
  /** What a network for somebody's own pictures gets, as a task's input has it: see ModelSpec.normalization. null: numbers from 0 to 1. */
  normalization: v.optional(
    v.nullable(
      v.pipe(
        normalizationSchema,
        v.check(
          ({ mean, std }) => [1, 3].includes(mean.length) && std.length === mean.length,
          "one mean and one std for each channel",
        ),
      ),
    ),
    null,
  ),
  /** The first weights: Glorot uniform, or the checkpoint that the app ships. */
  start: v.optional(v.picklist(["initialize", "shipped"]), "initialize"),
  camera: v.optional(cameraSchema, PLAIN_CAMERA),

  /** K */
  clients: whole(1, 10_000),
  /** Who has what: see partition.ts. */
  partition: v.optional(v.picklist(PARTITIONS), "iid"),
  /** Of Dirichlet: small gives each client few labels, large makes all alike. */
  alpha: v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1e6)), 0.5),
  /** Of `labels`: how many of them a client has. */
  labelsPerClient: v.optional(whole(1, 100), 2),
  shardsPerClient: v.optional(whole(1, 100), 2),
  /** Spread of the clients' sizes: sigma of a log-normal. 0 makes all alike. */
  sizeSpread: v.optional(real(0, 3), 0),
  /** Exponent of a power law of the clients' sizes. 0 is off. */
  sizePower: v.optional(real(0, 3), 0),
  /** How unlike one another the clients' own cameras are: see cameras.ts. 0 gives all the same. */
  cameraSpread: v.optional(real(0, 1), 0),
  /** Examples of a client, on average. 0 shares all the data out. */
  examplesPerClient: v.optional(whole(0, 1_000_000), 0),
  /** Share of its examples that a client does not train on. */
  heldOut: v.optional(real(0, 0.9), 0),
  /** Test examples; 0 is all. */
  testExamples: v.optional(whole(0, 1_000_000), 0),

  fraction: round.fraction,
  rounds: whole(1, 10_000),
  /** Who trains in each round, instead of a choice by C; client numbers may repeat. */
  schedule: v.optional(
    v.nullable(v.pipe(v.array(v.pipe(v.array(whole(0, 9_999)), v.minLength(1))), v.minLength(1))),
    null,
  ),
  /** Share of the chosen that leave before their update. */
  dropOut: v.optional(real(0, 0.95), 0),
  /**
   * `async`: FedBuff. A round is over at C times the clients' updates, and over-selection times as many train at once; the edge takes
   * up to 3 of that.
   */
  mode: round.mode,
  overSelection: v.optional(real(1, 1000), 1.3),
  maxStaleness: round.maxStaleness,
  /** `gossip`: there is no server, and every client averages its own model with its neighbours'. See gossip-round.ts. */
  topology: round.topology,
  /** To how many others a client gives, and how many times in a round. */
  neighbours: v.optional(whole(1, 13), 2),
  gossipSteps: v.optional(whole(1, 100), 2),
  /** Simulated time of the trainings: see durations.ts. Who needs longer than the deadline comes too late. */
  durations: v.optional(v.picklist(DURATIONS), "equal"),
  meanDuration: v.optional(real(0.001, 86_400), 60),
  /** sigma of log-normal durations. */
  durationSpread: v.optional(real(0, 3), 1),
  durationPer: v.optional(v.picklist(["training", "client"]), "training"),
  /** What was measured of devices in the place of a distribution: seconds of each client's trainings; more clients begin again at the first. */
  clientSeconds: v.optional(
    v.nullable(v.pipe(v.array(real(0.001, 86_400)), v.minLength(1), v.maxLength(10_000))),
    null,
  ),
  deadlineSeconds: round.deadlineSeconds,
  ...planEntries,
  batchSize: batchSizeSchema,
  /** Moving statistics of batch normalization: averaged like all else, or never federated, as the notebook had it. */
  statistics: v.optional(v.picklist(["average", "never"]), "average"),

  /** A strategy with a state of its own, in place of an average and a server optimizer: see src/federation/strategies/registry.ts. */
  strategy: v.optional(v.nullable(v.pipe(v.string(), v.minLength(1), v.maxLength(200))), null),
  /** Its options, which it checks itself. */
  strategyOptions: v.optional(v.record(v.string(), v.unknown()), {}),
  aggregation: round.aggregation,
  q: round.q,
  byzantine: round.byzantine,
  updateClip: round.updateClip,
  /**
   * The most examples that an update counts for, also as a multiple of the cohort's median, and its largest norm as a share of that of
   * the weights, as in a round.
   */
  maxExamples: v.optional(round.maxExamples, 100_000),
  maxExamplesRatio: v.optional(round.maxExamplesRatio, 0),
  maxUpdateNorm: v.optional(round.maxUpdateNorm, 0),
  /** Examples that the base counts as in the average, as in a round. 0 is off. */
  prior: v.optional(round.prior, 0),
  noise: round.noise,
  clipQuantile: round.clipQuantile,
  secure: round.secure,
  serverOptimizer: round.serverOptimizer,
  serverLearningRate: round.serverLearningRate,
  serverMomentum: round.serverMomentum,
  serverBeta2: round.serverBeta2,
  serverTau: round.serverTau,
  serverEpsilon: round.serverEpsilon,
  /** A client keeps what its codec loses, and adds it to its next update. */
  errorFeedback: v.optional(v.boolean(), true),

  /** What some of the clients do against the others, and how many of them: see attack.ts. */
  attack: v.optional(v.picklist(ATTACKS), "none"),
  attackers: v.optional(real(0, 0.5), 0),
  /** How many times the examples that they have attackers claim, to count for more. */
  claim: v.optional(real(1, 1e6), 1),

  /** Rounds from one evaluation on the test examples to the next. */
  evaluateEvery: v.optional(whole(1, 1000), 1),
  /** What is evaluated is the average of the last two rounds' weights, as of FedExP, whose last iterate oscillates (its paper, section 6). */
  averageLast: v.optional(v.boolean(), false),
  /** Accuracy on the test examples that ends the run. */
  target: v.optional(v.nullable(real(0, 1)), null),
  stopPatience: round.stopPatience,
  stopDelta: round.stopDelta,
  atPlateau: round.atPlateau,
  /** A candidate whose loss on the test examples is higher than its base's by more than this is rejected. null publishes all. */
  tolerance: v.optional(round.tolerance, null),

  /** Also train one model on all the clients' examples at one place, for as many epochs. */
  central: v.optional(v.boolean(), false),
  /** Epochs in which every client fine-tunes the dense head on its own examples at the end, and keeps it. 0 is off. */
  personalEpochs: v.optional(whole(0, 100), 0),
} as const;

/** Models whose first checkpoint lies in `public`. */
const SHIPPED = MODEL_NAMES.filter((name) => taskOf(name) !== undefined);

/** Conditions that hold between fields, each with what to do about it. */
const RULES: [(config: v.InferOutput<v.StrictObjectSchema<typeof entries, undefined>>) => boolean, string][] = [
  [
    ({ dataset, model }) => dataset === "own" || (dataset === "mnist") === (summarize(MODELS[model]).inputs === 784),
    "This model does not take this data: the mnist models take mnist, the others faces.",
  ],
  [
    ({ normalization, dataset }) => normalization === null || dataset === "own",
    "The networks of the lab's own data sets get numbers from 0 to 1: choose normalization null.",
  ],
  [
    ({ start, dataset }) => start === "initialize" || dataset !== "own",
    "No checkpoint ships for labels of your own: choose start initialize.",
  ],
  [
    ({ start, model }) => start === "initialize" || SHIPPED.includes(model),
    `Only ${SHIPPED.join(", ")} ship with a checkpoint: choose start initialize.`,
  ],
  [
    ({ noise, model, batchNorm, statistics }) =>
      noise === 0 || batchNorm !== "average" || statistics === "never" || model.startsWith("mnist"),
    "Noise could make a variance negative: choose statistics never, or batchNorm local or frozen.",
  ],
  [
    ({ rehearse, dataset }) => rehearse === 0 || dataset === "drawn" || dataset === "fer2013",
    "What is rehearsed are dreamed faces, which only faces' models take: choose rehearse 0.",
  ],
  [
    ({ strategy, aggregation, serverOptimizer }) =>
      strategy === null || (aggregation === "mean" && serverOptimizer === "sgd"),
    "A strategy averages and steps by itself: choose aggregation mean and serverOptimizer sgd beside it.",
  ],
  [
    ({ strategy, strategyOptions }) => strategy !== null || Object.keys(strategyOptions).length === 0,
    "Without a strategy there is nothing that takes strategyOptions: name one as strategy, or choose strategyOptions {}.",
  ],
  [
    ({ strategy, optimizer, patience }) => strategy === null || (optimizer === "sgd" && patience === 0),
    "Strategies count steps of plain SGD: choose optimizer sgd and patience 0.",
  ],
  [
    ({ strategy, layers }) => strategy === null || layers === "all",
    "A strategy's clients train all layers: choose layers all, or no strategy.",
  ],
  [
    ({ strategy, schedule }) =>
      strategy === null || !schedule || schedule.every((row) => new Set(row).size === row.length),
    "A strategy's client goes on from one state, and trains once in a round: choose a schedule that names nobody twice in a round, or no strategy.",
  ],
  [
    ({ strategy, serverLearningRate }) => strategy !== "scaffold" || serverLearningRate === 1,
    "SCAFFOLD's eta_g is its own option: choose strategyOptions.serverLearningRate, and serverLearningRate 1 beside it.",
  ],
  [
    ({ strategy, noise, updateClip, maxUpdateNorm, secure }) =>
      strategy === null || (noise === 0 && updateClip === 0 && maxUpdateNorm === 0 && !secure),
    "A strategy is given updates as they are: choose noise, updateClip and maxUpdateNorm 0, and secure false.",
  ],
  [
    ({ mode, strategy }) => mode === "sync" || strategy === null,
    "A strategy with a state knows updates of one and the same base only: choose mode sync, or no strategy.",
  ],
  [
    ({ mode, schedule }) => mode === "sync" || schedule === null,
    "In an asynchronous run whoever has nothing to do trains: choose mode sync, or no schedule.",
  ],
  [
    ({ mode, topology }) => mode === "sync" || topology === "central",
    "Clients that gossip have no server that could buffer updates: choose mode sync, or topology central.",
  ],
  [
    ({ topology, strategy, aggregation, serverOptimizer, serverLearningRate }) =>
      topology === "central" ||
      (strategy === null && aggregation === "mean" && serverOptimizer === "sgd" && serverLearningRate === 1),
    "Clients that gossip have no server and average with their neighbours: choose no strategy, aggregation mean, and serverOptimizer sgd with serverLearningRate 1.",
  ],
  [
    ({ topology, prior, updateClip, maxUpdateNorm, maxExamplesRatio, tolerance, stopPatience }) =>
      topology === "central" ||
      ([prior, updateClip, maxUpdateNorm, maxExamplesRatio, stopPatience].every((value) => value === 0) &&
        tolerance === null),
    "Where clients gossip nobody bounds updates, judges a model or stops the others: choose prior, updateClip, maxUpdateNorm, maxExamplesRatio and stopPatience 0, and tolerance null.",
  ],
  [
    ({ topology, codec }) => topology === "central" || codec === "float32",
    "Clients that gossip send sums in full: choose codec float32.",
  ],
  [
    ({ topology, attack }) => topology === "central" || attack === "none",
    "Attacks are on a server's average: choose attack none, or topology central.",
  ],
  [
    ({ topology, personalEpochs }) => topology === "central" || personalEpochs === 0,
    "Clients that gossip have a model of their own already: choose personalEpochs 0.",
  ],
  [
    ({ topology, neighbours, clients }) => topology === "central" || 2 ** (neighbours - 1) < clients,
    "A client's last neighbour, 2^(neighbours - 1) further on, would be itself or come round again: choose fewer neighbours.",
  ],
  [
    ({ augment, dataset }) => !augment || dataset !== "mnist",
    "Augmentation mirrors faces, which no digit survives: choose augment false.",
  ],
  [
    ({ cameraSpread, dataset }) => cameraSpread === 0 || dataset !== "mnist",
    "Cameras of their own turn and mirror what clients see, which no digit survives: choose cameraSpread 0.",
  ],
  [
    ({ camera, dataset }) => dataset !== "mnist" || (camera.gain === 1 && camera.angle === 0 && !camera.mirror),
    "Another camera turns and mirrors pictures, which no digit survives: choose the plain one.",
  ],
  [
    ({ sizeSpread, sizePower }) => sizeSpread === 0 || sizePower === 0,
    "Sizes are log-normal or follow a power law: choose sizeSpread 0 or sizePower 0.",
  ],
  [
    ({ sizeSpread, sizePower, partition }) =>
      (sizeSpread === 0 && sizePower === 0) || partition === "iid" || partition === "dirichlet",
    "This partition decides the clients' sizes itself: choose sizeSpread 0 and sizePower 0.",
  ],
  [
    ({ schedule, clients }) => !schedule || schedule.flat().every((client) => client < clients),
    "The schedule names a client that there is not: numbers go from 0 to clients - 1.",
  ],
  [
    ({ stopPatience, tolerance, evaluateEvery }) => (stopPatience === 0 && tolerance === null) || evaluateEvery === 1,
    "Early stopping needs an evaluation in every round: choose evaluateEvery 1.",
  ],
  [
    ({ averageLast, tolerance, topology }) => !averageLast || (tolerance === null && topology === "central"),
    "What is published or rejected is a server's last weights, and not their average with those before: choose averageLast false, or tolerance null and topology central.",
  ],
  [
    ({ personalEpochs, heldOut }) => personalEpochs === 0 || heldOut > 0,
    "Personalization is measured on held-out examples: choose heldOut above 0.",
  ],
];

/** Why a run's strategy does not go with what else it says. */
function strategyConflicts(value: v.InferOutput<v.StrictObjectSchema<typeof entries, undefined>>): string[] {
  const { strategy, strategyOptions } = value;
  if (strategy === null) return [];
  const rules = roundOf(value, value, expectedCohort(value));
  const said = { ...rules, batchNorm: value.batchNorm, population: value.clients };
  if (isLive(strategy)) {
    // What is no number the strategy refuses itself.
    for (const [field, option] of Object.entries(asRoundSays(strategy, strategyOptions))) {
      if (!Object.hasOwn(round, field)) continue;
      const parsed = v.safeParse(round[field as keyof typeof round], option);
      if (parsed.success) Object.assign(said, { [field]: parsed.output });
    }
  }
  const conflicts = [
    isLive(strategy) ? serverConflict({ ...said, strategy }) : undefined,
    stepsConflict(strategy, said),
  ];
  const found = STRATEGIES.get(strategy);
  return [...conflicts, found && scheduleConflict(found, value)].filter((message) => message !== undefined);
}

export const labConfigSchema = v.pipe(
  v.strictObject(entries),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { value } = dataset;
    // What an edge would say to such a round. Its models all have batch normalization, of which there is a rule of the lab's own; and where
    // the edge bounds what strangers claim, a rehearsal's clients claim what the configuration says.
    const strangers = { batchNorm: "frozen", maxExamplesRatio: value.maxExamplesRatio || 1 } as const;
    const conflict = conflictOf({ ...roundOf(value, value, expectedCohort(value)), ...strangers });
    if (conflict !== undefined) addIssue({ message: conflict });
    const input = value.strategyOptions;
    const found = STRATEGIES.get(value.strategy ?? "");
    if (found && !found.options && Object.keys(input).length > 0) {
      const path = { type: "object", origin: "value", input: value, key: "strategyOptions", value: input } as const;
      addIssue({ message: `${found.name} has none.`, path: [path] });
    }
    for (const { option, message } of found ? optionsOf(found, input).issues : []) {
      const key = `strategyOptions.${option}`;
      addIssue({ message, path: [{ type: "object", origin: "value", input, key, value: input[option] }] });
    }
    for (const message of strategyConflicts(value)) addIssue({ message });
    for (const [holds, message] of RULES) if (!holds(dataset.value)) addIssue({ message });
  }),
);
export type LabConfig = v.InferOutput<typeof labConfigSchema>;
/** What has to be said; the rest has defaults. */
export type LabInput = v.InferInput<typeof labConfigSchema>;

/**
 * A configuration that is checked. A strategy that is an average or a server optimizer becomes that: see named-rules.ts.
 * @throws LabConfigError that names each field and what is wrong with it
 */
export function parseLabConfig(value: unknown): LabConfig {
  // A schema finds what every object has, as toString, in itself.
  const inherited = Object.keys(value ?? {}).find((key) => key in {});
  if (inherited !== undefined) throw new LabConfigError(unknownKey(inherited));
  const parsed = v.safeParse(labConfigSchema, withNamedRule(value));
  if (parsed.success) return parsed.output;
  const lines = parsed.issues.map((issue) => {
    const path = v.getDotPath(issue);
    if (path && issue.type === "strict_object" && issue.expected === "never") return unknownKey(path);
    return path ? `${path}: ${issue.message}` : issue.message;
  });
  throw new LabConfigError(lines.join("\n"), !parsed.issues.some((issue) => v.getDotPath(issue)));
}

/** What to say of a key that there is not. */
function unknownKey(key: string): string {
  const nearest = nearestOf(key, Object.keys(entries));
  return `${key}: there is no such key${nearest === null ? "" : `; the nearest is ${nearest}`}.`;
}
