import * as tf from "@tensorflow/tfjs-core";
import { BATCH_NORM } from "../../src/model/model";
import { hash32 } from "../../src/base/random";
import type { Activations } from "./activations";
import type { Kernel } from "./kernels/instance";
import type { KernelPool } from "./kernels/pool";
import { isWinograd, winogradConv, winogradFilterGradient, type Machine } from "./kernels/winograd";
import { onWasm, type WasmBackend } from "./on-wasm";

/**
 * The operations that a convolutional block is made of, each as one kernel of ours on the wasm backend and composed of
 * tfjs's own operations on every other backend. Kernels are registered with tfjs like its own.
 */

type Padding = "same" | "valid";
/** Pixels around the image that a filter [S, S, I, O] reaches. */
const padOf = (padding: Padding, { shape: [size = 1] }: tf.Tensor): number => (padding === "same" ? (size - 1) / 2 : 0);

const NAMES = {
  forward: "ConvReluNorm",
  normBackward: "ReluNormGrad",
  affine: "ConvReluAffine",
  convRelu: "ConvRelu",
  reluBackward: "ReluGrad",
  filterBackward: "ConvFilterGrad",
  inputBackward: "ConvInputGrad",
  pack: "PackConvFilter",
  scaleShift: "ScaleShift",
  dropout: "HashDropout",
  dense: "DenseRelu",
  denseBackward: "DenseReluGrad",
  pool: "MaxPoolStride2",
  poolBackward: "MaxPoolStride2Grad",
};

const isFused = (): boolean => onWasm() !== undefined;

function runKernel(name: string, inputs: Record<string, tf.Tensor>, attributes: tf.NamedAttrMap): tf.Tensor[] {
  return tf.engine().runKernel(name, inputs, attributes) as unknown as tf.Tensor[];
}

export interface ConvParameters {
  kernel: tf.Tensor4D;
  bias: tf.Tensor1D;
  gamma: tf.Tensor1D;
  beta: tf.Tensor1D;
}

/** Where and how a convolution stands in a network that is trained. */
export interface ConvPlace {
  padding: Padding;
  /** Whether x is the network's own input: nothing is then differentiated with respect to it. */
  isInput: boolean;
  /** Of this step. */
  activations: Activations;
}

/**
 * `batchNorm(relu(conv2d(x, kernel) + bias))` with the batch's own mean and (biased) variance, as in training.
 * @param x N x H x W x I
 * @param onStatistics is given mean and variance, to be disposed of by it
 */
export function convReluNorm(
  x: tf.Tensor4D,
  { kernel, bias, gamma, beta }: ConvParameters,
  { padding, isInput, activations }: ConvPlace,
  onStatistics: (mean: tf.Tensor1D, variance: tf.Tensor1D) => void,
): tf.Tensor4D {
  if (!isFused()) {
    const active = tf.relu<tf.Tensor4D>(tf.add(tf.conv2d(x, kernel, 1, padding), bias));
    const { mean, variance } = tf.moments(active, [0, 1, 2]);
    onStatistics(tf.keep(mean.clone()) as tf.Tensor1D, tf.keep(variance.clone()) as tf.Tensor1D);
    return tf.batchNorm4d(active, mean as tf.Tensor1D, variance as tf.Tensor1D, beta, gamma, BATCH_NORM.epsilon);
  }
  const pad = padOf(padding, kernel);
  let again: (() => tf.Tensor) | undefined;
  const op = tf.customGrad((...values) => {
    const [kernel, bias, gamma, beta] = values.slice(-5, -1) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
    const input = activations.later(x);
    const [value, ...rest] = runKernel(NAMES.forward, { x, kernel, bias, gamma, beta }, { pad });
    const own = rest.map((tensor) => activations.hold(tensor));
    const [active, mean, variance, scale, shift] = own as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.Tensor, tf.Tensor];
    onStatistics(tf.keep(mean.clone()), tf.keep(variance.clone()));
    again = () => runKernel(NAMES.scaleShift, { x: active, scale, shift }, {})[0] as tf.Tensor;
    const gradFunc = (dy: tf.Tensor): tf.Tensor[] => {
      const gradients = runKernel(NAMES.normBackward, { dy, active, mean, variance, gamma }, {});
      const [dz, ...parameters] = gradients as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      activations.drop(dy, ...own);
      return [...convGradients(input, kernel, dz, { pad, isInput, activations }), ...parameters];
    };
    return { value: value as tf.Tensor, gradFunc };
  });
  const y = (isInput ? op(kernel, bias, gamma, beta) : op(x, kernel, bias, gamma, beta)) as tf.Tensor4D;
  if (again) activations.remember(y, again);
  return y;
}

