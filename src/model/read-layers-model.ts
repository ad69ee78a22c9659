import * as v from "valibot";
import { BATCH_NORM, summarize, type LayerSpec, type ModelSpec } from "./model";
import { joinPieces } from "./safetensors";
import { problemsOf, problemsOfLayers, problemsOfStructure } from "./trainable";

/** How many of a model's problems are told at once. */
const MOST_TOLD = 12;

/** A tfjs or Keras Layers model is none that can be taken over; its problems say all that it has that is not known here. */
export class LayersModelError extends Error {
  override readonly name = "LayersModelError";
  /** A sentence for each. */
  readonly problems: readonly string[];

  /** @param problems of which {@link MOST_TOLD} are told */
  constructor(problems: readonly string[], options?: ErrorOptions) {
    const others = problems.length - MOST_TOLD;
    const told = [...problems.slice(0, MOST_TOLD), ...(others > 0 ? [`And ${others} more.`] : [])];
    super(told.join(" "), options);
    this.problems = told;
  }
}

/** One of the files that a model's weights lie in, by the name that its manifest has. */
export interface WeightFile {
  name: string;
  bytes: Uint8Array;
}

/** A network with its weights, as they were read. */
export interface ReadModel {
  spec: ModelSpec;
  weights: Float32Array<ArrayBuffer>;
  /** The batch normalizations that were folded into the layers before them, by the names that the model has. */
  folded: string[];
}

const configSchema = v.looseObject({ name: v.optional(v.string(), "layer") });
const layerSchema = v.object({
  class_name: v.string(),
  config: configSchema,
  inbound_nodes: v.optional(v.unknown()),
});
type KerasLayer = v.InferOutput<typeof layerSchema>;
const layersSchema = v.array(layerSchema);
/** Keras 2 writes a model's layers under `config.layers`, Keras 1 and early tfjs a sequence's as the config itself. */
const namedSchema = v.object({
  name: v.optional(v.string(), "imported"),
  layers: layersSchema,
  output_layers: v.optional(v.unknown()),
});
const manifestSchema = v.array(
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
);
type Manifest = v.InferOutput<typeof manifestSchema>;

/**
 * Reads a tfjs Layers model: `model.json` with layers that follow one another, Sequential or Functional, and the numbers of its weights.
 * What is known: InputLayer, Conv2D (3 x 3 or 5 x 5, stride 1, with a bias), ReLU (of a layer, as Activation or as ReLU),
 * BatchNormalization of the last axis, MaxPooling2D (2 x 2 or 3 x 3, stride 2, valid), Dropout, Flatten, Dense with a bias, and a softmax
 * at the end. The order of weights is Keras's, by layer.
 *
 * Our convolutions end in their ReLU. A batch normalization between the two is therefore folded: with s = gamma / sqrt(moving_variance +
 * epsilon) the kernel's output channels are multiplied by s, and the bias becomes (bias - moving_mean) s + beta (Jacob et al. 2018, arXiv
 * 1712.05877, section 3.2), which says the same of every picture, and trains on without a normalization there.
 * @param json the text of `model.json`
 * @param files its weights' files, in any order: float32, little-endian
 * @throws LayersModelError naming the layers, and what of them cannot be read
 */
export function readLayersModel(json: string, files: readonly WeightFile[]): ReadModel {
  const { name, layers, weightsManifest } = parse(json);
  const problems: string[] = [];
  const say = (problem: string): void => void problems.push(problem);
  const inputShape = inputOf(layers, say);
  const links = withActivations(layers, say);
  const known = links.map(({ layer, norm }, i) => layerOf(layer, i === links.length - 1, norm !== undefined, say));
  for (const { layer, norm } of links) if (norm) checkFolded(norm, layer.class_name, say);
  const specs = known.filter((layer) => layer !== undefined);
  // What goes with what, only a whole network tells, and what it comes to, only one that is right as far as that.
  if (!inputShape || specs.length < known.length) problemsOfLayers(specs).forEach(say);
  else {
    const last = specs.at(-1);
    const spec = { name: nameFrom(name), inputShape, layers: specs };
    const find = problems.length > 0 ? problemsOfStructure : problemsOf;
    find(spec, last?.kind === "dense" ? last.units : 0).forEach(say);
  }
  const groups = groupsOf(weightsManifest, files, say);
  if (problems.length > 0 || !inputShape) throw new LayersModelError(problems);
  const spec: ModelSpec = { name: nameFrom(name), inputShape, layers: specs };
  return {
    spec,
    weights: weightsOf(spec, links, groups),
    folded: links.flatMap(({ norm }) => norm?.config.name ?? []),
  };
}

