import * as v from "valibot";
import { BATCH_NORM, summarize, type LayerSpec, type ModelSpec } from "./model";
import { whyUntrainable } from "./trainable";

/** A tfjs or Keras Layers model is none that can be taken over; its message says what it has that is not known here. */
export class LayersModelError extends Error {
  override readonly name = "LayersModelError";
}

/** A network with its weights, as they were read. */
export interface ReadModel {
  spec: ModelSpec;
  weights: Float32Array<ArrayBuffer>;
}

const configSchema = v.looseObject({ name: v.optional(v.string(), "layer") });
const layerSchema = v.object({ class_name: v.string(), config: configSchema });
type KerasLayer = v.InferOutput<typeof layerSchema>;
const layersSchema = v.array(layerSchema);
/** Keras 2 writes a sequence's layers under `config.layers`, Keras 1 and early tfjs as the config itself. */
const sequentialSchema = v.object({
  class_name: v.literal("Sequential"),
  config: v.union([v.object({ name: v.optional(v.string(), "imported"), layers: layersSchema }), layersSchema]),
});
const fileSchema = v.object({
  modelTopology: v.union([v.object({ model_config: sequentialSchema }), sequentialSchema]),
  weightsManifest: v.array(
    v.object({
      paths: v.array(v.string()),
      weights: v.array(
        v.object({
          name: v.string(),
          shape: v.array(v.pipe(v.number(), v.integer(), v.minValue(0))),
          dtype: v.string(),
          quantization: v.optional(v.unknown()),
        }),
      ),
    }),
  ),
});

/**
 * Reads a tfjs Layers model: `model.json` with a sequence of layers, and the numbers of its weights. What is known: InputLayer, Conv2D (3 x 3
 * or 5 x 5, stride 1, with a bias), ReLU (of a layer, as Activation or as ReLU), BatchNormalization of the last axis, MaxPooling2D (2 x 2 or
 * 3 x 3, stride 2, valid), Dropout, Flatten, Dense with a bias, and a softmax at the end. The order of weights is Keras's, by layer.
 * @param json the text of `model.json`
 * @param bytes its weights' files, joined in the order of its manifest: float32, little-endian
 * @throws LayersModelError naming the layer, and what of it cannot be read
 */
export function readLayersModel(json: string, bytes: Uint8Array): ReadModel {
  const { modelTopology, weightsManifest } = parse(json);
  const sequence = "model_config" in modelTopology ? modelTopology.model_config : modelTopology;
  const { config } = sequence;
  const layers = Array.isArray(config) ? config : config.layers;
  const spec: ModelSpec = {
    name: nameFrom(Array.isArray(config) ? "imported" : config.name),
    inputShape: inputOf(layers),
    layers: withActivations(layers).map((layer, i, all) => layerOf(layer, i === all.length - 1)),
  };
  const last = spec.layers.at(-1);
  const why = whyUntrainable(spec, last?.kind === "dense" ? last.units : 0);
  if (why !== undefined) throw new LayersModelError(why);
  return {
    spec,
    weights: weightsOf(
      spec,
      weightsManifest.flatMap(({ weights }) => weights),
      bytes,
    ),
  };
}

function parse(text: string): v.InferOutput<typeof fileSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new LayersModelError("The model's file is no JSON.", { cause });
  }
  const className = v.safeParse(v.object({ modelTopology: v.object({ class_name: v.string() }) }), json);
  if (className.success && className.output.modelTopology.class_name !== "Sequential") {
    throw new LayersModelError(
      `It is a ${className.output.modelTopology.class_name} model: only a Sequential one, layer after layer, can be read.`,
    );
  }
  const parsed = v.safeParse(fileSchema, json);
  if (parsed.success) return parsed.output;
  throw new LayersModelError(`It is no model.json of a Layers model: ${v.summarize(parsed.issues).slice(0, 300)}`);
}

/** What a task may call a network. */
const nameFrom = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 40)
    .replace(/-+$/, "") || "imported";

/** What a layer is called in a description, and so in a checkpoint. */
const layerName = (name: string): string =>
  name
    .replace(/[^\w-]/g, "_")
    .replace(/^[^A-Za-z]/, "l$&")
    .slice(0, 64);

/** Height, width and channels, as the first layer that says them has them. */
function inputOf(layers: readonly KerasLayer[]): [number, number, number] {
  const first = layers[0]?.config;
  const shape = first?.["batch_input_shape"] ?? first?.["batch_shape"] ?? first?.["batchInputShape"];
  const size = v.pipe(v.number(), v.integer(), v.minValue(1));
  const parsed = v.safeParse(v.tuple([v.null(), size, size, size]), shape);
  if (parsed.success) return [parsed.output[1], parsed.output[2], parsed.output[3]];
  throw new LayersModelError(
    `Its input is ${JSON.stringify(shape ?? null)}: pictures of height, width and channels are taken, in batches of any size.`,
  );
}

/** The layers without inputs, each with the activation that stands behind it as a layer of its own. */
function withActivations(layers: readonly KerasLayer[]): KerasLayer[] {
  const joined: KerasLayer[] = [];
  for (const layer of layers) {
    const { class_name: kind, config } = layer;
    if (kind === "InputLayer") continue;
    const activation =
      kind === "ReLU"
        ? "relu"
        : kind === "Softmax"
          ? "softmax"
          : kind === "Activation"
            ? config["activation"]
            : undefined;
    const before = joined.at(-1);
    if (activation === undefined) joined.push({ ...layer, config: { ...config } });
    else if (
      before &&
      (before.config["activation"] ?? "linear") === "linear" &&
      /^(Conv2D|Dense)$/.test(before.class_name)
    ) {
      if (kind === "ReLU" && [config["max_value"], config["negative_slope"], config["threshold"]].some(Boolean)) {
        throw new LayersModelError(`${config.name}: only a plain ReLU is known.`);
      }
      before.config["activation"] = activation;
    } else
      throw new LayersModelError(`${config.name}: an activation goes right behind a convolution or a dense layer.`);
  }
  return joined;
}

