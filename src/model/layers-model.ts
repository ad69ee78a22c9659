import { BATCH_NORM, summarize, type LayerSpec, type ModelSpec } from "./model";

/** A model as tfjs's `loadLayersModel` and Keras's tfjs converter read it: `model.json`, and its weights in one file. */
export interface LayersModelFiles {
  /** The text of `model.json`. */
  json: string;
  /** `weights.bin`: float32, little-endian, in the order of the manifest. */
  weights: Uint8Array<ArrayBuffer>;
}

const square = (size: number): [number, number] => [size, size];

function layerConfig(layer: LayerSpec): { class_name: string; config: Record<string, unknown> } {
  const { name } = layer;
  switch (layer.kind) {
    case "conv2d": {
      const { filters, size, padding } = layer;
      const config = { filters, kernel_size: square(size), strides: square(1), padding, activation: "relu" };
      return { class_name: "Conv2D", config: { name, ...config, use_bias: true } };
    }
    case "batchNorm":
      return { class_name: "BatchNormalization", config: { name, axis: -1, ...BATCH_NORM, center: true, scale: true } };
    case "maxPool":
      return {
        class_name: "MaxPooling2D",
        config: { name, pool_size: square(layer.window), strides: square(2), padding: "valid" },
      };
    case "dropout":
      return { class_name: "Dropout", config: { name, rate: layer.rate } };
    case "flatten":
      return { class_name: "Flatten", config: { name } };
    case "dense":
      return {
        class_name: "Dense",
        config: { name, units: layer.units, activation: layer.activation, use_bias: true },
      };
  }
}

/** A checkpoint's flat weights as a tfjs Layers model (format "layers-model", version 2 of Keras's topology). */
export function toLayersModel(model: ModelSpec, weights: Float32Array): LayersModelFiles {
  const { tensors } = summarize(model);
  const [first, ...rest] = model.layers.map(layerConfig);
  if (first) first.config["batch_input_shape"] = [null, ...model.inputShape];
  const json = {
    format: "layers-model",
    generatedBy: "Best Actor",
    convertedBy: null,
    modelTopology: {
      class_name: "Sequential",
      keras_version: "2.15.0",
      backend: "tensorflow",
      config: { name: model.name, layers: [first, ...rest] },
    },
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: tensors.map(({ name, shape }) => ({ name, shape: [...shape], dtype: "float32" })),
      },
    ],
  };
  const bytes = new Uint8Array(weights.length * 4);
  const view = new DataView(bytes.buffer);
  weights.forEach((weight, i) => view.setFloat32(i * 4, weight, true));
  return { json: JSON.stringify(json), weights: bytes };
}