/** Takes note of something that cannot be read, in a sentence. */
type Say = (problem: string) => void;

function parse(text: string): { name: string; layers: KerasLayer[]; weightsManifest: Manifest } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new LayersModelError(["The model's file is no JSON."], { cause });
  }
  const { modelTopology, weightsManifest, format } = read(
    v.object({
      modelTopology: v.looseObject({ model_config: v.optional(v.looseObject({})) }),
      weightsManifest: manifestSchema,
      format: v.optional(v.unknown()),
    }),
    json,
  );
  if (format === "graph-model") {
    throw new LayersModelError([
      "It is a graph model, which has no layers: tensorflowjs_converter writes a Layers model with --output_format tfjs_layers_model.",
    ]);
  }
  // Keras's converter writes the model beside its version, tfjs itself the model alone.
  const { class_name: kind, config } = read(
    v.object({ class_name: v.string(), config: v.unknown() }),
    modelTopology.model_config ?? modelTopology,
  );
  if (kind === "Sequential") {
    const { name, layers } = Array.isArray(config)
      ? { name: "imported", layers: read(layersSchema, config) }
      : read(namedSchema, config);
    return { name, layers, weightsManifest };
  }
  if (kind !== "Functional" && kind !== "Model") {
    throw new LayersModelError([
      `It is a ${kind} model: a Sequential one can be read, or a Functional one whose layers follow one another.`,
    ]);
  }
  const { name, layers, output_layers: outputs } = read(namedSchema, config);
  return { name, layers: chainOf(layers, namesIn(outputs)), weightsManifest };
}

