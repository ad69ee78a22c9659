import * as tf from "@tensorflow/tfjs-core";

/**
 * What the backward pass of one step needs of its forward pass, on our kernels. tfjs frees what its tape has saved when the whole step
 * is over; here each value is given up as soon as the backward pass is through with it, and one that is cheap to compute is not
 * kept at all but made again. That holds for a chain: every value is read by the next operation alone, and so the gradient that
 * comes back of it belongs to whoever made it.
 */
export class Activations {
  readonly #held = new Set<tf.Tensor>();
  readonly #recipes = new WeakMap<tf.Tensor, () => tf.Tensor>();

  /** Keeps a tensor's numbers until they are dropped. To reshape shares them, where wasm's clone would copy. */
  hold<T extends tf.Tensor>(tensor: T): T {
    const own = tf.keep(tf.reshape(tensor, tensor.shape) as T);
    this.#held.add(own);
    return own;
  }

  drop(...tensors: tf.Tensor[]): void {
    for (const tensor of tensors) this.#held.delete(tensor);
    tf.dispose(tensors);
  }

  /** Says how a value is made again, bit for bit, from what is held until the backward pass has reached it. */
  remember(value: tf.Tensor, make: () => tf.Tensor): void {
    this.#recipes.set(value, make);
  }

  /** A value in the backward pass: made again where that is known how, else held. It is then the caller's, to be dropped. */
  later(value: tf.Tensor): () => tf.Tensor {
    const recipe = this.#recipes.get(value);
    if (recipe) return recipe;
    const own = this.hold(value);
    return () => own;
  }

  /** Frees what a pass that was broken off has left. */
  dispose(): void {
    this.drop(...this.#held);
  }
}
