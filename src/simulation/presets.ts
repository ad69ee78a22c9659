import { ABOUT, type PresetName } from "./about";
import { parseLabConfig, type LabConfig, type LabInput } from "./config";

export interface Preset {
  /** What it shows, in a sentence. */
  about: string;
  config: LabConfig;
}

const preset = (name: PresetName, config: LabInput): [PresetName, Preset] => [
  name,
  { about: ABOUT[name], config: parseLabConfig({ name, ...config }) },
];

/** What the runs on MNIST share: section 3 of McMahan et al. 2017, K = 100 and C = 0.1. */
const MCMAHAN = {
  dataset: "mnist",
  clients: 100,
  fraction: 0.1,
  epochs: 1,
  batchSize: 10,
  evaluateEvery: 1,
} satisfies Partial<LabInput>;

/** What the runs on drawn faces share: they begin where the app does, with a model that has only seen photographs. */
const DRAWN = {
  dataset: "drawn",
  model: "compact",
  start: "shipped",
  clients: 20,
  fraction: 0.25,
  examplesPerClient: 40,
  epochs: 2,
  batchSize: 10,
  optimizer: "adam",
  learningRate: 0.001,
  rounds: 12,
  testExamples: 280,
} satisfies Partial<LabInput>;

/** What both ways of running the notebook share: three clients with five faces each, batches of five, SGD 0.02. */
const NOTEBOOK = {
  dataset: "fer2013",
  model: "seed",
  clients: 3,
  examplesPerClient: 5,
  fraction: 1,
  epochs: 1,
  batchSize: 5,
  learningRate: 0.02,
  rounds: 18,
  testExamples: 100,
  evaluateEvery: 6,
} satisfies Partial<LabInput>;

const threeOf = (client: number): number[][] => Array.from({ length: 6 }, () => [client, client, client]);

/** Federations that are worth a look, by name. */
export const PRESETS: ReadonlyMap<PresetName, Preset> = new Map([
  preset("first-look", DRAWN),
  preset("non-iid", {
    ...DRAWN,
    partition: "dirichlet",
    alpha: 0.5,
  }),
  preset("against-the-edge", {
    dataset: "drawn",
    model: "compact",
    start: "shipped",
    clients: 5,
    fraction: 1,
    examplesPerClient: 20,
    epochs: 1,
    batchSize: 10,
    learningRate: 0.02,
    rounds: 2,
    testExamples: 280,
  }),
  preset("seed-notebook", {
    ...NOTEBOOK,
    statistics: "never",
    schedule: [...threeOf(0), ...threeOf(1), ...threeOf(2)],
  }),
  preset("seed-intended", NOTEBOOK),
  preset("mcmahan-2nn", {
    ...MCMAHAN,
    model: "mnist-2nn",
    learningRate: 0.1,
    rounds: 300,
    target: 0.97,
  }),
  preset("mcmahan-2nn-non-iid", {
    ...MCMAHAN,
    model: "mnist-2nn",
    learningRate: 0.05,
    rounds: 1500,
    target: 0.97,
    partition: "shards",
  }),
  preset("mcmahan-cnn", {
    ...MCMAHAN,
    model: "mnist-cnn",
    learningRate: 0.1,
    rounds: 60,
    target: 0.99,
    epochs: 5,
  }),
  preset("fedbuff", {
    ...DRAWN,
    mode: "async",
    overSelection: 2,
    durations: "log-normal",
    durationPer: "client",
  }),
  preset("gossip", {
    ...DRAWN,
    clients: 16,
    fraction: 1,
    rounds: 6,
    testExamples: 140,
    topology: "gossip",
    neighbours: 2,
    gossipSteps: 1,
  }),
  preset("own-data", {
    dataset: "own",
    // Without batch normalization, whose statistics take some hundred steps before a test shows what has been learned.
    model: "mnist-lenet",
    clients: 5,
    fraction: 1,
    epochs: 5,
    batchSize: 10,
    // Plain SGD, which every strategy takes.
    learningRate: 0.05,
    rounds: 20,
  }),
  preset("warm-start", {
    dataset: "fer2013",
    model: "compact",
    start: "shipped",
    clients: 50,
    fraction: 0.4,
    examplesPerClient: 40,
    partition: "dirichlet",
    alpha: 0.5,
    heldOut: 0.25,
    camera: { gain: 0.2, angle: 35, mirror: true },
    epochs: 2,
    batchSize: 10,
    optimizer: "adam",
    learningRate: 0.0004,
    rounds: 20,
    testExamples: 1000,
    evaluateEvery: 4,
    central: true,
    personalEpochs: 10,
  }),
]);