function read<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const faults = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? "model.json"}: ${issue.message}.`);
  throw new LayersModelError(["It is no model.json of a Layers model.", ...faults]);
}

/**
 * The layers whose outputs something of a Functional model takes: Keras 2 and tfjs name each as `[layer, node, tensor]`, Keras 3 in a
 * tensor's `keras_history`.
 */
function namesIn(inbound: unknown): string[] {
  if (typeof inbound !== "object" || inbound === null) return [];
  if (!Array.isArray(inbound)) {
    return "keras_history" in inbound ? namesIn(inbound.keras_history) : Object.values(inbound).flatMap(namesIn);
  }
  const [layer, node, ...others] = inbound as unknown[];
  return typeof layer === "string" && typeof node === "number"
    ? [layer, ...others.flatMap(namesIn)]
    : inbound.flatMap(namesIn);
}

/** The layers of a Functional model from its input to its output. @throws LayersModelError where they do not follow one another */
function chainOf(layers: readonly KerasLayer[], outputs: readonly string[]): KerasLayer[] {
  const links = layers.map((layer) => ({ layer, name: layer.config.name, sources: namesIn(layer.inbound_nodes) }));
  const why: string[] = [];
  const inputs = links.filter(({ sources }) => sources.length === 0).map(({ name }) => name);
  if (inputs.length !== 1) why.push(`it begins with ${inputs.join(", ") || "no layer"}`);
  if (outputs.length !== 1) why.push(`it ends with ${outputs.join(", ") || "no layer"}`);
  for (const { name, sources } of links) {
    if (sources.length > 1) why.push(`${name} takes what comes of ${sources.join(", ")}`);
    const takers = links.filter((one) => one.sources.includes(name)).map((one) => one.name);
    if (takers.length > 1) why.push(`${takers.join(", ")} take what comes of ${name}`);
  }
  const chain: KerasLayer[] = [];
  let next = links.find(({ sources }) => sources.length === 0);
  while (next && chain.length < links.length) {
    const { layer, name } = next;
    chain.push(layer);
    next = links.find(({ sources }) => sources.includes(name));
  }
  if (why.length === 0 && (chain.length < links.length || chain.at(-1)?.config.name !== outputs[0])) {
    why.push(`not all of them stand between its input and its output ${outputs[0] ?? ""}`);
  }
  if (why.length === 0) return chain;
  throw new LayersModelError([`The layers of this Functional model do not follow one another: ${why.join("; ")}.`]);
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
function inputOf(layers: readonly KerasLayer[], say: Say): [number, number, number] | undefined {
  const first = layers[0]?.config;
  const shape = first?.["batch_input_shape"] ?? first?.["batch_shape"] ?? first?.["batchInputShape"];
  const size = v.pipe(v.number(), v.integer(), v.minValue(1));
  const parsed = v.safeParse(v.tuple([v.null(), size, size, size]), shape);
  if (parsed.success) return [parsed.output[1], parsed.output[2], parsed.output[3]];
  say(
    `Its input is ${JSON.stringify(shape ?? null)}: pictures of height, width and channels are taken, in batches of any size.`,
  );
  return undefined;
}

/** A layer, and the batch normalization that stands between it and its activation. */
interface Link {
  layer: KerasLayer;
  norm?: KerasLayer;
}

const isLinear = ({ class_name: kind, config }: KerasLayer): boolean =>
  /^(Conv2D|Dense)$/.test(kind) && (config["activation"] ?? "linear") === "linear";

/** The layers without inputs, each with the activation that stands behind it as a layer of its own. */
function withActivations(layers: readonly KerasLayer[], say: Say): Link[] {
  const joined: Link[] = [];
  for (const layer of layers) {
    const { class_name: kind, config } = layer;
    if (kind === "InputLayer") continue;
    if (kind !== "Activation" && kind !== "ReLU" && kind !== "Softmax") {
      joined.push({ layer: { ...layer, config: { ...config } } });
      continue;
    }
    if (kind === "ReLU" && [config["max_value"], config["negative_slope"], config["threshold"]].some(Boolean)) {
      say(`${config.name}: only a plain ReLU is known.`);
    }
    if (kind === "Softmax" && ![undefined, -1, 1].includes(config["axis"] as number | undefined)) {
      say(`${config.name}: only a softmax of the last axis is known.`);
    }
    const activation = { ReLU: "relu", Softmax: "softmax", Activation: config["activation"] }[kind];
    if (activation === "linear") continue;
    const [before, last] = joined.slice(-2);
    if (before && last?.layer.class_name === "BatchNormalization" && isLinear(before.layer)) {
      before.norm = last.layer;
      before.layer.config["activation"] = activation;
      joined.pop();
      continue;
    }
    const only = last ?? before;
    if (only && isLinear(only.layer)) only.layer.config["activation"] = activation;
    else {
      say(
        `${config.name}: an activation goes right behind a convolution or a dense layer, or behind the batch normalization of one.`,
      );
    }
  }
  return joined;
}

/**
 * A layer as our networks have it; undefined where they have none of its kind.
 * @param isFolded whether it takes a batch normalization in, and with it a bias
 */
function layerOf(
  { class_name: kind, config }: KerasLayer,
  isLast: boolean,
  isFolded: boolean,
  say: Say,
): LayerSpec | undefined {
  const name = layerName(config.name);
  const wrong = (what: string): void => say(`${config.name} (${kind}): ${what}.`);
  const isOneOf = (key: string, value: unknown, known: readonly unknown[]): void => {
    if (!known.includes(value))
      wrong(`${key} is ${JSON.stringify(value)}; known is ${known.map((one) => JSON.stringify(one)).join(" or ")}`);
  };
  /** A number, or a pair of equal ones; what is not said is Keras's default. */
  const pair = (key: string, otherwise: unknown): unknown => {
    const value = config[key] ?? otherwise;
    return Array.isArray(value) && value.length === 2 && value[0] === value[1] ? (value[0] as unknown) : value;
  };
  const plain = (key: string, expected: unknown): void => isOneOf(key, config[key] ?? expected, [expected]);
  const activationIs = (known: string): void => isOneOf("activation", config["activation"] ?? "linear", [known]);
  const whole = (key: string): number => {
    const value = config[key];
    if (typeof value === "number" && Number.isInteger(value) && value >= 1) return value;
    wrong(`${key} is no number`);
    return 8;
  };
  switch (kind) {
    case "Conv2D": {
      const size = pair("kernel_size", undefined);
      const padding = config["padding"] ?? "valid";
      isOneOf("kernel_size", size, [3, 5]);
      isOneOf("strides", pair("strides", 1), [1]);
      isOneOf("dilation_rate", pair("dilation_rate", 1), [1]);
      isOneOf("padding", padding, ["same", "valid"]);
      activationIs("relu");
      plain("groups", 1);
      if (!isFolded) plain("use_bias", true);
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
      plain("momentum", BATCH_NORM.momentum);
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
      const isKnown = typeof rate === "number" && rate >= 0 && rate <= 0.95;
      if (!isKnown) wrong("its rate is not between 0 and 0.95");
      return { kind: "dropout", name, rate: isKnown ? rate : 0 };
    }
    case "Flatten":
      plain("data_format", "channels_last");
      return { kind: "flatten", name };
    case "Dense": {
      activationIs(isLast ? "softmax" : "relu");
      if (!isFolded) plain("use_bias", true);
      return { kind: "dense", name, units: whole("units"), activation: isLast ? "softmax" : "relu" };
    }
    default:
      wrong(
        "this layer is not known; known are Conv2D, BatchNormalization, MaxPooling2D, Dropout, Flatten, Dense, Activation and ReLU",
      );
      return undefined;
  }
}

/** What a batch normalization that is folded has to be: its epsilon may be any, and no training follows it. */
function checkFolded({ config }: KerasLayer, behind: string, say: Say): void {
  const axis = [config["axis"] ?? -1].flat();
  const { center = true, scale = true } = config;
  const last = [-1, behind === "Dense" ? 1 : 3];
  if (axis.length !== 1 || !last.includes(axis[0] as number)) say(`${config.name}: its axis is not the last one.`);
  if (center !== true || scale !== true) say(`${config.name}: it has no beta or no gamma; both are needed.`);
  if (!(epsilonOf(config) > 0)) say(`${config.name}: its epsilon is no positive number.`);
}

const epsilonOf = ({ epsilon = BATCH_NORM.epsilon }: KerasLayer["config"]): number =>
  typeof epsilon === "number" ? epsilon : NaN;

/** Weights that lie one after the other, and their bytes. */
interface Group {
  weights: Manifest[number]["weights"];
  bytes: Uint8Array;
}

/** The bytes of each group of weights, from the files that the manifest names, in its order. */
function groupsOf(manifest: Manifest, files: readonly WeightFile[], say: Say): Group[] {
  // What a page is given are names without folders.
  const fileName = (path: string): string => path.split("/").at(-1) ?? path;
  const paths = manifest.flatMap((group) => group.paths.map(fileName));
  for (const path of new Set(paths)) {
    const { length } = files.filter(({ name }) => fileName(name) === path);
    if (length === 0) say(`${path} is missing among the files.`);
    if (length > 1 || paths.indexOf(path) !== paths.lastIndexOf(path)) say(`Two files of weights are called ${path}.`);
  }
  for (const { name } of files) {
    if (!paths.includes(fileName(name))) say(`${name} is none of the model's files, which are ${paths.join(", ")}.`);
  }
  for (const { name, dtype, quantization } of manifest.flatMap(({ weights }) => weights)) {
    if (dtype !== "float32" || quantization !== undefined) {
      say(`${name} is ${quantization === undefined ? dtype : "quantized"}: float32 is read.`);
    }
  }
  const bytesOf = (path: string): Uint8Array =>
    files.find(({ name }) => fileName(name) === fileName(path))?.bytes ?? new Uint8Array(0);
  return manifest.map((group) => ({ weights: group.weights, bytes: joinPieces(group.paths.map(bytesOf)) }));
}

