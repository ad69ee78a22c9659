import { summarize, type LayerSpec, type ModelSpec } from "../../../src/model/model";

/**
 * How a model lies in the buffers of a WebGPU device: its layers as the kernels see them, with their places in the flat vector of
 * weights, in the constants of batch normalization and in the parts of the gradient. All places count numbers, not bytes.
 */

/** A share of values that dropout clears. `layer` is the layer's place in the model, which is part of its hash's seed. */
export interface Dropout {
  rate: number;
  layer: number;
}

export interface Pool {
  window: number;
  /** Height and width of the result. */
  H: number;
  W: number;
  dropout: Dropout | null;
}

/** A convolution with ReLU, and what follows it up to the next one. */
export interface ConvLayer {
  index: number;
  name: string;
  /** Of its input. */
  H: number;
  W: number;
  I: number;
  /** Of its output. */
  OH: number;
  OW: number;
  O: number;
  /** Side of the filter, and pixels around the picture that it reaches. */
  S: number;
  pad: number;
  /** Of the kernel, which the bias follows, in the weights. */
  weights: number;
  /** Of gamma in the weights, which beta, moving mean and moving variance follow. */
  norm: number | null;
  /** In the buffer of constants: {@link CONSTANTS} vectors of O. */
  constants: number;
  pool: Pool | null;
}

export interface DenseLayer {
  name: string;
  K: number;
  O: number;
  /** Of the kernel, which the bias follows, in the weights. */
  weights: number;
  isRelu: boolean;
  dropout: Dropout | null;
  /** Of its outputs among those of all dense layers. */
  hidden: number;
}

export interface Layout {
  parameters: number;
  /** Numbers of one input of the network. */
  inputs: number;
  convs: readonly ConvLayer[];
  dense: readonly DenseLayer[];
  classes: number;
  /** Outputs of all dense layers together. */
  hidden: number;
  /** Numbers in the buffer of batch normalization's constants. */
  constants: number;
}

/** Vectors of a block's constants: scale, shift, mean, 1 / deviation, and what its gradient takes off by value and by slope. */
export const CONSTANTS = 6;

/** What the kernels of the dense layers hold in a workgroup's memory: 16 KB are there on every device. */
const MOST_HIDDEN = 1_900;

type Of<K extends LayerSpec["kind"]> = Extract<LayerSpec, { kind: K }>;

/**
 * Lays a model out; null when it is not made as our kernels expect: convolutions of a multiple of 4 filters, each with a
 * normalization or without, in groups that end in pooling, and then dense layers.
 */
export function layOut(spec: ModelSpec): Layout | null {
  const { layers, tensors, parameters, inputs, classes } = summarize(spec);
  const placeOf = (name: string): number => tensors.find((tensor) => tensor.name === name)?.offset ?? NaN;
  const convs: ConvLayer[] = [];
  const dense: DenseLayer[] = [];
  let shape: readonly number[] = spec.inputShape;
  let [constants, hidden] = [0, 0];
  let isFlat = false;
  for (const [i, layer] of spec.layers.entries()) {
    const before = spec.layers[i - 1];
    const [H = 1, W = 1, I = 1] = shape;
    shape = layers[i]?.outputShape ?? [];
    const [OH = 1, OW = 1, O = 1] = shape;
    const [conv, last] = [convs.at(-1), dense.at(-1)];
    switch (layer.kind) {
      case "conv2d": {
        if (isFlat || O % 4 !== 0) return null;
        const pad = layer.padding === "same" ? (layer.size - 1) / 2 : 0;
        const weights = placeOf(`${layer.name}/kernel`);
        convs.push({
          index: convs.length,
          name: layer.name,
          H,
          W,
          I,
          OH,
          OW,
          O,
          S: layer.size,
          pad,
          weights,
          norm: null,
          constants,
          pool: null,
        });
        constants += CONSTANTS * O;
        break;
      }
      case "batchNorm":
        if (!conv || before?.kind !== "conv2d") return null;
        conv.norm = placeOf(`${layer.name}/gamma`);
        break;
      case "maxPool":
        if (!conv || conv.pool || isFlat) return null;
        conv.pool = { window: layer.window, H: OH, W: OW, dropout: null };
        break;
      case "dropout":
        if (last) last.dropout = { rate: layer.rate, layer: i };
        else if (conv?.pool && before?.kind === "maxPool") conv.pool.dropout = { rate: layer.rate, layer: i };
        else return null;
        break;
      case "flatten":
        if (conv && !conv.pool) return null;
        isFlat = true;
        break;
      case "dense":
        if (!isFlat) return null;
        dense.push(denseLayer(layer, H, hidden, placeOf(`${layer.name}/kernel`)));
        hidden += layer.units;
        break;
    }
  }
  const isWhole = dense.every(({ isRelu }, i) => isRelu === i < dense.length - 1) && !dense.at(-1)?.dropout;
  const isAligned = convs.every(({ weights, norm }) => weights % 4 === 0 && (norm ?? 0) % 4 === 0);
  return dense.length > 0 && isWhole && isAligned && hidden <= MOST_HIDDEN
    ? { parameters, inputs, convs, dense, classes, hidden, constants }
    : null;
}

function denseLayer(layer: Of<"dense">, K: number, hidden: number, weights: number): DenseLayer {
  const { name, units, activation } = layer;
  return { name, K, O: units, weights, isRelu: activation === "relu", dropout: null, hidden };
}

/** Pixels of a convolution's output, for each input of the batch. */
export const pixelsOf = ({ OH, OW }: ConvLayer): number => OH * OW;
/** Numbers of the last features, which the dense layers take in. */
export const featuresOf = ({ dense }: Layout): number => dense[0]?.K ?? 0;
