import * as tf from "@tensorflow/tfjs-core";

/** What models of other times make of a batch's inputs before their last layer, each N x units, and how a loss holds ours to it. */
export interface Contrast {
  global: tf.Tensor2D;
  previous: tf.Tensor2D;
  /** mu */
  weight: number;
  temperature: number;
}

/** Below this a representation has no direction. */
const LEAST_NORM = 1e-8;

const norms = (rows: tf.Tensor2D): tf.Tensor1D => tf.sqrt(tf.add(tf.sum(tf.square(rows), 1), LEAST_NORM ** 2));

/**
 * The model-contrastive loss (Li, He and Song 2021, arXiv 2103.16257, equation 3), its mean over a batch:
 * `-log(exp(cos(z, z_glob) / tau) / (exp(cos(z, z_glob) / tau) + exp(cos(z, z_prev) / tau)))`.
 * @param z what the model that is trained makes of the inputs, N x units
 */
export function contrastiveLoss(z: tf.Tensor2D, { global, previous, temperature }: Contrast): tf.Scalar {
  const cosine = (other: tf.Tensor2D): tf.Tensor1D =>
    tf.div(tf.sum(tf.mul(z, other), 1), tf.mul(norms(z), norms(other)));
  const near = tf.div<tf.Tensor2D>(tf.stack([cosine(global), cosine(previous)], 1), temperature);
  const truth = tf.oneHot(tf.zeros([z.shape[0]], "int32"), 2);
  return tf.mean(tf.losses.softmaxCrossEntropy(truth, near, undefined, 0, tf.Reduction.NONE));
}
