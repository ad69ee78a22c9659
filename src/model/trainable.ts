import { MODELS, summarize, type ModelSpec } from "./model";

/** The bounds of a network that is none of ours: memory and time of devices and of the edge are measured up to these. */
export const MOST = {
  side: 96,
  layers: 64,
  parameters: 5_200_000,
  multiplyAdds: 1.05 * summarize(MODELS.seed).multiplyAdds,
};
/** Our kernels take so many channels at once. */
const CHANNELS = 8;

/**
 * Why a network cannot be trained here, in words; undefined where it can. What our kernels take: convolutions of a multiple of eight
 * filters, each with a batch normalization right behind it or without, pooling behind convolutions, then one flatten, dense layers with a
 * ReLU, and at the end one without, of a unit for each label.
 * @param classes how many labels there are
 */
export function whyUntrainable(spec: ModelSpec, classes: number): string | undefined {
  const { layers, inputShape } = spec;
  if (layers.length === 0 || layers.length > MOST.layers)
    return `It has ${layers.length} layers: 1 to ${MOST.layers} are taken.`;
  if (inputShape.some((size) => !Number.isInteger(size) || size < 1 || size > MOST.side)) {
    return `Its input is ${inputShape.join(" x ")}: at most ${MOST.side} x ${MOST.side} are taken.`;
  }
  const names = layers.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) return `Two of its layers are called ${twice}.`;
  let isFlat = false;
  for (const [i, layer] of layers.entries()) {
    const before = layers[i - 1]?.kind;
    const wrong = (what: string): string => `Layer ${i + 1}, ${layer.name}: ${what}.`;
    if (layer.kind === "flatten" && isFlat) return wrong("numbers that lie flat already are flattened");
    if (layer.kind === "flatten") isFlat = true;
    if (layer.kind === "dense" && !isFlat) return wrong("a dense layer needs a flatten before it");
    if (isFlat && (layer.kind === "conv2d" || layer.kind === "maxPool" || layer.kind === "batchNorm")) {
      return wrong(`a ${layer.kind} behind the flatten is not taken`);
    }
    if (layer.kind === "conv2d" && layer.filters % CHANNELS !== 0) {
      return wrong(`it has ${layer.filters} filters, which is no multiple of ${CHANNELS}`);
    }
    if (layer.kind === "batchNorm" && before !== "conv2d")
      return wrong("batch normalization goes right behind a convolution");
    if (layer.kind === "maxPool" && !layers.slice(0, i).some(({ kind }) => kind === "conv2d")) {
      return wrong("pooling goes behind a convolution");
    }
    if (layer.kind === "dense" && (layer.activation === "softmax") !== (i === layers.length - 1)) {
      return wrong("the last layer, and no other, is a softmax");
    }
  }
  const last = layers.at(-1);
  if (last?.kind !== "dense") return "Its last layer is no dense one.";
  if (last.units !== classes) return `Its last layer has ${last.units} units, and there are ${classes} labels.`;
  const summary = summarize(spec);
  const empty = summary.layers.find(({ outputShape }) => outputShape.some((size) => size < 1));
  if (empty) return `Nothing is left of the picture behind ${empty.name}: the input is too small for it.`;
  const { parameters, multiplyAdds } = summary;
  if (parameters > MOST.parameters) return `It has ${parameters} weights: at most ${MOST.parameters} are taken.`;
  if (multiplyAdds > MOST.multiplyAdds)
    return `One look takes ${multiplyAdds} multiplications: at most ${Math.round(MOST.multiplyAdds)} are taken.`;
  return undefined;
}
