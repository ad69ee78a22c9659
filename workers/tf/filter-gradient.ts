import * as tf from "@tensorflow/tfjs";
import type { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";

/**
 * The gradient of a convolution's filter on WebGPU. tfjs gives every value of a filter one thread, which adds up all pixels of
 * the batch by itself: 576 threads with 67,000 products each for the seed CNN's first layer, and most of a GPU waits. Here it is
 * a matrix product in tiles, and its long sum is cut into parts, so that there are always enough tiles for the whole GPU; the
 * parts are added in order, so that the same batch gives the same bits.
 */

type Gpu = Pick<WebGPUBackend, "runWebGPUProgram" | "disposeData">;
type Program = Parameters<WebGPUBackend["runWebGPUProgram"]>[0];

/** Values of a filter, by inputs and by outputs, that a workgroup of 8 x 8 threads makes; and pixels that it takes at once. */
const TILE = 32;
const DEPTH = 16;
/** Tiles that are enough for any GPU. */
const ENOUGH_TILES = 1024;
/** The fewest pixels that are worth a part of their own. */
const LEAST_PIXELS = 256;

/** From x and dy, N x H x W x C each, to parts x (side * side * I) x O. */
function productProgram(parts: number, side: number, inputs: number, outputs: number): Program {
  const rows = side * side * inputs;
  return {
    outputShape: [parts, rows, outputs],
    variableNames: ["x", "dy"],
    uniforms: "pad : i32, pixels : i32,",
    shaderKey: `filterGradient_${side}`,
    workgroupSize: [8, 8, 1],
    dispatchLayout: { x: [2], y: [1], z: [0] },
    dispatch: [Math.ceil(outputs / TILE), Math.ceil(rows / TILE), parts],
    getUserCode: () => `
      var<workgroup> xTile : array<array<vec4<f32>, ${TILE / 4}>, ${DEPTH}>;
      var<workgroup> dyTile : array<array<vec4<f32>, ${TILE / 4}>, ${DEPTH}>;

      // The value of x that row m of the filter meets at pixel p of dy.
      fn input(p : i32, m : i32) -> f32 {
        if (m >= uniforms.outShape[1]) { return 0.0; }
        let column = p % uniforms.dyShape[2];
        let line = p / uniforms.dyShape[2];
        let tap = m / uniforms.xShape[3];
        let r = line % uniforms.dyShape[1] + tap / ${side} - uniforms.pad;
        let c = column + tap % ${side} - uniforms.pad;
        if (r < 0 || r >= uniforms.xShape[1] || c < 0 || c >= uniforms.xShape[2]) { return 0.0; }
        let picture = line / uniforms.dyShape[1];
        return x[((picture * uniforms.xShape[1] + r) * uniforms.xShape[2] + c) * uniforms.xShape[3] + m % uniforms.xShape[3]];
      }

      fn gradient(p : i32, o : i32) -> f32 {
        if (o >= uniforms.outShape[2]) { return 0.0; }
        return dy[p * uniforms.outShape[2] + o];
      }

      fn main() {
        let m = i32(workgroupId.y) * ${TILE};
        let o = i32(workgroupId.x) * ${TILE};
        let start = i32(workgroupId.z) * uniforms.pixels;
        let end = min(start + uniforms.pixels, uniforms.dyShape[0] * uniforms.dyShape[1] * uniforms.dyShape[2]);
        let row = i32(localId.y);
        let column = i32(localId.x);
        var sums : array<vec4<f32>, 4>;
        for (var step = 0; step < uniforms.pixels; step = step + ${DEPTH}) {
          for (var depth = row; depth < ${DEPTH}; depth = depth + 8) {
            let p = start + step + depth;
            var a = vec4<f32>(0.0);
            var b = vec4<f32>(0.0);
            if (p < end) {
              for (var i = 0; i < 4; i = i + 1) {
                a[i] = input(p, m + 4 * column + i);
                b[i] = gradient(p, o + 4 * column + i);
              }
            }
            xTile[depth][column] = a;
            dyTile[depth][column] = b;
          }
          workgroupBarrier();
          for (var depth = 0; depth < ${DEPTH}; depth = depth + 1) {
            let a = xTile[depth][row];
            let b = dyTile[depth][column];
            for (var i = 0; i < 4; i = i + 1) { sums[i] = sums[i] + a[i] * b; }
          }
          workgroupBarrier();
        }
        for (var i = 0; i < 4; i = i + 1) {
          let to = m + 4 * row + i;
          if (to >= uniforms.outShape[1]) { continue; }
          for (var j = 0; j < 4; j = j + 1) {
            let at = o + 4 * column + j;
            if (at >= uniforms.outShape[2]) { continue; }
            result[(i32(workgroupId.z) * uniforms.outShape[1] + to) * uniforms.outShape[2] + at] = sums[i][j];
          }
        }
      }`,
  };
}

/** From parts x values to their sum. */
function sumProgram(values: number): Program {
  return {
    outputShape: [values],
    variableNames: ["part"],
    shaderKey: "sumOfParts",
    size: true,
    workgroupSize: [64, 1, 1],
    dispatchLayout: { x: [0] },
    dispatch: [Math.ceil(values / 64), 1, 1],
    getUserCode: () => `
      fn main(index : i32) {
        if (index >= uniforms.size) { return; }
        var sum = 0.0;
        for (var i = 0; i < uniforms.partShape[0]; i = i + 1) { sum = sum + part[i * uniforms.size + index]; }
        result[index] = sum;
      }`,
  };
}

interface Attributes {
  strides: number | [number, number];
  pad: string | number | number[][];
  dataFormat: string;
  filterShape: [number, number, number, number];
}

/** Whether it is a convolution as the models have them: square, one step at a time, all around or not at all padded. */
function isOurs({ strides, pad, dataFormat, filterShape: [height, width] }: Attributes): boolean {
  const isDense = [strides].flat().every((stride) => stride === 1);
  return (
    isDense && dataFormat === "NHWC" && height === width && height % 2 === 1 && (pad === "same" || pad === "valid")
  );
}

function filterGradient(
  backend: Gpu,
  x: tf.TensorInfo,
  dy: tf.TensorInfo,
  { pad, filterShape }: Attributes,
): tf.TensorInfo {
  const [side, , inputs, outputs] = filterShape;
  const rows = side * side * inputs;
  const all = tf.util.sizeFromShape(dy.shape) / outputs;
  const tiles = Math.ceil(rows / TILE) * Math.ceil(outputs / TILE);
  const most = Math.max(1, Math.min(Math.ceil(ENOUGH_TILES / tiles), Math.floor(all / LEAST_PIXELS)));
  const pixels = Math.ceil(all / most / DEPTH) * DEPTH;
  const parts = Math.ceil(all / pixels);
  const uniforms = [pad === "same" ? (side - 1) / 2 : 0, pixels].map((value) => ({ type: "int32", data: [value] }));
  const product = backend.runWebGPUProgram(productProgram(parts, side, inputs, outputs), [x, dy], "float32", uniforms);
  if (parts === 1) return { ...product, shape: filterShape };
  const flat = { ...product, shape: [parts, rows * outputs] };
  const sum = backend.runWebGPUProgram(sumProgram(rows * outputs), [flat], "float32");
  backend.disposeData(product.dataId);
  return { ...sum, shape: filterShape };
}

/** Puts our filter gradient in the place of tfjs's on WebGPU, for the convolutions that it can do. */
export function registerFilterGradient(): void {
  const name = "Conv2DBackpropFilter";
  const theirs = tf.getKernel(name, "webgpu");
  tf.unregisterKernel(name, "webgpu");
  tf.registerKernel({
    ...theirs,
    kernelFunc: (call) => {
      const { x, dy } = call.inputs as Record<"x" | "dy", tf.TensorInfo>;
      const attributes = call.attrs as unknown as Attributes;
      if (!isOurs(attributes)) return theirs.kernelFunc(call);
      return filterGradient(call.backend as unknown as Gpu, x, dy, attributes);
    },
  });
}