function layerOf({ class_name: kind, config }: KerasLayer, isLast: boolean): LayerSpec {
  const name = layerName(config.name);
  const wrong = (what: string): LayersModelError => new LayersModelError(`${config.name} (${kind}): ${what}.`);
  const isOneOf = (key: string, value: unknown, known: readonly unknown[]): void => {
    if (!known.includes(value))
      throw wrong(
        `${key} is ${JSON.stringify(value)}; known is ${known.map((one) => JSON.stringify(one)).join(" or ")}`,
      );
  };
  /** A number, or a pair of equal ones; what is not said is Keras's default. */
  const pair = (key: string, otherwise: unknown): unknown => {
    const value = config[key] ?? otherwise;
    return Array.isArray(value) && value.length === 2 && value[0] === value[1] ? (value[0] as unknown) : value;
  };
  const plain = (key: string, expected: unknown): void => isOneOf(key, config[key] ?? expected, [expected]);
  const whole = (key: string): number => {
    const value = config[key];
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1) throw wrong(`${key} is no number`);
    return value;
  };
  switch (kind) {
    case "Conv2D": {
      const size = pair("kernel_size", undefined);
      const padding = config["padding"] ?? "valid";
      isOneOf("kernel_size", size, [3, 5]);
      isOneOf("strides", pair("strides", 1), [1]);
      isOneOf("dilation_rate", pair("dilation_rate", 1), [1]);
      isOneOf("padding", padding, ["same", "valid"]);
      isOneOf("activation", config["activation"] ?? "linear", ["relu"]);
      plain("groups", 1);
      plain("use_bias", true);
      plain("data_format", "channels_last");
      return {
        kind: "conv2d",
        name,
        filters: whole("filters"),
        size: size as 3 | 5,
        padding: padding as "same" | "valid",
      };
    }
    case "BatchNormalization": {
      const axis = pair("axis", -1);
      isOneOf("axis", Array.isArray(axis) ? axis[0] : axis, [-1, 3]);
      plain("center", true);
      plain("scale", true);
      plain("epsilon", BATCH_NORM.epsilon);
      return { kind: "batchNorm", name };
    }
    case "MaxPooling2D": {
      const window = pair("pool_size", 2);
      isOneOf("pool_size", window, [2, 3]);
      isOneOf("strides", pair("strides", window), [2]);
      plain("padding", "valid");
      plain("data_format", "channels_last");
      return { kind: "maxPool", name, window: window as 2 | 3 };
    }
    case "Dropout": {
      const rate = config["rate"];
      if (typeof rate !== "number" || rate < 0 || rate > 0.95) throw wrong("its rate is not between 0 and 0.95");
      return { kind: "dropout", name, rate };
    }
    case "Flatten":
      plain("data_format", "channels_last");
      return { kind: "flatten", name };
    case "Dense": {
      const activation = config["activation"] ?? "linear";
      isOneOf("activation", activation, isLast ? ["softmax"] : ["relu"]);
      plain("use_bias", true);
      return { kind: "dense", name, units: whole("units"), activation: activation as "relu" | "softmax" };
    }
    default:
      throw wrong(
        "this layer is not known; known are Conv2D, BatchNormalization, MaxPooling2D, Dropout, Flatten, Dense, Activation and ReLU",
      );
  }
}

/** The flat vector of weights, each tensor found by its layer and role, whatever stands around that in its name. */
function weightsOf(
  spec: ModelSpec,
  manifest: readonly { name: string; shape: number[]; dtype: string; quantization?: unknown }[],
  bytes: Uint8Array,
): Float32Array<ArrayBuffer> {
  const { tensors, parameters } = summarize(spec);
  const flat = new Float32Array(parameters);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const seen = new Set<string>();
  for (const { name, shape, dtype, quantization } of manifest) {
    if (dtype !== "float32" || quantization !== undefined) {
      throw new LayersModelError(`${name} is ${quantization === undefined ? dtype : "quantized"}: float32 is read.`);
    }
    const size = shape.reduce((a, b) => a * b, 1);
    const [layer = "", role = ""] = name.replace(/:\d+$/, "").split("/").slice(-2);
    const wanted = `${layerName(layer)}/${role}`;
    const tensor = tensors.find((one) => one.name === wanted);
    if (!tensor) throw new LayersModelError(`${name} belongs to no layer of the model.`);
    if (shape.join() !== tensor.shape.join()) {
      throw new LayersModelError(`${name} is ${shape.join(" x ")}, where its layer has ${tensor.shape.join(" x ")}.`);
    }
    if (seen.has(wanted)) throw new LayersModelError(`${name} is there twice.`);
    seen.add(wanted);
    if (at + size * 4 > bytes.length)
      throw new LayersModelError(`The weights end before ${name}: ${bytes.length} bytes came.`);
    for (let i = 0; i < size; i++) flat[tensor.offset + i] = view.getFloat32(at + i * 4, true);
    at += size * 4;
  }
  const missing = tensors.find(({ name }) => !seen.has(name));
  if (missing) throw new LayersModelError(`${missing.name} is missing.`);
  if (at !== bytes.length) throw new LayersModelError(`There are ${bytes.length - at} bytes behind the last weight.`);
  const wrong = tensors.find(({ offset, size }) => !flat.subarray(offset, offset + size).every(Number.isFinite));
  if (wrong) throw new LayersModelError(`${wrong.name} holds a number that is not finite.`);
  return flat;
}