/** Of a convolution with `dz` at its output, which is used up: the gradient of x, where it is wanted, and that of the kernel. */
function convGradients(
  input: () => tf.Tensor,
  kernel: tf.Tensor,
  dz: tf.Tensor,
  { pad, isInput, activations }: Omit<ConvPlace, "padding"> & { pad: number },
): tf.Tensor[] {
  const x = input();
  const { shape } = x;
  const [dKernel] = runKernel(NAMES.filterBackward, { x, dz }, { pad, kernelShape: kernel.shape });
  activations.drop(x);
  const dx = isInput ? [] : runKernel(NAMES.inputBackward, { dz, kernel }, { pad, inputShape: shape });
  activations.drop(dz);
  return [...dx, dKernel as tf.Tensor];
}

/** `relu(conv2d(x, kernel) + bias)`, which is not differentiated where there are no activations. @param x N x H x W x I */
export function convRelu(
  x: tf.Tensor4D,
  { kernel, bias }: Pick<ConvParameters, "kernel" | "bias">,
  { padding, isInput, activations }: Omit<ConvPlace, "activations"> & { activations: Activations | null },
): tf.Tensor4D {
  if (!isFused()) return tf.relu(tf.add(tf.conv2d(x, kernel, 1, padding), bias));
  const pad = padOf(padding, kernel);
  if (!activations) return runKernel(NAMES.convRelu, { x, kernel, bias }, { pad })[0] as tf.Tensor4D;
  const op = tf.customGrad((...values) => {
    const [kernel, bias] = values.slice(-3, -1) as [tf.Tensor4D, tf.Tensor1D];
    const input = activations.later(x);
    const value = runKernel(NAMES.convRelu, { x, kernel, bias }, { pad })[0] as tf.Tensor;
    const y = activations.hold(value);
    const gradFunc = (dy: tf.Tensor): tf.Tensor[] => {
      const [dz, dBias] = runKernel(NAMES.reluBackward, { dy, y }, {}) as [tf.Tensor, tf.Tensor];
      activations.drop(dy, y);
      return [...convGradients(input, kernel, dz, { pad, isInput, activations }), dBias];
    };
    return { value, gradFunc };
  });
  return (isInput ? op(kernel, bias) : op(x, kernel, bias)) as tf.Tensor4D;
}

/** Batch normalization with fixed statistics as `x * scale + shift`. */
export function normConstants(
  { gamma, beta }: Pick<ConvParameters, "gamma" | "beta">,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
): { scale: tf.Tensor1D; shift: tf.Tensor1D } {
  const scale = tf.mul<tf.Tensor1D>(gamma, tf.rsqrt(tf.add(variance, BATCH_NORM.epsilon)));
  return { scale, shift: tf.sub<tf.Tensor1D>(beta, tf.mul(mean, scale)) };
}

/** A block with batch normalization folded into scale and shift, its filter laid out for the backend: see {@link foldBlock}. */
export interface FoldedBlock {
  kernel: tf.Tensor;
  bias: tf.Tensor1D;
  scale: tf.Tensor1D;
  shift: tf.Tensor1D;
}

/**
 * Prepares a block for inference, once for many pictures. Its tensors are new ones.
 * @param place what the block takes, N x H x W x I with any N: what is computed of a picture does not depend on how many come with it
 */
export function foldBlock(
  { kernel, bias, gamma, beta }: ConvParameters,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  { shape, padding }: { shape: tf.Tensor4D["shape"]; padding: Padding },
): FoldedBlock {
  return tf.tidy(() => {
    const { scale, shift } = normConstants({ gamma, beta }, mean, variance);
    const [, H, W] = shape;
    const packed = isFused()
      ? (runKernel(NAMES.pack, { kernel }, { H, W, pad: padOf(padding, kernel) })[0] as tf.Tensor)
      : kernel.clone();
    return { kernel: packed, bias: bias.clone(), scale, shift };
  });
}

/** `relu(conv2d(x, kernel) + bias) * scale + shift`. */
export function convReluAffine(
  x: tf.Tensor4D,
  { kernel, bias, scale, shift }: FoldedBlock,
  padding: Padding,
): tf.Tensor4D {
  if (!isFused()) {
    return tf.add(
      tf.mul(
        tf.fused.conv2d({ x, filter: kernel as tf.Tensor4D, strides: 1, pad: padding, bias, activation: "relu" }),
        scale,
      ),
      shift,
    );
  }
  const [y] = runKernel(NAMES.affine, { x, kernel, bias, scale, shift }, { padding });
  return y as tf.Tensor4D;
}