/** The flat vector of weights, each tensor found by its layer and role, whatever stands around that in its name. */
function weightsOf(spec: ModelSpec, links: readonly Link[], groups: readonly Group[]): Float32Array<ArrayBuffer> {
  const { tensors, parameters } = summarize(spec);
  const expected = new Map(tensors.map(({ name, shape }) => [name, shape]));
  for (const { layer, norm } of links) {
    const name = layerName(layer.config.name);
    if (norm) {
      const channels = expected.get(`${name}/bias`) ?? [];
      for (const role of NORM_ROLES) expected.set(`${layerName(norm.config.name)}/${role}`, channels);
      if (layer.config["use_bias"] === false) expected.delete(`${name}/bias`);
    }
  }
  const { found, problems } = numbersOf(groups, expected);
  if (problems.length > 0) throw new LayersModelError(problems);
  const flat = new Float32Array(parameters);
  for (const { name, offset } of tensors) flat.set(found.get(name) ?? [], offset);
  for (const { layer, norm } of links) {
    if (!norm) continue;
    const name = layerName(layer.config.name);
    const role = (of: string): Float32Array => found.get(`${layerName(norm.config.name)}/${of}`) ?? new Float32Array(0);
    const partOf = (of: string): Float32Array => {
      const tensor = tensors.find((one) => one.name === `${name}/${of}`);
      return tensor ? flat.subarray(tensor.offset, tensor.offset + tensor.size) : new Float32Array(0);
    };
    const [gamma, beta, mean, variance] = [role("gamma"), role("beta"), role("moving_mean"), role("moving_variance")];
    const scale = Array.from(gamma, (value, i) => value / Math.sqrt((variance[i] ?? NaN) + epsilonOf(norm.config)));
    const [kernel, bias] = [partOf("kernel"), partOf("bias")];
    for (let i = 0; i < kernel.length; i++) kernel[i] = (kernel[i] as number) * (scale[i % scale.length] as number);
    for (let i = 0; i < bias.length; i++) {
      bias[i] = ((bias[i] as number) - (mean[i] as number)) * (scale[i] as number) + (beta[i] as number);
    }
  }
  const wrong = tensors.filter(({ offset, size }) => !flat.subarray(offset, offset + size).every(Number.isFinite));
  if (wrong.length > 0) {
    throw new LayersModelError(wrong.map(({ name }) => `${name} holds a number that is not finite.`));
  }
  return flat;
}

