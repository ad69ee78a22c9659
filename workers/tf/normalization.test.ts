import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import { summarize, type LayerSpec, type ModelSpec } from "../../src/model/model";
import { evaluate } from "../trainer/local-sgd";
import { Forward } from "./kernels/forward";
import { Network, picturesToTensor, sgd } from "./network";
import { PlainSteps } from "./plain-steps";

beforeAll(() => makeWorker().startBackend("wasm"));

/** ImageNet's, as torchvision's models take it. */
const normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const specOf = (...layers: LayerSpec[]): ModelSpec => ({
  name: "normalized",
  inputShape: [8, 8, 3],
  normalization,
  layers: [...layers, { kind: "dense", name: "last", units: 3, activation: "softmax" }],
});

/** What PyTorch makes of it: tools/normalization-oracle.py. */
const THEIRS = [
  [
    "convolutions",
    specOf(
      { kind: "conv2d", name: "conv", filters: 8, size: 3, padding: "same" },
      { kind: "maxPool", name: "pool", window: 2 },
      { kind: "flatten", name: "flat" },
    ),
    {
      logits: [
        -0.21939, -0.96834, 0.46892, 0.88485, -1.50668, -0.49659, 0.25619, -0.77633, -0.05614, 1.19123, -1.56562,
        -0.78779,
      ],
      losses: [1.290151, 1.11404, 1.014839],
      deltas: {
        0: 0.0020648,
        87: 0.0006508,
        174: -0.0049791,
        261: 0.0078839,
        348: -0.0015334,
        435: 0.0052569,
        522: -0.0024539,
        609: 0.0009539,
      },
      norm: 0.072367,
    },
  ],
  [
    "dense layers alone",
    specOf({ kind: "flatten", name: "flat" }, { kind: "dense", name: "hidden", units: 16, activation: "relu" }),
    {
      logits: [
        0.6173, -0.73806, -0.42711, 0.50694, -0.88949, -0.27773, 0.5735, -0.77425, -0.37399, 0.44377, -0.64854,
        -0.27664,
      ],
      losses: [1.113011, 1.048637, 0.990198],
      deltas: {
        0: 0.0006975,
        448: 0.0006704,
        896: 0.0005942,
        1344: 0.0006975,
        1792: 0.0006704,
        2240: 0.0005942,
        2688: 0.0006975,
        3136: -0.0011658,
      },
      norm: 0.051936,
    },
  ],
] as const;

/** A quarter of the levels is black, which is no 0 here. */
const pixels = Uint8Array.from({ length: 4 * 192 }, (_, i) => (i % 4 === 0 ? 0 : (37 * i + 11) % 256));
const labels = Uint8Array.of(0, 1, 2, 0);

function weightsOf(spec: ModelSpec): Float32Array<ArrayBuffer> {
  const { tensors, parameters } = summarize(spec);
  const flat = new Float32Array(parameters);
  tensors.forEach(({ offset, size }, phase) => {
    for (let i = 0; i < size; i++) flat[offset + i] = 0.2 * Math.sin(1.7 * i + phase);
  });
  return flat;
}

/** A gradient clip that is never reached has tfjs differentiate and step, where plain SGD has kernels of its own. */
const WAYS = { "our own kernels": sgd(0.005), tfjs: { ...sgd(0.005), clipNorm: 1e6 } };

test.each(THEIRS.flatMap((one) => Object.entries(WAYS).map(([way, plan]) => [way, plan, ...one] as const)))(
  "pictures are normalized as torchvision has it, and %s take PyTorch's steps: %#",
  async (_way, plan, _name, spec, theirs) => {
    const plain = PlainSteps.for(spec);
    expect(plain).not.toBeNull();
    plain?.dispose();
    const network = new Network(spec);
    const start = weightsOf(spec);
    network.setWeights(start.slice());
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      const x = picturesToTensor(pixels, spec);
      losses.push((await network.step({ x, labels }, plan, null)).loss);
      x.dispose();
    }
    losses.forEach((loss, step) => expect(loss).toBeCloseTo(theirs.losses[step] ?? NaN, 5));
    const delta = (await network.getWeights()).map((w, i) => w - (start[i] ?? NaN));
    network.dispose();
    for (const [i, value] of Object.entries(theirs.deltas)) expect(delta[Number(i)], i).toBeCloseTo(value, 5);
    expect(Math.hypot(...delta)).toBeCloseTo(theirs.norm, 4);
  },
);

test.each(THEIRS)(
  "evaluation and the kernels that the edge looks with give PyTorch's logits: %s",
  async (_name, spec, theirs) => {
    const weights = weightsOf(spec);
    const { tensors } = summarize(spec);
    const kernels = await WebAssembly.compile(
      readFileSync(join(import.meta.dirname, "kernels/kernels-simd-single.wasm")),
    );
    const looked = await new Forward(kernels).logits(
      spec,
      (name) => {
        const { offset, size } = tensors.find((tensor) => tensor.name === name) ?? { offset: 0, size: 0 };
        return Promise.resolve(weights.slice(offset, offset + size));
      },
      pixels,
    );
    theirs.logits.forEach((logit, i) => expect(looked[i], `${i}`).toBeCloseTo(logit, 4));
    const network = new Network(spec);
    network.setWeights(weights);
    expect((await evaluate(network, { pixels, labels })).loss).toBeCloseTo(theirs.losses[0], 5);
    network.dispose();
  },
);
