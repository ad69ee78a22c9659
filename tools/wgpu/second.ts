import { readFileSync } from "node:fs";
import { join } from "node:path";
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { decodeCheckpoint } from "../../src/model/checkpoint";
import { MODELS, summarize, type ModelName, type ModelSpec } from "../../src/model/model";
import { seededRandom } from "../../src/base/random";
import { convFilterGradient, convForward, convInputGradient } from "../../workers/tf/webgpu/conv";
import { Device, type Kernel } from "../../workers/tf/webgpu/device";
import { layOut, pixelsOf } from "../../workers/tf/webgpu/layout";
import { abilitiesOf, suited, variantsOf, type ProductName } from "../../workers/tf/webgpu/tiles";
import { PARAMETER_DEFAULTS } from "../../workers/tf/webgpu/trainer";
import { filterParts, partsFor } from "../../workers/tf/webgpu/update";
import { startBackend } from "../../workers/tf/backend";
import { drawnTrial } from "../harness/drawn";
import { tileInWords } from "../harness/watched";
import type { modelErrors } from "../harness/webgpu";

/** What tools/wgpu.mjs asks of our kernels in Node. */

export { oracle } from "../harness/oracle";
export { modelErrors, settledVariants } from "../harness/webgpu";
export { distances, readOracle } from "../harness/distances";

/** The model and the checkpoint that ship, which players' trainings begin from. */
export function shipped(root: string, model: ModelName): { spec: ModelSpec; weights: Float32Array } {
  const file = new Uint8Array(readFileSync(join(root, `public/models/${model}/initial.safetensors`)));
  return { spec: MODELS[model], weights: decodeCheckpoint(file, summarize(MODELS[model])) };
}

/** The same models as those of playwright/exactness.spec.ts, and its bounds. */
export const drawnModels = (numRuns: number): Parameters<typeof modelErrors>[] =>
  fc.sample(drawnTrial, { numRuns, seed: 28 }).map(({ spec, of }) => [spec, of]);

/** A convolution behind another, of shapes that no tile divides. */
const SPEC: ModelSpec = {
  name: "product",
  inputShape: [9, 11, 12],
  layers: [
    { kind: "conv2d", name: "a", filters: 20, size: 3, padding: "same" },
    { kind: "conv2d", name: "b", filters: 68, size: 5, padding: "same" },
    { kind: "maxPool", name: "pool", window: 2 },
    { kind: "flatten", name: "flatten" },
    { kind: "dense", name: "last", units: 3, activation: "softmax" },
  ],
};
const N = 3;

/** A convolution's product in float64, of arrays one after the other. */
type Convolve = (
  message: { kind: ProductName; pad: number; shapes: number[][] },
  ...arrays: Float32Array[]
) => Promise<Float64Array>;

/** Sizes of the numbers of a product's factors, and what they are called. */
export interface Magnitudes {
  title: string;
  activations: number;
  weights: number;
  slopes: number;
}

export interface ProductError {
  title: string;
  product: ProductName;
  tile: string;
  isHalf: boolean;
  /** Of the norm of the product in float64. */
  error: number;
  /** Whether it has the bits of the plain tile. */
  isPlain: boolean;
}

/** Each product of a convolution with each tile and variant that the device runs, of numbers of each size, against float64. */
export async function productErrors(convolve: Convolve, sizes: readonly Magnitudes[]): Promise<ProductError[]> {
  await startBackend("webgpu");
  const { device: gpu } = tf.backend() as unknown as { device: GPUDevice };
  const layout = layOut(SPEC);
  const [before, layer] = layout?.convs ?? [];
  if (!layout || !before || !layer) throw new Error("no kernels");
  const { H, W, I, O, S, pad, weights } = layer;
  const cases = [];
  for (const { title, ...of } of sizes) {
    const random = seededRandom(11);
    const draw = (length: number, most: number): Float32Array =>
      Float32Array.from({ length }, () => (random() * 2 - 1) * most);
    const x = draw(N * H * W * I, of.activations);
    const all = draw(layout.parameters, of.weights);
    const dz = draw(N * pixelsOf(layer) * O, of.slopes);
    const kernel = all.subarray(weights, weights + S * S * I * O);
    const bias = all.subarray(weights + S * S * I * O, weights + (S * S * I + 1) * O);
    const [ofInput, ofKernel, ofOutput] = [
      [N, H, W, I],
      [S, S, I, O],
      [N, H, W, O],
    ];
    const expected = {
      forward: await convolve({ kind: "forward", pad, shapes: [ofInput, ofKernel, [O]] }, x, kernel, bias),
      input: await convolve({ kind: "input", pad, shapes: [ofOutput, ofKernel] }, dz, kernel),
      filter: await convolve({ kind: "filter", pad, shapes: [ofInput, ofOutput] }, x, dz),
    };
    cases.push({ title, expected, factors: [["active0", x] as const, ["weights", all] as const, ["dz", dz] as const] });
  }
  const rows: ProductError[] = [];
  for (const product of ["forward", "input", "filter"] as const) {
    for (const candidate of suited(product, layer)) {
      const plain = new Map<string, Float32Array>();
      for (const tile of variantsOf(candidate, abilitiesOf(gpu))) {
        const device = new Device(gpu);
        const parts = filterParts(layer, tile);
        const size = (S * S * I + 1) * O;
        const [name, length, kernel] = ((): [string, number, Kernel] => {
          if (product === "forward") return ["active1", N * H * W * O, convForward(layer, before, tile, false)];
          if (product === "input") return ["dy", N * H * W * I, convInputGradient(layer, before, tile, false)];
          const place = { parts, place: 0 };
          return ["gradients", partsFor(parts, N) * size, convFilterGradient(layer, before, tile, place)];
        })();
        device.reserve(name, length);
        device.setParameters({ ...PARAMETER_DEFAULTS, n: N });
        await device.prepare([kernel]);
        for (const { title, expected, factors } of cases) {
          for (const [buffer, values] of factors) {
            device.reserve(buffer, values.length);
            device.write(buffer, values);
          }
          const raw = await device.runAndRead([kernel], N, name, length);
          const wanted = expected[product];
          const partsOf = (i: number): number[] =>
            Array.from({ length: partsFor(parts, N) }, (_, p) => raw[p * size + i] ?? NaN);
          const found = (i: number): number =>
            product === "filter" ? partsOf(i).reduce((a, b) => a + b) : (raw[i] ?? NaN);
          const norm = Math.sqrt(wanted.reduce((sum, value) => sum + value * value, 0));
          const apart = Math.sqrt(wanted.reduce((sum, value, i) => sum + (value - found(i)) ** 2, 0));
          const same = plain.get(title) ?? raw;
          plain.set(title, same);
          const isPlain = raw.every((value, i) => value === same[i]);
          rows.push({ title, product, tile: tileInWords(tile), isHalf: tile.halves, error: apart / norm, isPlain });
        }
        device.dispose();
      }
    }
  }
  return rows;
}