/**
 * `x * scale + shift` by channel, with constants: batch normalization that does not follow its batch. Only x is differentiated.
 * @param x N x H x W x C
 */
export function scaleShift(
  x: tf.Tensor4D,
  scale: tf.Tensor1D,
  shift: tf.Tensor1D,
  activations: Activations,
): tf.Tensor4D {
  if (!isFused()) {
    const op = tf.customGrad((...values) => {
      const [x, save] = values as [tf.Tensor4D, tf.GradSaveFunc];
      save([scale]);
      return {
        value: tf.add(tf.mul(x, scale), shift),
        gradFunc: (dy: tf.Tensor, [scale]: tf.Tensor[]) => tf.mul(dy, scale as tf.Tensor1D),
      };
    });
    return op(x) as tf.Tensor4D;
  }
  const own = [x, scale, shift].map((tensor) => activations.hold(tensor));
  const [active, by, plus] = own as [tf.Tensor, tf.Tensor, tf.Tensor];
  const op = tf.customGrad((x) => ({
    value: runKernel(NAMES.scaleShift, { x, scale, shift } as Record<string, tf.Tensor>, {})[0] as tf.Tensor,
    gradFunc: (dy: tf.Tensor) => {
      const [dx] = runKernel(NAMES.scaleShift, { x: dy, scale: by }, {});
      activations.drop(dy, ...own);
      return dx as tf.Tensor;
    },
  }));
  const y = op(x) as tf.Tensor4D;
  activations.remember(y, () => runKernel(NAMES.scaleShift, { x: active, scale: by, shift: plus }, {})[0] as tf.Tensor);
  return y;
}

/**
 * Inverted dropout (Srivastava et al. 2014, section 10) by a hash of seed and place: the same on every backend, and the same again
 * when a training is resumed, or in the backward pass, which keeps nothing for it. What comes back is used up.
 */
export function dropout(x: tf.Tensor, rate: number, seed: number): tf.Tensor {
  if (!isFused()) {
    const { scale, threshold } = dropoutConstants(rate);
    const mask = Float32Array.from({ length: x.size }, (_, i) => (hash32(seed, i) < threshold ? 0 : scale));
    return tf.mul(x, tf.tensor(mask, x.shape));
  }
  const op = tf.customGrad((x) => ({
    value: runKernel(NAMES.dropout, { x } as Record<string, tf.Tensor>, { rate, seed })[0] as tf.Tensor,
    gradFunc: (dy: tf.Tensor) => {
      const [dx] = runKernel(NAMES.dropout, { x: dy }, { rate, seed });
      dy.dispose();
      return dx as tf.Tensor;
    },
  }));
  return op(x);
}

/** Below which of the 2^32 hashes a number becomes 0, and what the others are multiplied by. */
const dropoutConstants = (rate: number): { scale: number; threshold: number } => ({
  scale: Math.fround(1 / (1 - rate)),
  threshold: Math.ceil(rate * 2 ** 32),
});

/** Whether our kernel multiplies by a dense layer's weights: it makes eight numbers at once, and a picture of 30 x 41 has no multiple of that. */
export const takesDense = ({ shape }: tf.Tensor): boolean => isFused() && shape.every((size) => size % 8 === 0);

/**
 * `relu(x * kernel + bias)`.
 * @param x N x I; nothing is differentiated with respect to it when `input` is true
 */
export function denseRelu(x: tf.Tensor2D, kernel: tf.Tensor2D, bias: tf.Tensor1D, input: boolean): tf.Tensor2D {
  if (!takesDense(kernel)) return tf.relu(tf.add(tf.matMul(x, kernel), bias));
  const op = tf.customGrad((...values) => {
    const [kernel, bias, save] = values.slice(-3) as [tf.Tensor2D, tf.Tensor1D, tf.GradSaveFunc];
    const value = runKernel(NAMES.dense, { x, kernel, bias }, {})[0] as tf.Tensor;
    // What is saved is copied. The weights are variables, which outlive the step as they are.
    save([x, value]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, [x, y]: tf.Tensor[]) =>
        runKernel(NAMES.denseBackward, { dy, x, kernel, y } as Record<string, tf.Tensor>, { input }),
    };
  });
  return (input ? op(kernel, bias) : op(x, kernel, bias)) as tf.Tensor2D;
}