const NORM_ROLES = ["gamma", "beta", "moving_mean", "moving_variance"] as const;

/** The numbers of each tensor that is expected, by its name. */
function numbersOf(
  groups: readonly Group[],
  expected: ReadonlyMap<string, readonly number[]>,
): { found: Map<string, Float32Array>; problems: string[] } {
  const found = new Map<string, Float32Array>();
  const problems: string[] = [];
  for (const { weights, bytes } of groups) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    for (const { name, shape } of weights) {
      const start = at;
      const size = shape.reduce((a, b) => a * b, 1);
      at += size * 4;
      const [layer = "", role = ""] = name.replace(/:\d+$/, "").split("/").slice(-2);
      const wanted = `${layerName(layer)}/${role}`;
      const known = expected.get(wanted);
      if (!known) problems.push(`${name} belongs to no layer of the model.`);
      else if (shape.join() !== known.join()) {
        problems.push(`${name} is ${shape.join(" x ")}, where its layer has ${known.join(" x ")}.`);
      } else if (found.has(wanted)) problems.push(`${name} is there twice.`);
      if (at > bytes.length) {
        problems.push(`The weights end before ${name}: ${bytes.length} bytes came.`);
        break;
      }
      if (known?.join() === shape.join()) {
        const values = new Float32Array(size);
        for (let i = 0; i < size; i++) values[i] = view.getFloat32(start + i * 4, true);
        found.set(wanted, values);
      }
    }
    if (at < bytes.length) problems.push(`There are ${bytes.length - at} bytes behind the last weight.`);
  }
  if (problems.length === 0) {
    for (const name of expected.keys()) if (!found.has(name)) problems.push(`${name} is missing.`);
  }
  return { found, problems };
}
