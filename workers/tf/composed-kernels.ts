import * as tf from "@tensorflow/tfjs";

/**
 * What tfjs's wasm backend lacks to train convolutions, for browsers that give us no shared memory and so none of the
 * kernels in kernels/: `Conv2DBackpropFilter`, which it does not have, and a fast `Conv2DBackpropInput`. Both are
 * composed of kernels that it has. They take NHWC, stride 1 and no dilation, which is all
 * that our models use; other strides of the input gradient go to tfjs's own kernel.
 */

interface GradientAttributes {
  strides: number | [number, number];
  pad: "same" | "valid" | number | tf.backend_util.ExplicitPadding;
  dataFormat: "NHWC" | "NCHW";
  dimRoundingMode?: "floor" | "round" | "ceil";
}

function convInfo(
  name: string,
  inputShape: number[],
  filterShape: number[],
  { strides, pad, dataFormat, dimRoundingMode }: GradientAttributes,
): tf.backend_util.Conv2DInfo {
  if (dataFormat !== "NHWC") throw new Error(`${name} on wasm takes NHWC tensors, not ${dataFormat}.`);
  return tf.backend_util.computeConv2DInfo(
    inputShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    strides,
    1,
    pad,
    dimRoundingMode,
  );
}

/**
 * dL/dW of `y = conv2d(x, W)`: for each of the filter's positions one matrix product of the inputs under it,
 * [N * OH * OW, Cin] transposed, with dL/dy, [N * OH * OW, Cout].
 */
function backpropFilter(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  filterShape: number[],
  attributes: GradientAttributes,
): tf.Tensor {
  const info = convInfo("Conv2DBackpropFilter", x.shape, filterShape, attributes);
  if (info.strideHeight !== 1 || info.strideWidth !== 1) {
    throw new Error(`Conv2DBackpropFilter on wasm takes stride 1, not ${info.strideHeight} x ${info.strideWidth}.`);
  }
  const { top, bottom, left, right } = info.padInfo;
  const { batchSize, outHeight, outWidth, inChannels, outChannels, filterHeight, filterWidth } = info;
  return tf.tidy(() => {
    const padded = tf.pad4d(x, [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ]);
    const rows = batchSize * outHeight * outWidth;
    const gradient = tf.reshape(dy, [rows, outChannels]);
    const positions: tf.Tensor[] = [];
    for (let row = 0; row < filterHeight; row++) {
      for (let column = 0; column < filterWidth; column++) {
        const under = tf.slice4d(padded, [0, row, column, 0], [batchSize, outHeight, outWidth, inChannels]);
        positions.push(tf.matMul(tf.reshape(under, [rows, inChannels]), gradient, true, false));
        under.dispose();
      }
    }
    return tf.reshape(tf.stack(positions), filterShape);
  });
}

/** dL/dx of `y = conv2d(x, W)` with stride 1: dL/dy convolved with the filter turned by 180 degrees. */
function backpropInput(dy: tf.Tensor4D, filter: tf.Tensor4D, info: tf.backend_util.Conv2DInfo): tf.Tensor {
  const { top, bottom, left, right } = info.padInfo;
  const { filterHeight, filterWidth } = info;
  return tf.tidy(() =>
    tf.conv2d(dy, tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]), 1, [
      [0, 0],
      [filterHeight - 1 - top, filterHeight - 1 - bottom],
      [filterWidth - 1 - left, filterWidth - 1 - right],
      [0, 0],
    ]),
  );
}

/** Registers both kernels, once, with the wasm backend's others. */
export function registerComposedKernels(): void {
  const known = tf.getKernelsForBackend("wasm").some(({ kernelName }) => kernelName === "Conv2DBackpropFilter");
  if (known) return;
  tf.registerKernel({
    kernelName: "Conv2DBackpropFilter",
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs }) => {
      const { x, dy } = inputs as { x: tf.Tensor4D; dy: tf.Tensor4D };
      const attributes = attrs as unknown as GradientAttributes & { filterShape: number[] };
      return backpropFilter(x, dy, attributes.filterShape, attributes);
    },
  });
  const original = tf.getKernel("Conv2DBackpropInput", "wasm");
  tf.unregisterKernel("Conv2DBackpropInput", "wasm");
  tf.registerKernel({
    ...original,
    kernelFunc: (parameters) => {
      const { dy, filter } = parameters.inputs as { dy: tf.Tensor4D; filter: tf.Tensor4D };
      const attributes = parameters.attrs as unknown as GradientAttributes & { inputShape: number[] };
      const info = convInfo("Conv2DBackpropInput", attributes.inputShape, filter.shape, attributes);
      if (info.strideHeight !== 1 || info.strideWidth !== 1) return original.kernelFunc(parameters);
      return backpropInput(dy, filter, info);
    },
  });
}
