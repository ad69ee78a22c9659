import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import oracle from "../../src/federation/strategies/oracle.json";
import { normOf } from "../../src/federation/privacy/clip";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize, type ModelName } from "../../src/model/model";
import { contrastiveLoss, type Contrast } from "./contrast";
import { Network, picturesToTensor, sgd } from "./network";

beforeAll(async () => {
  await makeWorker().startBackend("wasm");
});

const { batch, mu, temperature, every, loss, contrastive, gradients } = oracle.more.moon;

/** Weights and pixels by the rules of tools/strategies-oracle.py. */
function weightsOf(salt: number): Float32Array {
  const [inputs, ...units] = [784, 200, 200, 10];
  const flat: number[] = [];
  let from = inputs;
  for (const size of units) {
    for (let k = 0; k < from * size + size; k++) {
      flat.push(((((k * 7919 + salt * 104729) % 1009) / 1009 - 0.5) * 4) / Math.sqrt(from));
    }
    from = size;
  }
  return Float32Array.from(flat);
}
const pixels = Uint8Array.from({ length: batch * 784 }, (_, i) => ((i * 11) % 7 === 0 ? (i * 37) % 256 : 0));
const labels = Uint8Array.from({ length: batch }, (_, i) => i % 10);

/** What a model with these weights makes of pictures. */
function seen(network: Network, weights: Float32Array, x: tf.Tensor4D): tf.Tensor2D {
  network.setWeights(weights);
  return network.representations(x);
}

test("MOON's loss and the gradient of both losses together are NumPy's", async () => {
  const network = new Network(MODELS["mnist-2nn"]);
  const x = picturesToTensor(pixels, MODELS["mnist-2nn"]);
  const [global, previous] = [seen(network, weightsOf(2), x), seen(network, weightsOf(3), x)];
  const contrast: Contrast = { global, previous, weight: mu, temperature };
  const z = seen(network, weightsOf(1), x);
  expect((await contrastiveLoss(z, contrast).data())[0]).toBeCloseTo(contrastive, 5);
  const before = tf.memory().numTensors;
  const found = await network.differentiate({ x, labels, contrast }, sgd(0.1), null);
  expect(tf.memory().numTensors).toBe(before);
  expect(found.loss).toBeCloseTo(loss, 5);
  expect(found.gradients.size).toBe(Object.keys(gradients).length);
  for (const [name, { norm, values }] of Object.entries(gradients)) {
    const gradient = found.gradients.get(name) ?? new Float32Array();
    expect(normOf(gradient) / norm, name).toBeCloseTo(1, 4);
    values.forEach((value, i) => {
      expect(Math.abs((gradient[i * every] ?? NaN) - value) / norm, `${name} at ${i * every}`).toBeLessThan(1e-5);
    });
  }
  network.dispose();
});

test.each(["mnist-cnn", "compact"] as ModelName[])(
  "in %s the contrastive loss counts as much as it should, and not for the last layer",
  async (name) => {
    const spec = MODELS[name];
    const { inputs, classes } = summarize(spec);
    const network = new Network(spec);
    const count = 4;
    const x = picturesToTensor(
      Uint8Array.from({ length: count * inputs }, (_, i) => (i * 7919) % 251),
      spec,
    );
    const [global, previous] = [2, 3].map((seed) => seen(network, initializeWeights(spec, seed), x));
    network.setWeights(initializeWeights(spec, 1));
    const gradientsWith = async (weight: number): Promise<Map<string, Float32Array>> => {
      const contrast = { global, previous, weight, temperature: 0.5 } as Contrast;
      const own = Uint8Array.from({ length: count }, (_, i) => i % classes);
      return (await network.differentiate({ x, labels: own, contrast }, sgd(0.1), 5)).gradients;
    };
    const [none, one, three] = [await gradientsWith(0), await gradientsWith(1), await gradientsWith(3)];
    const last = spec.layers.at(-1)?.name ?? "";
    for (const [tensor, without] of none) {
      const added = (of: Map<string, Float32Array>): Float32Array =>
        without.map((value, i) => (of.get(tensor)?.[i] ?? NaN) - value);
      const [single, triple] = [added(one), added(three)];
      const size = normOf(single);
      if (tensor.startsWith(`${last}/`)) expect(size).toBe(0);
      else {
        expect(size, tensor).toBeGreaterThan(0);
        const apart = normOf(triple.map((value, i) => value - 3 * (single[i] ?? NaN)));
        expect(apart / (size + normOf(without)), tensor).toBeLessThan(1e-3);
      }
    }
    network.dispose();
  },
);