/** Max pooling of `window` x `window` windows with stride 2, no padding. Its gradient uses up what comes back. */
export function maxPool(x: tf.Tensor4D, window: number): tf.Tensor4D {
  if (!isFused()) return tf.maxPool(x, window, 2, "valid");
  const op = tf.customGrad((...values) => {
    const [x, save] = values as [tf.Tensor4D, tf.GradSaveFunc];
    const [value, taps] = runKernel(NAMES.pool, { x }, { window }) as [tf.Tensor, tf.Tensor];
    save([taps]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, [taps]: tf.Tensor[]) => {
        const inputs = { dy, taps } as Record<string, tf.Tensor>;
        const [dx] = runKernel(NAMES.poolBackward, inputs, { inputShape: x.shape, window });
        tf.dispose([dy, taps]);
        return dx as tf.Tensor;
      },
    };
  });
  return op(x) as tf.Tensor4D;
}

/** `relu(conv2d(x, kernel) + bias)` on our kernels, for steps that differentiate it themselves. @param x N x H x W x I */
export function convOutput(
  x: tf.Tensor4D,
  { kernel, bias }: Record<"kernel" | "bias", tf.Tensor>,
  padding: Padding,
): tf.Tensor4D {
  const pad = padOf(padding, kernel);
  return runKernel(NAMES.convRelu, { x, kernel, bias }, { pad })[0] as tf.Tensor4D;
}

/** The gradients of {@link convOutput}, with y what it gave. `dy` is changed. @param isWanted whether that of x is */
export function outputGradients(
  { x, y, dy, kernel }: Record<"x" | "y" | "dy" | "kernel", tf.Tensor>,
  padding: Padding,
  isWanted: boolean,
): { dx: tf.Tensor4D | undefined; dKernel: tf.Tensor; dBias: tf.Tensor } {
  const pad = padOf(padding, kernel);
  const [dz, dBias] = runKernel(NAMES.reluBackward, { dy, y }, {}) as [tf.Tensor, tf.Tensor];
  const [dKernel] = runKernel(NAMES.filterBackward, { x, dz }, { pad, kernelShape: kernel.shape }) as [tf.Tensor];
  const [dx] = isWanted ? runKernel(NAMES.inputBackward, { dz, kernel }, { pad, inputShape: x.shape }) : [];
  dz.dispose();
  return { dx: dx as tf.Tensor4D | undefined, dKernel, dBias };
}

/** Max pooling on our kernels, and which of its inputs each output is. */
export const poolOutput = (x: tf.Tensor4D, window: number): [y: tf.Tensor4D, taps: tf.Tensor] =>
  runKernel(NAMES.pool, { x }, { window }) as [tf.Tensor4D, tf.Tensor];

/** The gradient of {@link poolOutput}. @param inputShape x's */
export const poolGradient = (dy: tf.Tensor, taps: tf.Tensor, inputShape: number[], window: number): tf.Tensor4D =>
  runKernel(NAMES.poolBackward, { dy, taps }, { inputShape, window })[0] as tf.Tensor4D;

/** The most channels of a picture: grey has one, colour three. So few are only a network's own input. */
const PICTURE_CHANNELS = 4;

/**
 * Lets as many threads work as are fastest: a processor's logical cores may share the units that multiply. Measured on a
 * small convolution, with all threads, half of them, and so on down to one.
 */
export function chooseThreads(backend: WasmBackend, pool: KernelPool): void {
  const [N, side, channels] = [4, 24, 64];
  const buffers = [N * side * side * channels, 9 * channels * channels, N * side * side * channels, channels].map(
    (size) => backend.makeOutput([size], "float32"),
  );
  for (const buffer of buffers) backend.typedArrayFromHeap(buffer).fill(0);
  const [x, w, y, zeros] = buffers.map(({ dataId }) => backend.dataIdMap.get(dataId).memoryOffset) as [
    number,
    number,
    number,
    number,
  ];
  let best = { threads: pool.threads, ms: Infinity };
  for (let threads = pool.threads; threads >= 1; threads = Math.floor(threads / 2)) {
    pool.active = threads;
    for (let i = 0; i < 5; i++) {
      const begun = performance.now();
      pool.run("conv", x, w, y, 0, 0, 0, 0, zeros, N, side, side, channels, channels, 3, 1);
      const ms = performance.now() - begun;
      if (ms < best.ms) best = { threads, ms };
    }
  }
  pool.active = best.threads;
  for (const { dataId } of buffers) backend.disposeData(dataId);
}

