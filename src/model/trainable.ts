import { MODELS, summarize, type LayerSpec, type ModelSpec } from "./model";

/**
 * The bounds of a network that is none of ours. Weights and work are those of `seed`, whose memory and time are measured on devices and on
 * the edge; what training holds beside them is bounded by what {@link heldInTraining} counts.
 */
export const MOST = {
  side: 96,
  layers: 64,
  parameters: 5_200_000,
  multiplyAdds: 1.05 * summarize(MODELS.seed).multiplyAdds,
  /** Numbers that a training step holds at once, see {@link heldInTraining}: 64 MiB for one example, 512 MiB for a batch. */
  heldByExample: 2 ** 24,
  heldByBatch: 2 ** 27,
};
/** Our kernels take so many channels at once. */
const CHANNELS = 8;
/** How many of a network's problems are told at once. */
const MOST_TOLD = 12;

/**
 * Why a network cannot be trained here, in words, all that is wrong with it; undefined where it can.
 * @param classes how many labels there are
 */
export function whyUntrainable(spec: ModelSpec, classes: number): string | undefined {
  const problems = problemsOf(spec, classes);
  return problems.length === 0 ? undefined : problems.slice(0, MOST_TOLD).join(" ");
}

/** What of each layer by itself our kernels do not take, a sentence for each. */
export const problemsOfLayers = (layers: readonly LayerSpec[]): string[] =>
  layers.flatMap((layer, i) =>
    layer.kind === "conv2d" && layer.filters % CHANNELS !== 0
      ? [`Layer ${i + 1}, ${layer.name}: it has ${layer.filters} filters, which is no multiple of ${CHANNELS}.`]
      : [],
  );

/** Why a network cannot be trained here, a sentence for each reason. @param classes how many labels there are */
export function problemsOf(spec: ModelSpec, classes: number): string[] {
  const problems = problemsOfStructure(spec, classes);
  // What follows from its shapes says nothing of a network that has none.
  return problems.length > 0 ? problems : problemsOfSize(spec);
}

/**
 * The same but for what the network comes to. What our kernels take: convolutions of a multiple of eight filters, each with a batch
 * normalization right behind it or without, pooling behind convolutions, then one flatten, dense layers with a ReLU, and at the end one
 * without, of a unit for each label.
 */
export function problemsOfStructure(spec: ModelSpec, classes: number): string[] {
  const { layers, inputShape } = spec;
  const problems: string[] = [];
  if (layers.length === 0 || layers.length > MOST.layers)
    problems.push(`It has ${layers.length} layers: 1 to ${MOST.layers} are taken.`);
  if (inputShape.some((size) => !Number.isInteger(size) || size < 1 || size > MOST.side)) {
    problems.push(`Its input is ${inputShape.join(" x ")}: at most ${MOST.side} x ${MOST.side} are taken.`);
  }
  const names = layers.map(({ name }) => name);
  const twice = new Set(names.filter((name, i) => names.indexOf(name) !== i));
  for (const name of twice) problems.push(`Two of its layers are called ${name}.`);
  problems.push(...problemsOfLayers(layers));
  let isFlat = false;
  for (const [i, layer] of layers.entries()) {
    const before = layers[i - 1]?.kind;
    const wrong = (what: string): void => void problems.push(`Layer ${i + 1}, ${layer.name}: ${what}.`);
    if (layer.kind === "flatten" && isFlat) wrong("numbers that lie flat already are flattened");
    if (layer.kind === "dense" && !isFlat) wrong("a dense layer needs a flatten before it");
    // Whatever comes then lies flat, and is told once.
    if (layer.kind === "flatten" || layer.kind === "dense") isFlat = true;
    if (isFlat && (layer.kind === "conv2d" || layer.kind === "maxPool" || layer.kind === "batchNorm")) {
      wrong(`a ${layer.kind} behind the flatten is not taken`);
    } else if (layer.kind === "batchNorm" && before !== "conv2d") {
      wrong("batch normalization goes right behind a convolution");
    } else if (layer.kind === "maxPool" && !layers.slice(0, i).some(({ kind }) => kind === "conv2d")) {
      wrong("pooling goes behind a convolution");
    }
    if (layer.kind === "dense" && (layer.activation === "softmax") !== (i === layers.length - 1)) {
      wrong("the last layer, and no other, is a softmax");
    }
  }
  const last = layers.at(-1);
  if (last?.kind !== "dense") problems.push("Its last layer is no dense one.");
  else if (last.units !== classes) {
    problems.push(`Its last layer has ${last.units} units, and there are ${classes} labels.`);
  }
  return problems;
}

/**
 * How many float32 numbers a training step holds at once for each example of its batch, roughly: what every layer with weights gives out,
 * which the backward pass reads, and three times what the largest of all layers gives out, for values under way and their gradients.
 * `npm run bench:held` measured from 0.65 to 1.1 times as much where this is most of what a step takes, and beside it up to 60 MB for the
 * weights of `seed`, their gradients and the rest.
 */
export function heldInTraining(spec: ModelSpec): number {
  const sizes = summarize(spec).layers.map(({ outputShape, kind }) => {
    const size = outputShape.reduce((a, b) => a * b, 1);
    return { size, kept: kind === "conv2d" || kind === "dense" ? size : 0 };
  });
  return sizes.reduce((sum, { kept }) => sum + kept, 0) + 3 * Math.max(...sizes.map(({ size }) => size));
}

/** What of a network is too much for a device or for the edge. */
function problemsOfSize(spec: ModelSpec): string[] {
  const summary = summarize(spec);
  const empty = summary.layers.find(({ outputShape }) => outputShape.some((size) => size < 1));
  if (empty) return [`Nothing is left of the picture behind ${empty.name}: the input is too small for it.`];
  const { parameters, multiplyAdds } = summary;
  const problems: string[] = [];
  if (parameters > MOST.parameters)
    problems.push(`It has ${parameters} weights: at most ${MOST.parameters} are taken.`);
  const held = heldInTraining(spec);
  if (held > MOST.heldByExample) {
    problems.push(
      `Training holds ${held} numbers for each picture, what its layers give out: at most ${MOST.heldByExample} are taken.`,
    );
  }
  if (multiplyAdds > MOST.multiplyAdds) {
    problems.push(
      `One look takes ${multiplyAdds} multiplications: at most ${Math.round(MOST.multiplyAdds)} are taken.`,
    );
  }
  return problems;
}
