import type { TensorSpec } from "../../model/model";
import type { Span } from "../strategies/strategy";

/** Where in the weights a round's server steps: parameters that it does not leave as they are. Statistics of batch normalization are averaged. */
export const steppedSpans = (tensors: readonly TensorSpec[], keep: (tensor: TensorSpec) => boolean): Span[] =>
  tensors.filter((tensor) => tensor.trainable && !keep(tensor)).map(({ offset, size }) => ({ offset, size }));

/** The sum of the squares of those of some numbers that lie in the spans. @param start where the first of them lies in the weights */
export function squareWithin(spans: readonly Span[], start: number, values: Float32Array | Float64Array): number {
  let square = 0;
  for (const { offset, size } of spans) {
    const end = Math.min(values.length, offset + size - start);
    for (let i = Math.max(0, offset - start); i < end; i++) square += (values[i] as number) * (values[i] as number);
  }
  return square;
}
