import { EXPRESSIONS, FACE_SIZE } from "./expressions";

/** One layer of a model, described without any library. Convolutions and pooling windows are 3 x 3. */
export type LayerSpec =
  | { kind: "conv2d"; name: string; filters: number; padding: "same" | "valid" }
  | { kind: "batchNorm"; name: string }
  | { kind: "maxPool"; name: string }
  | { kind: "dropout"; name: string; rate: number }
  | { kind: "flatten"; name: string }
  | { kind: "dense"; name: string; units: number; activation: "relu" | "softmax" };

export interface ModelSpec {
  name: string;
  /** Height, width, channels. */
  inputShape: readonly [number, number, number];
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
}

/** Keras's batch-norm constants, which tfjs shares. */
export const BATCH_NORM = { epsilon: 1e-3, momentum: 0.99 } as const;

function convBlock(block: number, filters: number, first: "same" | "valid", dropout: number): LayerSpec[] {
  return [
    { kind: "conv2d", name: `block${block}_conv1`, filters, padding: first },
    { kind: "batchNorm", name: `block${block}_norm1` },
    { kind: "conv2d", name: `block${block}_conv2`, filters, padding: "same" },
    { kind: "batchNorm", name: `block${block}_norm2` },
    { kind: "maxPool", name: `block${block}_pool` },
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

/** Every model a task can name. */
export const MODELS = { seed: SEED, compact: COMPACT } as const;

export type ModelName = keyof typeof MODELS;

export const MODEL_NAMES = Object.keys(MODELS) as [ModelName, ...ModelName[]];

const summaries = new Map<ModelSpec, ModelSummary>();

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
        add(`${layer.name}/kernel`, [3, 3, channels, layer.filters]);
        add(`${layer.name}/bias`, [layer.filters]);
        const lost = layer.padding === "valid" ? 2 : 0;
        shape = [height - lost, width - lost, layer.filters];
        multiplyAdds += (height - lost) * (width - lost) * 9 * channels * layer.filters;
        break;
      }
      case "batchNorm":
        add(`${layer.name}/gamma`, [channels]);
        add(`${layer.name}/beta`, [channels]);
        add(`${layer.name}/moving_mean`, [channels], false);
        add(`${layer.name}/moving_variance`, [channels], false);
        break;
      case "maxPool":
        shape = [Math.floor((height - 3) / 2) + 1, Math.floor((width - 3) / 2) + 1, channels];
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
  return { layers, tensors, parameters: offset, trainableParameters, multiplyAdds };
}
