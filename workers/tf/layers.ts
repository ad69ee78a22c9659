import * as tf from "@tensorflow/tfjs";
import { BATCH_NORM, summarize, type LayerSpec, type ModelSpec } from "../../src/core/model";
import { seededRandom } from "../../src/core/random";

/** Builds a model of the registry in tfjs, its weights not yet set. Throws when tfjs infers other shapes than ours. */
export function buildModel(spec: ModelSpec): tf.Sequential {
  const model = tf.sequential({ name: spec.name });
  spec.layers.forEach((layer, i) => {
    model.add(buildLayer(layer, i === 0 ? { inputShape: [...spec.inputShape] } : {}));
  });
  const summary = summarize(spec);
  for (const [i, { name, outputShape, parameters }] of summary.layers.entries()) {
    const layer = model.layers[i];
    const shape = (layer?.outputShape as number[]).slice(1).join();
    if (shape !== outputShape.join() || layer?.countParams() !== parameters) {
      throw new Error(`Layer ${name} is ${shape} with ${layer?.countParams()} parameters in tfjs.`);
    }
  }
  return model;
}

/**
 * Inverted dropout (Srivastava et al. 2014, section 10) whose masks come from our own seeded generator: the same on every
 * backend, and the same again when a training is resumed. Set {@link key} before every step.
 */
class SeededDropout extends tf.layers.Layer {
  static readonly className = "SeededDropout";
  key = 0;

  constructor(
    config: { name: string },
    private readonly rate: number,
  ) {
    super(config);
  }

  override call(inputs: tf.Tensor | tf.Tensor[], { training }: { training?: boolean }): tf.Tensor {
    const x = Array.isArray(inputs) ? (inputs[0] as tf.Tensor) : inputs;
    if (!training) return x;
    const random = seededRandom(this.key);
    const mask = new Float32Array(x.size);
    const scale = 1 / (1 - this.rate);
    for (let i = 0; i < mask.length; i++) mask[i] = random() < this.rate ? 0 : scale;
    return tf.tidy(() => tf.mul(x, tf.tensor(mask, x.shape)));
  }
}

/** Draws new dropout masks for the next step; the same `seed` and `step` draw the same ones. */
export function seedDropout(model: tf.Sequential, seed: number, step: number): void {
  model.layers.forEach((layer, i) => {
    if (layer instanceof SeededDropout) layer.key = (seed ^ Math.imul(step * 64 + i + 1, 0x85ebca6b)) >>> 0;
  });
}

function buildLayer(layer: LayerSpec, first: { inputShape?: number[] }): tf.layers.Layer {
  const { name } = layer;
  switch (layer.kind) {
    case "conv2d":
      return tf.layers.conv2d({
        ...first,
        name,
        filters: layer.filters,
        kernelSize: 3,
        padding: layer.padding,
        activation: "relu",
        // The weights come from a checkpoint; drawing five million random numbers first would only cost time.
        kernelInitializer: "zeros",
      });
    case "batchNorm":
      return tf.layers.batchNormalization({ name, ...BATCH_NORM });
    case "maxPool":
      return tf.layers.maxPooling2d({ name, poolSize: 3, strides: 2 });
    case "dropout":
      return new SeededDropout({ name }, layer.rate);
    case "flatten":
      return tf.layers.flatten({ ...first, name });
    case "dense":
      return tf.layers.dense({
        ...first,
        name,
        units: layer.units,
        activation: layer.activation,
        kernelInitializer: "zeros",
      });
  }
}

/** Copies a flat vector of weights into the model. */
export function setWeights(model: tf.Sequential, spec: ModelSpec, flat: Float32Array): void {
  const { tensors } = summarize(spec);
  tf.tidy(() => {
    for (const layer of model.layers) {
      const own = tensors.filter(({ name }) => name.startsWith(`${layer.name}/`));
      if (own.length === 0) continue;
      layer.setWeights(
        own.map(({ offset, size, shape }) => tf.tensor(flat.slice(offset, offset + size), [...shape], "float32")),
      );
    }
  });
}

/** Copies the model's weights into one flat vector. */
export async function getWeights(model: tf.Sequential, spec: ModelSpec): Promise<Float32Array<ArrayBuffer>> {
  const { tensors, parameters } = summarize(spec);
  const flat = new Float32Array(parameters);
  for (const layer of model.layers) {
    const own = tensors.filter(({ name }) => name.startsWith(`${layer.name}/`));
    const values = await Promise.all(layer.getWeights().map((weight) => weight.data()));
    own.forEach(({ offset }, i) => {
      flat.set(values[i] as Float32Array, offset);
    });
  }
  return flat;
}

/** Turns grey levels 0..255 of N faces into the network's input: N x 48 x 48 x 1 in 0..1. */
export function facesToTensor(pixels: Uint8Array, [height, width, channels]: ModelSpec["inputShape"]): tf.Tensor4D {
  const values = Float32Array.from(pixels, (level) => level / 255);
  return tf.tensor4d(values, [pixels.length / (height * width * channels), height, width, channels]);
}
