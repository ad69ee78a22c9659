import type { ModelSummary, TensorSpec } from "../model/model";

/**
 * The cosine of the angle between each of a round's updates and their average: `d_k . m / (|d_k| |m|)`, over the parameters that the
 * round trains. Batch-norm statistics, which follow the data and are longer than any gradient's way, have no part in it, nor has what the
 * round leaves as it is. 1 is an update that went where all went, 0 one that has nothing in common with them, -1 one that went back.
 *
 * The average holds the update itself: of two equal ones at a right angle both have 0.71, and who is longer draws it to its own side, as
 * far as the round's clip and rule let it. A high cosine is therefore no proof of honesty; beside the norm it tells who went elsewhere.
 * Nothing is decided by it.
 */
export class Cosines {
  /** Of each update, by its place: its dot product with the average, and its own square. */
  readonly #dots: Float64Array;
  readonly #squares: Float64Array;
  #meanSquare = 0;
  readonly #tensors: readonly TensorSpec[];

  /** @param updates how many; @param keep tensors that stay as they are in the base */
  constructor({ tensors }: Pick<ModelSummary, "tensors">, updates: number, keep: (tensor: TensorSpec) => boolean) {
    this.#dots = new Float64Array(updates);
    this.#squares = new Float64Array(updates);
    this.#tensors = tensors.filter((tensor) => tensor.trainable && !keep(tensor));
  }

  /** Takes the average's numbers from `start` on. Each number is to come once. */
  addMean(start: number, mean: Float64Array): void {
    for (const [from, to] of this.#parts(start, mean.length)) this.#meanSquare += dot(mean, mean, from, to);
  }

  /** Takes the same numbers of one update. */
  addUpdate(which: number, start: number, mean: Float64Array, update: Float32Array): void {
    for (const [from, to] of this.#parts(start, mean.length)) {
      this.#dots[which] = (this.#dots[which] ?? 0) + dot(update, mean, from, to);
      this.#squares[which] = (this.#squares[which] ?? 0) + dot(update, update, from, to);
    }
  }

  /** By the updates' places; null where one of the two has no length, and so no direction. */
  get values(): (number | null)[] {
    return Array.from(this.#dots, (product, k) => {
      const lengths = Math.sqrt(this.#meanSquare) * Math.sqrt(this.#squares[k] ?? 0);
      // Rounding may go a little beyond.
      return lengths > 0 && Number.isFinite(lengths) ? Math.max(-1, Math.min(1, product / lengths)) : null;
    });
  }

  /** Where parameters lie among `length` numbers from `start` on. */
  *#parts(start: number, length: number): Generator<[from: number, to: number]> {
    for (const { offset, size } of this.#tensors) {
      const [from, to] = [Math.max(0, offset - start), Math.min(length, offset + size - start)];
      if (from < to) yield [from, to];
    }
  }
}

function dot(a: Float32Array | Float64Array, b: Float32Array | Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
