import { EXPRESSIONS, FACE_SIZE } from "./expressions";

/** One layer of a model, described without any library. Convolutions end in a ReLU and have stride 1, pooling has stride 2. */
export type LayerSpec =
  | { kind: "conv2d"; name: string; filters: number; size: 3 | 5; padding: "same" | "valid" }
  | { kind: "batchNorm"; name: string }
  | { kind: "maxPool"; name: string; window: 2 | 3 }
  | { kind: "dropout"; name: string; rate: number }
  | { kind: "flatten"; name: string }
  | { kind: "dense"; name: string; units: number; activation: "relu" | "softmax" };

/** Mean and deviation of each channel, in units in which black is 0 and white 1. */
export interface Normalization {
  mean: readonly number[];
  std: readonly number[];
}

export interface ModelSpec {
  name: string;
  /** Height, width, channels. */
  inputShape: readonly [number, number, number];
  /** What the network was, or is, trained to get; where it is missing, numbers from 0 to 1. */
  normalization?: Normalization;
  layers: readonly LayerSpec[];
}

/** One named array of the model's weights and where it stands in the flat vector of all of them. */
export interface TensorSpec {
  /** `layer/role`, for example `block1_conv1/kernel`. */
  name: string;
  shape: readonly number[];
  size: number;
  /** Index of the first element in the flat vector. */
  offset: number;
  /** False for batch-norm statistics, which follow the data and not the gradient. */
  trainable: boolean;
}

export interface LayerSummary {
  name: string;
  kind: LayerSpec["kind"];
  outputShape: readonly number[];
  parameters: number;
}

export interface ModelSummary {
  layers: LayerSummary[];
  tensors: TensorSpec[];
  /** Length of the flat vector. */
  parameters: number;
  trainableParameters: number;
  /** Multiply-adds of one inference: those of convolutions and dense layers. */
  multiplyAdds: number;
  /** Numbers of one input. */
  inputs: number;
  /** Classes that the last layer tells apart. */
  classes: number;
}

/** Keras's batch-norm constants, which tfjs shares. */
export const BATCH_NORM = { epsilon: 1e-3, momentum: 0.99 } as const;

/** Softens what teacher and student say in distillation; Li and Hoiem 2016 take 2. */
export const TEMPERATURE = 2;

function convBlock(block: number, filters: number, first: "same" | "valid", dropout: number): LayerSpec[] {
  return [
    { kind: "conv2d", name: `block${block}_conv1`, filters, size: 3, padding: first },
    { kind: "batchNorm", name: `block${block}_norm1` },
    { kind: "conv2d", name: `block${block}_conv2`, filters, size: 3, padding: "same" },
    { kind: "batchNorm", name: `block${block}_norm2` },
    { kind: "maxPool", name: `block${block}_pool`, window: 3 },
    { kind: "dropout", name: `block${block}_dropout`, rate: dropout },
  ];
}

function denseBlock(index: number, units: number): LayerSpec[] {
  return [
    { kind: "dense", name: `dense${index}`, units, activation: "relu" },
    { kind: "dropout", name: `dense${index}_dropout`, rate: 0.3 },
  ];
}

/** The notebook's VGG-like network: 5,102,791 parameters, 3,840 of them batch-norm statistics. */
const SEED: ModelSpec = {
  name: "seed",
  inputShape: [FACE_SIZE, FACE_SIZE, 1],
  layers: [
    ...convBlock(1, 64, "valid", 0.3),
    ...convBlock(2, 128, "same", 0.3),
    ...convBlock(3, 256, "same", 0.3),
    ...convBlock(4, 512, "same", 0.3),
    { kind: "flatten", name: "flatten" },
    ...denseBlock(1, 512),
    ...denseBlock(2, 256),
    ...denseBlock(3, 64),
    { kind: "dense", name: "expression", units: EXPRESSIONS.length, activation: "softmax" },
  ],
};

/** The same plan with a quarter of the filters, for phones: 328,439 parameters, 25 million multiply-adds a face. */
const COMPACT: ModelSpec = {
  name: "compact",
  inputShape: [FACE_SIZE, FACE_SIZE, 1],
  layers: [
    ...convBlock(1, 16, "same", 0.1),
    ...convBlock(2, 32, "same", 0.1),
    ...convBlock(3, 64, "same", 0.1),
    ...convBlock(4, 128, "same", 0.1),
    { kind: "flatten", name: "flatten" },
    ...denseBlock(1, 64),
    { kind: "dense", name: "expression", units: EXPRESSIONS.length, activation: "softmax" },
  ],
};

/** Handwritten digits: 28 x 28 grey levels. */
const DIGITS = { inputShape: [28, 28, 1], classes: 10 } as const;

/** McMahan et al. 2017, section 3: "a simple multilayer-perceptron with 2-hidden layers with 200 units each", 199,210 parameters. */
const MNIST_2NN: ModelSpec = {
  name: "mnist-2nn",
  inputShape: DIGITS.inputShape,
  layers: [
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "dense1", units: 200, activation: "relu" },
    { kind: "dense", name: "dense2", units: 200, activation: "relu" },
    { kind: "dense", name: "digit", units: DIGITS.classes, activation: "softmax" },
  ],
};