/** Registers our kernels with tfjs's wasm backend, which must be running. */
export function registerFusedKernels(backend: WasmBackend, pool: KernelPool): void {
  const pointer = ({ dataId }: tf.TensorInfo): number => backend.dataIdMap.get(dataId).memoryOffset;
  const output = (...shape: number[]): tf.TensorInfo => backend.makeOutput(shape, "float32");
  const floats = (info: tf.TensorInfo): Float32Array => backend.typedArrayFromHeap(info) as Float32Array;
  const place = (value: number | tf.TensorInfo): number => (typeof value === "number" ? value : pointer(value));
  const run = (kernel: Kernel, ...values: (number | tf.TensorInfo)[]): void => pool.run(kernel, ...values.map(place));
  const zeros = output(512);
  floats(zeros).fill(0);

  /** Runs `work` with buffers that are freed after it. */
  function withScratch<S extends number[], T>(
    sizes: [...S],
    work: (...buffers: { [K in keyof S]: tf.TensorInfo }) => T,
  ): T {
    const buffers = sizes.map((size) => output(size)) as { [K in keyof S]: tf.TensorInfo };
    try {
      return work(...buffers);
    } finally {
      for (const { dataId } of buffers) backend.disposeData(dataId);
    }
  }

  const machine: Machine = {
    threads: pool.threads,
    run: (kernel, ...values) => pool.run(kernel, ...values),
    sizeOf: (size, ...values) => pool.sizeOf(size, ...values),
    withScratch: (sizes, work) => withScratch(sizes, (...buffers) => work(...buffers.map(pointer))),
  };

  /** Columns that the neighbourhood of a pixel takes, S x S, in a multiple of four. */
  const columns = (S: number): number => Math.ceil((S * S) / 4) * 4;

  /** A filter [S, S, I, O] in panels of eight output channels: see `pack` in kernels.c. One input channel: {@link columns}. */
  function pack(kernel: tf.TensorInfo): tf.TensorInfo {
    const [S, , I, O] = kernel.shape as [number, number, number, number];
    const rows = I === 1 ? columns(S) : S * S * I;
    const packed = output(O / 8, rows, 8);
    if (I === 1) {
      withScratch([rows * O], (padded) => {
        floats(padded).fill(0);
        floats(padded).set(floats(kernel));
        run("pack", padded, packed, rows, O);
      });
    } else run("pack", kernel, packed, rows, O);
    return packed;
  }

  /** A filter of 3 x 3 for Winograd's algorithm, in one row for eight output channels. */
  function packWinograd(kernel: tf.TensorInfo): tf.TensorInfo {
    const [, , I, O] = kernel.shape as [number, number, number, number];
    const transformed = output(O / 8, pool.sizeOf("winogradFilterSize", I, O) / (O / 8));
    run("winogradFilter", kernel, transformed, I, O, 3, 0);
    return transformed;
  }

  interface After {
    bias: tf.TensorInfo;
    scale: tf.TensorInfo | 0;
    shift: tf.TensorInfo | 0;
  }

  /** y = relu(conv2d(x, kernel) + bias) */
  function convRelu(x: tf.TensorInfo, kernel: tf.TensorInfo, y: tf.TensorInfo, pad: number, bias: tf.TensorInfo): void {
    check(kernel);
    const [N, H, W, I] = x.shape as [number, number, number, number];
    const [S, , , O] = kernel.shape as [number, number, number, number];
    const after: After = { bias, scale: 0, shift: 0 };
    if (I > PICTURE_CHANNELS && isWinograd({ N, H, W, S, pad })) {
      const filter = { w: pointer(kernel), isTurned: false };
      const places = { x: pointer(x), filter, y: pointer(y) };
      winogradConv(machine, places, { N, H, W, I, O, S, pad }, { bias: pointer(bias), relu: true, scale: 0, shift: 0 });
      return;
    }
    const packed = pack(kernel);
    conv(x, packed, y, { S, pad }, after);
    backend.disposeData(packed.dataId);
  }

  /** y = relu(conv2d(x, packed) + bias) * scale + shift; without scale and shift where they are 0. */
  function conv(
    x: tf.TensorInfo,
    packed: tf.TensorInfo,
    y: tf.TensorInfo,
    { S, pad }: { S: number; pad: number },
    { bias, scale, shift }: After,
  ): void {
    const [N, H, W, I] = x.shape as [number, number, number, number];
    const [, OH, OW, O] = y.shape as [number, number, number, number];
    if (packed.shape.length === 2) {
      const after = { bias: pointer(bias), relu: true, scale: place(scale), shift: place(shift) };
      const places = { x: pointer(x), filter: { U: pointer(packed) }, y: pointer(y) };
      winogradConv(machine, places, { N, H, W, I, O, S, pad }, after);
      return;
    }
    if (I > 1) {
      run("conv", x, packed, y, bias, 1, scale, shift, zeros, N, H, W, I, O, S, pad);
      return;
    }
    // One channel: a matrix product over the neighbourhood of each pixel.
    const K = columns(S);
    withScratch([N * OH * OW * K], (near) => {
      run("neighbours", x, near, N, H, W, S, K, pad);
      run("conv", near, packed, y, bias, 1, scale, shift, zeros, N, OH, OW, K, O, 1, 0);
    });
  }

  function check(kernel: tf.TensorInfo): void {
    const [h = 0, w, I = 0, O = 0] = kernel.shape;
    const fits = h === w && h % 2 === 1 && I <= 512 && (I <= PICTURE_CHANNELS || I % 8 === 0) && O % 8 === 0;
    if (!fits) {
      throw new Error(
        `Our convolution takes square filters of odd size with 1 to ${PICTURE_CHANNELS} or a multiple of 8 input channels ` +
          `(at most 512) and a multiple of 8 output channels, not a filter [${kernel.shape.join(", ")}].`,
      );
    }
  }

  const outputShape = ([N = 0, H = 0, W = 0]: number[], S: number, pad: number, O: number): number[] => [
    N,
    H + 2 * pad - S + 1,
    W + 2 * pad - S + 1,
    O,
  ];
  /** What kernels are told beside their tensors: each asks for its own. */
  interface Attributes {
    pad: number;
    padding: Padding;
    kernelShape: number[];
    inputShape: number[];
    window: number;
    rate: number;
    seed: number;
    input: boolean;
    H: number;
    W: number;
  }

  /** A kernel, by the names of its inputs: tfjs hands over whatever `runKernel` was given. */
  const register = <Input extends string>(
    kernelName: string,
    kernelFunc: (inputs: Record<Input, tf.TensorInfo>, attributes: Attributes) => tf.TensorInfo[],
  ): void => {
    tf.registerKernel({
      kernelName,
      backendName: "wasm",
      kernelFunc: ({ inputs, attrs }) =>
        kernelFunc(inputs as Record<Input, tf.TensorInfo>, attrs as unknown as Attributes),
    });
  };

  register<"x" | "kernel" | "bias" | "gamma" | "beta">(NAMES.forward, ({ x, kernel, bias, gamma, beta }, { pad }) => {
    const [S, , , O] = kernel.shape as [number, number, number, number];
    const shape = outputShape(x.shape, S, pad, O);
    const P = tf.util.sizeFromShape(shape) / O;
    const [y, active, mean, variance] = [output(...shape), output(...shape), output(O), output(O)];
    convRelu(x, kernel, active, pad, bias);
    run("moments", active, mean, variance, P, O);
    const [scale, shift] = [output(O), output(O)];
    fold(scale, shift, { mean, variance, gamma, beta });
    run("affine", active, y, scale, shift, P, O);
    return [y, active, mean, variance, scale, shift];
  });

  /** Batch normalization as `x * scale + shift`. */
  function fold(
    scale: tf.TensorInfo,
    shift: tf.TensorInfo,
    norm: Record<"mean" | "variance" | "gamma" | "beta", tf.TensorInfo>,
  ): void {
    const [mean, variance, gamma, beta] = [norm.mean, norm.variance, norm.gamma, norm.beta].map(floats) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [a, b] = [floats(scale), floats(shift)];
    for (let i = 0; i < a.length; i++) {
      a[i] = (gamma[i] as number) / Math.sqrt((variance[i] as number) + BATCH_NORM.epsilon);
      b[i] = (beta[i] as number) - (mean[i] as number) * (a[i] as number);
    }
  }

  /** The same numbers under another tensor: a gradient that is written over the one that came in. */
  function inPlace(info: tf.TensorInfo): tf.TensorInfo {
    backend.incRef(info.dataId);
    return { dataId: info.dataId, shape: info.shape, dtype: info.dtype };
  }

  register<"dy" | "active" | "mean" | "variance" | "gamma">(
    NAMES.normBackward,
    ({ dy, active, mean, variance, gamma }) => {
      const O = dy.shape.at(-1) ?? 0;
      const P = tf.util.sizeFromShape(dy.shape) / O;
      const [dBias, dGamma, dBeta, rstd] = [output(O), output(O), output(O), output(O)];
      const [from, to] = [floats(variance), floats(rstd)];
      for (let i = 0; i < O; i++) to[i] = 1 / Math.sqrt((from[i] as number) + BATCH_NORM.epsilon);
      run("normGradient", active, dy, mean, rstd, gamma, dy, dGamma, dBeta, dBias, P, O);
      backend.disposeData(rstd.dataId);
      return [inPlace(dy), dBias, dGamma, dBeta];
    },
  );

  register<"x" | "scale">(NAMES.scaleShift, ({ x, scale, ...rest }) => {
    // A gradient has none.
    const { shift = zeros } = rest as { shift?: tf.TensorInfo };
    const C = x.shape.at(-1) ?? 0;
    const y = output(...x.shape);
    run("affine", x, y, scale, shift, tf.util.sizeFromShape(x.shape) / C, C);
    return [y];
  });

  register<"x">(NAMES.dropout, ({ x }, { rate, seed }) => {
    const y = output(...x.shape);
    const { scale, threshold } = dropoutConstants(rate);
    const [bits = 0] = new Int32Array(Float32Array.of(scale).buffer);
    run("dropout", x, y, tf.util.sizeFromShape(x.shape), seed, threshold, bits);
    return [y];
  });

  register<"x" | "kernel" | "bias">(NAMES.convRelu, ({ x, kernel, bias }, { pad }) => {
    const [S, , , O] = kernel.shape as [number, number, number, number];
    const y = output(...outputShape(x.shape, S, pad, O));
    convRelu(x, kernel, y, pad, bias);
    return [y];
  });

  register<"dy" | "y">(NAMES.reluBackward, ({ dy, y }) => {
    const O = dy.shape.at(-1) ?? 0;
    const dBias = output(O);
    run("reluGradient", y, dy, dy, dBias, tf.util.sizeFromShape(dy.shape) / O, O);
    return [inPlace(dy), dBias];
  });

  register<"x" | "dz">(NAMES.filterBackward, ({ x, dz }, { pad, kernelShape }) => {
    const [N, H, W, I] = x.shape as [number, number, number, number];
    const [, OH, OW, O] = dz.shape as [number, number, number, number];
    const dKernel = output(...kernelShape);
    const [S = 0] = kernelShape;
    if (I === 1) {
      const K = columns(S);
      const size = pool.sizeOf("filterGradientScratch", N, OH, OW, O, 1, 0);
      withScratch([N * OH * OW * K, K * O, size * pool.threads], (near, padded, scratch) => {
        run("neighbours", x, near, N, H, W, S, K, pad);
        run("filterGradient", near, dz, padded, scratch, size, N, OH, OW, K, O, 1, 0);
        floats(dKernel).set(floats(padded).subarray(0, S * S * O));
      });
    } else if (I < PICTURE_CHANNELS) {
      // The kernel takes four channels at once: those that are missing are black.
      const C = PICTURE_CHANNELS;
      const size = pool.sizeOf("filterGradientScratch", N, H, W, O, S, pad);
      withScratch([N * H * W * C, S * S * C * O, size * pool.threads], (wide, padded, scratch) => {
        const [from, to] = [floats(x), floats(wide).fill(0)];
        for (let i = 0; i < from.length; i++) to[Math.floor(i / I) * C + (i % I)] = from[i] as number;
        run("filterGradient", wide, dz, padded, scratch, size, N, H, W, C, O, S, pad);
        const [all, own] = [floats(padded), floats(dKernel)];
        for (let tap = 0; tap < S * S; tap++) own.set(all.subarray(tap * C * O, (tap * C + I) * O), tap * I * O);
      });
    } else if (I > PICTURE_CHANNELS && isWinograd({ N, H, W, S, pad })) {
      const places = { x: pointer(x), dy: pointer(dz), dw: pointer(dKernel) };
      winogradFilterGradient(machine, places, { N, H, W, I, O, S, pad });
    } else {
      const size = pool.sizeOf("filterGradientScratch", N, H, W, O, S, pad);
      withScratch([size * pool.threads], (scratch) => {
        run("filterGradient", x, dz, dKernel, scratch, size, N, H, W, I, O, S, pad);
      });
    }
    return [dKernel];
  });

  register<"dz" | "kernel">(NAMES.inputBackward, ({ dz, kernel }, { pad, inputShape }) => {
    const [N, OH, OW, O] = dz.shape as [number, number, number, number];
    const [S, , I] = kernel.shape as [number, number, number];
    if (I <= PICTURE_CHANNELS) {
      throw new Error("Our convolution gives no gradient of a picture, which only a network's own input is.");
    }
    const dx = output(...inputShape);
    const around = S - 1 - pad;
    if (isWinograd({ N, H: OH, W: OW, S, pad: around })) {
      const places = { x: pointer(dz), filter: { w: pointer(kernel), isTurned: true }, y: pointer(dx) };
      const plane = { N, H: OH, W: OW, I: O, O: I, S, pad: around };
      winogradConv(machine, places, plane, { bias: 0, relu: false, scale: 0, shift: 0 });
      return [dx];
    }
    withScratch([S * S * I * O], (packed) => {
      run("packTurned", kernel, packed, S * S, I, O);
      run("conv", dz, packed, dx, 0, 0, 0, 0, zeros, N, OH, OW, O, I, S, around);
    });
    return [dx];
  });

  register<"kernel">(NAMES.pack, ({ kernel }, { H, W, pad }) => {
    check(kernel);
    const [S, , I] = kernel.shape as [number, number, number];
    const isTransformed = S === 3 && I > PICTURE_CHANNELS && isWinograd({ N: 1, H, W, S, pad });
    return [isTransformed ? packWinograd(kernel) : pack(kernel)];
  });

  register<"x" | "kernel" | "bias" | "scale" | "shift">(
    NAMES.affine,
    ({ x, kernel, bias, scale, shift }, { padding }) => {
      // The filter is transformed, or packed in S * S * I rows or a few more.
      const [, rows = 0, columns] = kernel.shape;
      const S = columns === undefined ? 3 : Math.floor(Math.sqrt(rows / (x.shape.at(-1) ?? 0)));
      const pad = padding === "same" ? (S - 1) / 2 : 0;
      const y = output(...outputShape(x.shape, S, pad, bias.shape.at(-1) ?? 0));
      conv(x, kernel, y, { S, pad }, { bias, scale, shift });
      return [y];
    },
  );

  register<"x" | "kernel" | "bias">(NAMES.dense, ({ x, kernel, bias }) => {
    const [N, I, O] = denseShape(x, kernel);
    const y = output(N, O);
    withScratch([pool.sizeOf("denseProductScratch") * pool.threads], (scratch) => {
      run("denseProduct", x, kernel, bias, y, 1, scratch, N, I, O);
    });
    return [y];
  });

  register<"dy" | "x" | "kernel" | "y">(NAMES.denseBackward, ({ dy, x, kernel, y }, { input }) => {
    const [N, I, O] = denseShape(x, kernel);
    const [dKernel, dBias] = [output(I, O), output(O)];
    const size = pool.sizeOf("filterGradientScratch", N, 1, 1, O, 1, 0);
    return withScratch([N * O, size * pool.threads], (dz, scratch) => {
      run("reluGradient", y, dy, dz, dBias, N, O);
      run("filterGradient", x, dz, dKernel, scratch, size, N, 1, 1, I, O, 1, 0);
      if (input) return [dKernel, dBias];
      const dx = output(N, I);
      withScratch([I * O], (packed) => {
        run("packTurned", kernel, packed, 1, I, O);
        run("conv", dz, packed, dx, 0, 0, 0, 0, zeros, N, 1, 1, O, I, 1, 0);
      });
      return [dx, dKernel, dBias];
    });
  });

  function denseShape(x: tf.TensorInfo, kernel: tf.TensorInfo): [number, number, number] {
    const [I = 0, O = 0] = kernel.shape;
    if (I % 8 !== 0 || O % 8 !== 0) {
      throw new Error(`Our dense layer takes multiples of 8 inputs and outputs, not [${kernel.shape.join(", ")}].`);
    }
    const [N = 0] = x.shape;
    return [N, I, O];
  }

  register<"x">(NAMES.pool, ({ x }, { window: S }) => {
    const [N, H, W, C] = x.shape as [number, number, number, number];
    if (C % 4 !== 0) throw new Error(`Our max pooling takes a multiple of 4 channels, not ${C}.`);
    const y = output(N, Math.floor((H - S) / 2) + 1, Math.floor((W - S) / 2) + 1, C);
    const taps = backend.makeOutput([tf.util.sizeFromShape(y.shape) / 4], "int32");
    run("maxPool", x, y, taps, N, H, W, C, S);
    return [y, taps];
  });

  register<"dy" | "taps">(NAMES.poolBackward, ({ dy, taps }, { inputShape, window }) => {
    const [N, H, W, C] = inputShape as [number, number, number, number];
    const dx = output(N, H, W, C);
    run("maxPoolGradient", dy, taps, dx, N, H, W, C, window);
    return [dx];
  });
}
