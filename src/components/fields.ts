import type { Codec } from "../core/codecs/codec";
import type { Aggregation } from "../core/protocol";
import type { SERVER_OPTIMIZERS } from "../core/strategies/server-optimizers";

/** What a form asks for, one entry a field: the form's own component draws them. */

export interface NumberField {
  kind: "number";
  key: string;
  name: string;
  help: string;
  min: number;
  max: number;
  step: number | "any";
  /** Empty is null, and not an error. */
  optional: boolean;
}

export interface ChoiceField {
  kind: "choice";
  key: string;
  name: string;
  help: string;
  options: readonly (readonly [value: string, name: string])[];
}

export interface CheckField {
  kind: "check";
  key: string;
  name: string;
}

/** A field, and when it is asked for at all. */
export type Field = (NumberField | ChoiceField | CheckField) & { when?: (config: Record<string, unknown>) => boolean };

export const number = (
  key: string,
  name: string,
  help: string,
  min: number,
  max: number,
  step: number | "any" = 1,
): NumberField => ({ kind: "number", key, name, help, min, max, step, optional: false });

export const choice = (
  key: string,
  name: string,
  help: string,
  options: readonly (readonly [string, string])[],
): ChoiceField => ({ kind: "choice", key, name, help, options });

export const check = (key: string, name: string): CheckField => ({ kind: "check", key, name });

/** The words of every choice that there is: the type checker names one that has none. */
const options = <T extends string>(words: Record<T, string>): [string, string][] => Object.entries<string>(words);

export const SERVER_OPTIMIZER = choice(
  "serverOptimizer",
  "Server optimizer",
  "steps by the average",
  options<(typeof SERVER_OPTIMIZERS)[number]>({
    sgd: "SGD",
    momentum: "Momentum (FedAvgM)",
    adagrad: "FedAdagrad",
    adam: "FedAdam",
    yogi: "FedYogi",
  }),
);

export const AGGREGATION = choice(
  "aggregation",
  "Aggregation",
  "of a cohort's updates",
  options<Aggregation>({
    mean: "Weighted mean (FedAvg)",
    "q-fair": "Fair mean (q-FedAvg)",
    median: "Coordinate median",
    "trimmed-mean": "Trimmed mean",
    krum: "Krum",
    "multi-krum": "Multi-Krum",
    bulyan: "Bulyan",
  }),
);

/** What belongs to those two. */
export const SERVER_NUMBERS = [
  number("serverLearningRate", "Server rate", "1 with SGD is FedAvg", 0.00001, 100, "any"),
  number("serverMomentum", "Momentum", "beta, or beta 1", 0, 0.9999, "any"),
  number("serverBeta2", "Beta 2", "of FedAdam and FedYogi", 0, 0.99999, "any"),
  number("serverTau", "Tau", "of the adaptive ones", 1e-9, 1, "any"),
  number("updateClip", "Update clip", "norm of a client's update; 0 is off", 0, 1e6, "any"),
  number("byzantine", "Wrong updates f", "that a robust rule bears", 0, 400),
  number("q", "Fairness q", "of q-FedAvg", 0, 10, "any"),
];

/** What an update is sent as. */
export const CODEC_FIELDS: Field[] = [
  choice(
    "codec",
    "Codec",
    "of the updates, before gzip",
    options<Codec>({
      float32: "float32: exact",
      float16: "float16",
      int8: "int8, rounded at random",
      int4: "int4, rounded at random",
      topk: "topk: the largest only",
      ternary: "ternary: signs of the largest",
    }),
  ),
  {
    ...number("topShare", "Share sent", "of each kernel", 0.0001, 1, "any"),
    when: ({ codec }) => codec === "topk" || codec === "ternary",
  },
];

/** How a client trains. */
export const CLIENT_FIELDS: Field[] = [
  number("epochs", "Epochs E", "passes over a client's examples", 1, 100),
  number("batchSize", "Batch B", "examples in a batch", 1, 512),
  number("learningRate", "Learning rate", "of the clients", 0.00001, 10, "any"),
  number("proximal", "Proximal mu", "FedProx; 0 is off", 0, 100, "any"),
  number("clipNorm", "Gradient clip", "norm of a batch's gradient; 0 is off", 0, 1e6, "any"),
  number("patience", "Local patience", "epochs without a better held-out loss; 0 is off", 0, 100),
  choice("optimizer", "Optimizer", "on the clients", [
    ["sgd", "SGD"],
    ["momentum", "SGD with momentum 0.9"],
    ["adam", "Adam"],
  ]),
  choice("layers", "Layers", "that are trained", [
    ["all", "All"],
    ["head", "Dense head only"],
  ]),
  choice("batchNorm", "Batch normalization", "weights and statistics", [
    ["average", "Averaged"],
    ["local", "Kept by each client (FedBN)"],
  ]),
  check("augment", "Augment the faces"),
  check("balanceLabels", "Weigh the labels evenly"),
];

/** When a run ends by itself. */
export const STOPPING_FIELDS: Field[] = [
  number("stopPatience", "Patience", "rounds that are no better; 0 is off", 0, 1000),
  number("stopDelta", "Minimum change", "of the loss, to count as better", 0, 100, "any"),
  choice("atPlateau", "At a plateau", "after so many rounds", [
    ["stop", "Stop"],
    ["lower-rate", "Halve the clients' rate"],
    ["go-on", "Go on"],
  ]),
  {
    ...number("tolerance", "Tolerance", "loss that a candidate may be worse by; empty publishes all", 0, 1000, "any"),
    optional: true,
  },
];