/** The same section: 5 x 5 convolutions with 32 and 64 channels, each with 2 x 2 max pooling, and dense 512: 1,663,370 parameters. */
const MNIST_CNN: ModelSpec = {
  name: "mnist-cnn",
  inputShape: DIGITS.inputShape,
  layers: [
    { kind: "conv2d", name: "conv1", filters: 32, size: 5, padding: "same" },
    { kind: "maxPool", name: "pool1", window: 2 },
    { kind: "conv2d", name: "conv2", filters: 64, size: 5, padding: "same" },
    { kind: "maxPool", name: "pool2", window: 2 },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "dense1", units: 512, activation: "relu" },
    { kind: "dense", name: "digit", units: DIGITS.classes, activation: "softmax" },
  ],
};

/**
 * The `simple-cnn` of NIID-Bench (Li et al. 2022, arXiv 2102.02079, section V) with eight filters in place of six in the first
 * convolution, for our kernels take multiples of eight: 45,278 parameters.
 */
const MNIST_LENET: ModelSpec = {
  name: "mnist-lenet",
  inputShape: DIGITS.inputShape,
  layers: [
    { kind: "conv2d", name: "conv1", filters: 8, size: 5, padding: "valid" },
    { kind: "maxPool", name: "pool1", window: 2 },
    { kind: "conv2d", name: "conv2", filters: 16, size: 5, padding: "valid" },
    { kind: "maxPool", name: "pool2", window: 2 },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "dense1", units: 120, activation: "relu" },
    { kind: "dense", name: "dense2", units: 84, activation: "relu" },
    { kind: "dense", name: "digit", units: DIGITS.classes, activation: "softmax" },
  ],
};

/** Every model there is: a task names one of them (src/federation/tasks), the lab any. */
export const MODELS = {
  seed: SEED,
  compact: COMPACT,
  "mnist-2nn": MNIST_2NN,
  "mnist-cnn": MNIST_CNN,
  "mnist-lenet": MNIST_LENET,
} as const;

export type ModelName = keyof typeof MODELS;

export const MODEL_NAMES = Object.keys(MODELS) as [ModelName, ...ModelName[]];

const summaries = new WeakMap<ModelSpec, ModelSummary>();

/** What follows from a model's specification, computed once. */
export function summarize(model: ModelSpec): ModelSummary {
  let summary = summaries.get(model);
  if (!summary) summaries.set(model, (summary = summarizeLayers(model)));
  return summary;
}

/**
 * Infers the shape of every layer and lays the weights out in one flat vector, in the order of the layers; within a
 * layer kernel, bias, or gamma, beta, moving_mean, moving_variance, as Keras orders them.
 */
function summarizeLayers(model: ModelSpec): ModelSummary {
  const layers: LayerSummary[] = [];
  const tensors: TensorSpec[] = [];
  let shape: number[] = [...model.inputShape];
  let offset = 0;
  let multiplyAdds = 0;
  const add = (name: string, dims: number[], trainable = true): void => {
    const size = dims.reduce((a, b) => a * b, 1);
    tensors.push({ name, shape: dims, size, offset, trainable });
    offset += size;
  };
  for (const layer of model.layers) {
    const before = offset;
    const [height = 1, width = 1, channels = 1] = shape;
    switch (layer.kind) {
      case "conv2d": {
        const { size } = layer;
        add(`${layer.name}/kernel`, [size, size, channels, layer.filters]);
        add(`${layer.name}/bias`, [layer.filters]);
        const lost = layer.padding === "valid" ? size - 1 : 0;
        shape = [height - lost, width - lost, layer.filters];
        multiplyAdds += (height - lost) * (width - lost) * size * size * channels * layer.filters;
        break;
      }
      case "batchNorm":
        add(`${layer.name}/gamma`, [channels]);
        add(`${layer.name}/beta`, [channels]);
        add(`${layer.name}/moving_mean`, [channels], false);
        add(`${layer.name}/moving_variance`, [channels], false);
        break;
      case "maxPool":
        shape = [Math.floor((height - layer.window) / 2) + 1, Math.floor((width - layer.window) / 2) + 1, channels];
        break;
      case "flatten":
        shape = [shape.reduce((a, b) => a * b, 1)];
        break;
      case "dense":
        add(`${layer.name}/kernel`, [shape[0] ?? 1, layer.units]);
        add(`${layer.name}/bias`, [layer.units]);
        multiplyAdds += (shape[0] ?? 1) * layer.units;
        shape = [layer.units];
        break;
      case "dropout":
        break;
    }
    layers.push({ name: layer.name, kind: layer.kind, outputShape: shape, parameters: offset - before });
  }
  const trainableParameters = tensors.reduce((n, t) => n + (t.trainable ? t.size : 0), 0);
  const inputs = model.inputShape.reduce((a, b) => a * b, 1);
  return {
    layers,
    tensors,
    parameters: offset,
    trainableParameters,
    multiplyAdds,
    inputs,
    classes: shape[0] ?? 0,
  };
}
