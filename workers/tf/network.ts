import * as tf from "@tensorflow/tfjs-core";
import {
  BATCH_NORM,
  summarize,
  TEMPERATURE,
  type LayerSpec,
  type ModelSpec,
  type ModelSummary,
  type TensorSpec,
} from "../../src/model/model";
import { writeNumbers } from "../../src/model/levels";
import type { Plan } from "../../src/federation/protocol";
import type { GradientHook } from "../../src/federation/strategies/strategy";
import { Activations } from "./activations";
import { contrastiveLoss, type Contrast } from "./contrast";
import { canDescend, descend, squaredNorm } from "./descent";
import {
  convRelu,
  convReluAffine,
  convReluNorm,
  denseRelu,
  dropout,
  foldBlock,
  normConstants,
  scaleShift,
  maxPool,
  takesDense,
  type ConvParameters,
  type FoldedBlock,
} from "./fused";
import { emptyTensor, numbersIn, onWasm } from "./on-wasm";
import { PlainSteps, type LayerWeights } from "./plain-steps";
import { ownTrainer } from "./webgpu/registry";
import type { Lesson, Scope, WebGpuTrainer } from "./webgpu/trainer";

type Of<K extends LayerSpec["kind"]> = Extract<LayerSpec, { kind: K }>;

/** What a step needs of a round's plan. */
export type StepPlan = Pick<Plan, "learningRate" | "optimizer" | "proximal" | "clipNorm" | "layers" | "batchNorm"> & {
  /** Of each label; 1 where there are none. */
  labelWeights?: readonly number[] | undefined;
};

/** Plain SGD over all layers. */
export const sgd = (learningRate: number): StepPlan => ({
  learningRate,
  optimizer: "sgd",
  proximal: 0,
  clipNorm: 0,
  layers: "all",
  batchNorm: "average",
});

/** What a step learns from: inputs, each with its label, and what a teacher says of some of them. */
export interface Batch {
  /** N x height x width x channels. */
  x: tf.Tensor4D;
  /** Of the first inputs; those that follow have none, and only the teacher speaks of them. */
  labels: Uint8Array;
  taught?: Taught | undefined;
  /** Of the inputs with a label. */
  contrast?: Contrast | undefined;
}

/** What a teacher says of a batch's inputs. */
export interface Taught {
  /** N x classes. */
  logits: tf.Tensor2D;
  /** How much its answer counts in the loss, N; 0 where it does not. */
  weights: tf.Tensor1D;
}

/** What an optimizer remembers between steps: flat vectors laid out like the weights. */
export interface OptimizerState {
  steps: number;
  first: Float32Array<ArrayBuffer> | null;
  second: Float32Array<ArrayBuffer> | null;
}

/** What one step of training gave on its batch, dropout on. */
export interface StepResult {
  /** Mean categorical cross-entropy. */
  loss: number;
  accuracy: number;
}

/** A model of the registry on tfjs's current backend: its variables, what it predicts, and its steps of SGD. */
export class Network {
  readonly #summary: ModelSummary;
  readonly #variables = new Map<string, tf.Variable>();
  /** The convolutional blocks prepared for inference, by the convolution's name; made anew after the weights changed. */
  readonly #folded = new Map<string, FoldedBlock>();
  /** Where FedProx holds the weights to. */
  #anchor: Float32Array | undefined;
  /** Steps taken, and the optimizer's moments by tensor. */
  #steps = 0;
  readonly #first = new Map<string, tf.Tensor>();
  readonly #second = new Map<string, tf.Tensor>();
  /** On WebGPU our kernels hold weights and moments and take the steps, and nothing above is used; null elsewhere. */
  readonly #own: WebGpuTrainer | null;
  /** How many moments our kernels have of the optimizer. */
  #moments = 0;

  /** Whether weights were changed in place since {@link #renewMultiplied}. */
  #isDescended = false;

  /** Of a network that can step by itself on our kernels; null of any other. */
  #plain: PlainSteps | null | undefined;

  /** What a strategy's hook is given: vectors as long as the weights, which every step writes anew. */
  #flat: { gradient: Float32Array<ArrayBuffer>; weights: Float32Array<ArrayBuffer> } | undefined;

  /** Its weights are zero until they are set. */
  constructor(readonly spec: ModelSpec) {
    this.#summary = summarize(spec);
    this.#own = tf.getBackend() === "webgpu" ? ownTrainer(spec) : null;
    if (this.#own) return;
    for (const { name, shape, trainable } of this.#summary.tensors) {
      this.#variables.set(
        name,
        tf.tidy(() => tf.variable(tf.zeros([...shape]), trainable)),
      );
    }
  }

  /** Copies a flat vector of weights in, laid out as `summarize` says. */
  setWeights(flat: Float32Array): void {
    if (this.#own) {
      this.#own.setWeights(flat);
      return;
    }
    for (const tensor of this.#summary.tensors) {
      tf.tidy(() => this.#variable(tensor.name).assign(cut(flat, tensor)));
    }
    this.#forgetFolded();
  }

  /** Sets the weights that FedProx holds a training to: those of the checkpoint. */
  setAnchor(flat: Float32Array): void {
    this.#anchor = flat;
    this.#own?.setAnchor(flat);
  }

  /** Copies the weights out as one flat vector: a new one, or `flat`. */
  async getWeights(flat = new Float32Array(this.#summary.parameters)): Promise<Float32Array<ArrayBuffer>> {
    if (this.#own) return this.#own.getWeights();
    for (const { name, offset } of this.#summary.tensors) await copyOut(this.#variable(name), flat, offset);
    return flat;
  }

  /** Probabilities, N x classes, of N inputs, dropout off, with the moving statistics. */
  predict(x: tf.Tensor4D): tf.Tensor2D {
    return tf.tidy(() => tf.softmax(this.logits(x)));
  }

  /** Logits, N x classes, of N inputs, dropout off, with the moving statistics. */
  logits(x: tf.Tensor4D): tf.Tensor2D {
    if (this.#own) {
      const n = x.shape[0];
      const buffer = this.#own.logits(x.dataSync<"float32">(), n);
      return tf.tensor({ buffer, zeroCopy: true }, [n, this.#summary.classes]);
    }
    this.#renewMultiplied();
    return tf.tidy(() => this.#forward(x, this.#still));
  }

  /**
   * Gives what tfjs's matrix product multiplies by a place of its own again after steps in place: it keeps that packed for as long as it lies
   * where it was, and does not see that it has changed. The last layer is always its work, others where our kernel does not take them.
   */
  #renewMultiplied(): void {
    if (!this.#isDescended) return;
    this.#isDescended = false;
    for (const layer of this.spec.layers) {
      if (layer.kind !== "dense") continue;
      const kernel = this.#variable(`${layer.name}/kernel`);
      if (layer.activation === "relu" && takesDense(kernel)) continue;
      tf.tidy(() => kernel.assign(tf.add(kernel, 0)));
    }
  }

  /** A block with the moving statistics. */
  readonly #still = (input: tf.Tensor4D, conv: Of<"conv2d">, norm: Of<"batchNorm">): tf.Tensor4D =>
    convReluAffine(input, this.#foldedBlock(input, conv, norm), conv.padding);

  /**
   * What goes into the last layer, N x units, of N inputs, dropout off, with the moving statistics.
   * @throws Error on WebGPU, where our kernels keep it to themselves
   */
  representations(x: tf.Tensor4D): tf.Tensor2D {
    if (this.#own) throw new Error(ON_WASM);
    this.#renewMultiplied();
    return tf.tidy(() => {
      let found: tf.Tensor2D | undefined;
      this.#forward(x, this.#still, null, (z) => {
        found = z.clone();
      });
      return found as unknown as tf.Tensor2D;
    });
  }

  /**
   * One step of the plan's optimizer on a batch. The moving statistics of batch normalization follow the batch's with momentum
   * 0.99, unless the plan freezes it.
   * @param seed decides the dropout masks; null leaves dropout out
   * @param hook changes the gradient before it is clipped and stepped by
   */
  async step(batch: Batch, plan: StepPlan, seed: number | null, hook?: GradientHook): Promise<StepResult> {
    if (this.#own) return this.#ownStep(this.#own, batch, plan, seed, hook);
    const { labels } = batch;
    if (!hook && this.#stepsPlainly(batch, plan)) {
      if (this.#plain && this.#plain.examples < labels.length) {
        this.#plain.dispose();
        this.#plain = undefined;
      }
      if (this.#plain === undefined) this.#plain = PlainSteps.for(this.spec, labels.length);
      if (this.#plain) {
        const own = this.spec.layers
          .filter(({ kind }) => kind === "conv2d" || kind === "dense")
          .map(({ name }) => this.#layerWeights(name));
        const { loss, hits } = this.#plain.step(batch.x, labels, own, plan.learningRate, plan.labelWeights);
        this.#isDescended = true;
        return { loss, accuracy: hits / labels.length };
      }
    }
    const { loss, logits, gradients } = this.#gradients(batch, plan, seed, (norm, mean, variance) => {
      this.#follow(`${norm}/moving_mean`, mean);
      this.#follow(`${norm}/moving_variance`, variance);
    });
    if (hook) await this.#hooked(gradients, hook);
    this.#apply(gradients, plan);
    // The head is no part of the blocks that are folded.
    if (plan.layers === "all") this.#forgetFolded();
    const [value, rows] = await Promise.all([loss.data(), logits.array()]);
    tf.dispose([loss, logits]);
    const hits = Array.from(labels).filter((label, i) => isLargest(rows[i] ?? [], label)).length;
    return { loss: value[0] as number, accuracy: hits / labels.length };
  }

  /** Whether a step is nothing but SGD on the labels, which some networks take by themselves. */
  #stepsPlainly({ taught, contrast }: Batch, { optimizer, proximal, clipNorm, layers }: StepPlan): boolean {
    return !taught && !contrast && optimizer === "sgd" && proximal === 0 && clipNorm === 0 && layers === "all";
  }

  #layerWeights(name: string): LayerWeights {
    return { kernel: this.#variable(`${name}/kernel`), bias: this.#variable(`${name}/bias`) };
  }

  /** Has a strategy change the gradients, as one flat vector. */
  async #hooked(gradients: Map<string, tf.Tensor>, hook: GradientHook): Promise<void> {
    const { parameters } = this.#summary;
    this.#flat ??= { gradient: new Float32Array(parameters), weights: new Float32Array(parameters) };
    const { gradient, weights } = this.#flat;
    gradient.fill(0);
    for (const [name, one] of gradients) await copyOut(one, gradient, this.#tensor(name).offset);
    hook(gradient, await this.getWeights(weights));
    for (const [name, one] of gradients) {
      one.dispose();
      gradients.set(name, cut(gradient, this.#tensor(name)));
    }
  }

  async #ownStep(
    own: WebGpuTrainer,
    batch: Batch,
    plan: StepPlan,
    seed: number | null,
    hook: GradientHook | undefined,
  ): Promise<StepResult> {
    const { optimizer, learningRate: rate, proximal, clipNorm } = plan;
    this.#steps += 1;
    const wanted = { sgd: 0, momentum: 1, adam: 2 }[optimizer];
    if (this.#moments < 1 && wanted > 0) own.setMoments("moments", null);
    if (this.#moments < 2 && wanted > 1) own.setMoments("squares", null);
    this.#moments = Math.max(this.#moments, wanted);
    const isProximal = proximal !== 0 && this.#anchor !== undefined;
    const corrections = [1 - 0.9 ** this.#steps, 1 - 0.999 ** this.#steps] as const;
    const update = { optimizer, isProximal, isClipped: clipNorm > 0, rate, proximal, clipNorm, corrections, hook };
    const { labels } = batch;
    const { loss, hits } = await own.step(lessonOf(batch, plan, seed), scopeOf(plan), update, BATCH_NORM.momentum);
    return { loss, accuracy: hits / labels.length };
  }

  /**
   * Loss and every gradient of a batch by the tensor's name, without a step.
   * @param seed decides the dropout masks; null leaves dropout out
   */
  async differentiate(
    batch: Batch,
    plan: StepPlan,
    seed: number | null,
  ): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
    const names = this.#trained(plan);
    if (this.#own) {
      const { loss, flat } = await this.#own.gradients(lessonOf(batch, plan, seed), scopeOf(plan));
      const own = names.map((name) => {
        const { offset, size } = this.#tensor(name);
        return [name, flat.subarray(offset, offset + size)] as const;
      });
      return { loss, gradients: new Map(own) };
    }
    const { loss, logits, gradients } = this.#gradients(batch, plan, seed, () => undefined);
    const all = new Map<string, Float32Array>();
    for (const [name, gradient] of gradients) all.set(name, await gradient.data<"float32">());
    const value = (await loss.data())[0] ?? NaN;
    tf.dispose([loss, logits, ...gradients.values()]);
    return { loss: value, gradients: all };
  }

  /** What the optimizer remembers, as flat vectors, to be kept with the weights. */
  async getOptimizer(): Promise<OptimizerState> {
    const own = this.#own;
    if (own) {
      const first = this.#moments > 0 ? await own.getMoments("moments") : null;
      const second = this.#moments > 1 ? await own.getMoments("squares") : null;
      return { steps: this.#steps, first, second };
    }
    const flatten = async (moments: Map<string, tf.Tensor>): Promise<Float32Array<ArrayBuffer> | null> => {
      if (moments.size === 0) return null;
      const flat = new Float32Array(this.#summary.parameters);
      const { tensors } = this.#summary;
      for (const { name, offset } of tensors) {
        const moment = moments.get(name);
        if (moment) flat.set(await moment.data(), offset);
      }
      return flat;
    };
    return { steps: this.#steps, first: await flatten(this.#first), second: await flatten(this.#second) };
  }

  setOptimizer({ steps, first, second }: OptimizerState): void {
    this.#steps = steps;
    if (this.#own) {
      this.#moments = second ? 2 : first ? 1 : 0;
      if (first) this.#own.setMoments("moments", first);
      if (second) this.#own.setMoments("squares", second);
      return;
    }
    for (const [moments, flat] of [
      [this.#first, first],
      [this.#second, second],
    ] as const) {
      tf.dispose([...moments.values()]);
      moments.clear();
      if (!flat) continue;
      for (const tensor of this.#summary.tensors) if (tensor.trainable) moments.set(tensor.name, cut(flat, tensor));
    }
  }

  /**
   * Adds FedProx's proximal term `mu * (w - w_t)` (Li et al. 2020, arXiv 1812.06127, equation 2), clips the whole gradient g
   * to the norm c, `g * min(1, c / |g|)` (Pascanu et al. 2013, algorithm 1), and updates the weights:
   * SGD `w -= lr * g`; momentum `m = 0.9 m + g, w -= lr * m` (Polyak 1964, as PyTorch writes it); Adam (Kingma and Ba 2015,
   * algorithm 1, with its default constants). The gradients are used up.
   */
  #apply(gradients: Map<string, tf.Tensor>, { learningRate, optimizer, proximal, clipNorm }: StepPlan): void {
    this.#steps += 1;
    const anchor = proximal === 0 ? undefined : this.#anchor;
    if (optimizer === "sgd" && !anchor && canDescend()) {
      const norm = clipNorm > 0 ? Math.sqrt(squaredNorm(gradients.values())) : 0;
      const rate = learningRate * (clipNorm > 0 ? Math.min(1, clipNorm / (norm + 1e-12)) : 1);
      for (const [name, gradient] of gradients) {
        descend(this.#variable(name), gradient, rate);
        gradient.dispose();
      }
      this.#isDescended = true;
      return;
    }
    /** One tensor's, clipped by a factor for all of them: one after the other, so that only one is there twice. */
    const whole = (name: string, gradient: tf.Tensor): tf.Tensor => {
      if (!anchor) return gradient;
      const { offset, size, shape } = this.#tensor(name);
      const start = tf.tensor(anchor.subarray(offset, offset + size), [...shape]);
      return tf.add(gradient, tf.mul(tf.sub(this.#variable(name), start), proximal));
    };
    const shrink = (): tf.Tensor => {
      const squares = [...gradients].map(([name, gradient]) => tf.tidy(() => tf.sum(tf.square(whole(name, gradient)))));
      return tf.minimum(1, tf.div(clipNorm, tf.add(tf.sqrt(tf.addN(squares)), 1e-12)));
    };
    const factor = clipNorm > 0 ? tf.tidy(shrink) : null;
    for (const [name, gradient] of gradients) {
      tf.tidy(() => {
        const all = whole(name, gradient);
        const direction = this.#direction(name, factor ? tf.mul(all, factor) : all, optimizer);
        const variable = this.#variable(name);
        variable.assign(tf.sub(variable, tf.mul(direction, learningRate)));
      });
      gradient.dispose();
    }
    factor?.dispose();
  }

  #direction(name: string, gradient: tf.Tensor, optimizer: StepPlan["optimizer"]): tf.Tensor {
    if (optimizer === "sgd") return gradient;
    if (optimizer === "momentum") return follow(this.#first, name, gradient, 0.9, 1);
    const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];
    const mean = tf.div(follow(this.#first, name, gradient, beta1, 1 - beta1), 1 - beta1 ** this.#steps);
    const square = follow(this.#second, name, tf.square(gradient), beta2, 1 - beta2);
    return tf.div(mean, tf.add(tf.sqrt(tf.div(square, 1 - beta2 ** this.#steps)), epsilon));
  }

  /**
   * Loss, logits and every gradient of a batch by the tensor's name, to be disposed of by the caller. What is differentiated is
   * the mean cross-entropy of the labels, with their weights, and where there is a teacher
   * `T^2 * sum_i weight_i * H(softmax(teacher_i / T), softmax(logits_i / T))` (Hinton et al. 2015, arXiv 1503.02531, section 2;
   * Li and Hoiem 2016, arXiv 1606.09282, equation 2), and MOON's loss where there is a contrast. The loss that is returned is the first
   * alone.
   */
  #gradients(
    { x, labels, taught, contrast }: Batch,
    plan: StepPlan,
    seed: number | null,
    onStatistics: (norm: string, mean: tf.Tensor1D, variance: tf.Tensor1D) => void,
  ): { loss: tf.Scalar; logits: tf.Tensor2D; gradients: Map<string, tf.Tensor> } {
    this.#renewMultiplied();
    const { layers, labelWeights, batchNorm } = plan;
    const names = this.#trained(plan);
    const activations = new Activations();
    const block = (input: tf.Tensor4D, conv: Of<"conv2d">, norm: Of<"batchNorm">): tf.Tensor4D => {
      if (layers === "head") return this.#still(input, conv, norm);
      const place = { padding: conv.padding, isInput: input === x, activations };
      if (batchNorm === "frozen") {
        const active = convRelu(input, this.#filter(conv), place);
        const { scale, shift } = normConstants(this.#convParameters(conv, norm), ...this.#statistics(norm));
        return scaleShift(active, scale, shift, activations);
      }
      return convReluNorm(input, this.#convParameters(conv, norm), place, (mean, variance) => {
        onStatistics(norm.name, mean, variance);
        tf.dispose([mean, variance]);
      });
    };
    let logits: tf.Tensor2D | undefined;
    let loss: tf.Scalar | undefined;
    const differentiate = () =>
      tf.variableGrads(
        () => {
          const contrasts: tf.Scalar[] = [];
          const compare = (z: tf.Tensor2D, to: Contrast): void => {
            contrasts.push(tf.mul(contrastiveLoss(tf.slice(z, [0, 0], [labels.length, -1]), to), to.weight));
          };
          const output = this.#forward(x, block, { seed, activations }, contrast && ((z) => compare(z, contrast)));
          logits = tf.keep(output.clone());
          const labelled = tf.slice(output, [0, 0], [labels.length, -1]);
          const truth = tf.oneHot(tf.tensor1d(labels, "int32"), output.shape[1]);
          const losses = tf.losses.softmaxCrossEntropy(truth, labelled, undefined, 0, tf.Reduction.NONE);
          const weights = Float32Array.from(labels, (label) => labelWeights?.[label] ?? 1);
          const own = tf.mean<tf.Scalar>(tf.mul(losses, tf.tensor1d(weights)));
          loss = tf.keep(own.clone());
          const all = contrasts.reduce((sum, one) => tf.add<tf.Scalar>(sum, one), own);
          if (!taught) return all;
          const soft = tf.softmax(tf.div(taught.logits, TEMPERATURE));
          const softened = tf.div<tf.Tensor2D>(output, TEMPERATURE);
          const apart = tf.losses.softmaxCrossEntropy(soft, softened, undefined, 0, tf.Reduction.NONE);
          return tf.add<tf.Scalar>(all, tf.mul(tf.sum(tf.mul(apart, taught.weights)), TEMPERATURE ** 2));
        },
        names.map((name) => this.#variable(name)),
      );
    try {
      const { value, grads } = differentiate();
      value.dispose();
      const gradients = new Map(names.map((name) => [name, grads[this.#variable(name).name] as tf.Tensor]));
      return { loss: loss as unknown as tf.Scalar, logits: logits as unknown as tf.Tensor2D, gradients };
    } finally {
      activations.dispose();
    }
  }

  /** Names of the tensors that a plan trains. */
  #trained({ layers, batchNorm }: StepPlan): string[] {
    const head = new Set(this.spec.layers.filter(({ kind }) => kind === "dense").map(({ name }) => name));
    const norms = new Set(this.spec.layers.filter(({ kind }) => kind === "batchNorm").map(({ name }) => name));
    return this.#summary.tensors
      .filter(({ trainable }) => trainable)
      .map(({ name }) => name)
      .filter((name) => {
        const layer = name.split("/")[0] ?? "";
        return (layers === "all" || head.has(layer)) && (batchNorm !== "frozen" || !norms.has(layer));
      });
  }

  dispose(): void {
    this.#plain?.dispose();
    this.#plain = undefined;
    this.#own?.dispose();
    if (this.#own) return;
    this.#forgetFolded();
    this.setOptimizer({ steps: 0, first: null, second: null });
    for (const variable of this.#variables.values()) variable.dispose();
    this.#variables.clear();
  }

  /**
   * Runs the layers in order to the logits; `block` runs a convolution together with a normalization that follows.
   * @param onRepresentation is given what goes into the last layer, which is freed after it
   */
  #forward(
    input: tf.Tensor4D,
    block: (x: tf.Tensor4D, conv: Of<"conv2d">, norm: Of<"batchNorm">) => tf.Tensor4D,
    training: { seed: number | null; activations: Activations } | null = null,
    onRepresentation?: (z: tf.Tensor2D) => void,
  ): tf.Tensor2D {
    const { layers } = this.spec;
    const { seed = null, activations = null } = training ?? {};
    let x: tf.Tensor = input;
    const first = layers.find(({ kind }) => kind === "conv2d" || kind === "dense");
    layers.forEach((layer, i) => {
      const before = x;
      if (i === layers.length - 1) onRepresentation?.(x as tf.Tensor2D);
      switch (layer.kind) {
        case "conv2d": {
          const norm = layers[i + 1];
          if (norm?.kind === "batchNorm") x = block(x as tf.Tensor4D, layer, norm);
          else {
            const place = { padding: layer.padding, isInput: layer === first, activations };
            x = convRelu(x as tf.Tensor4D, this.#filter(layer), place);
          }
          break;
        }
        case "batchNorm":
          break; // Done with the convolution before it.
        case "maxPool":
          x = maxPool(x as tf.Tensor4D, layer.window);
          break;
        case "flatten":
          x = tf.reshape(x, [x.shape[0], -1]);
          break;
        case "dropout":
          if (seed !== null) {
            x = dropout(x, layer.rate, (seed ^ Math.imul(i + 1, 0x85ebca6b)) >>> 0);
          }
          break;
        case "dense": {
          const kernel = this.#variable(`${layer.name}/kernel`) as tf.Tensor as tf.Tensor2D;
          const bias = this.#variable(`${layer.name}/bias`) as tf.Tensor as tf.Tensor1D;
          // The loss and predict take the softmax of the logits themselves.
          x =
            layer.activation === "relu"
              ? denseRelu(x as tf.Tensor2D, kernel, bias, layer === first)
              : tf.add(tf.matMul(x as tf.Tensor2D, kernel), bias);
          break;
        }
      }
      // What the gradient needs of it has been kept.
      if (x !== before && before !== input) before.dispose();
    });
    return x as tf.Tensor2D;
  }

  #filter({ name }: Of<"conv2d">): Pick<ConvParameters, "kernel" | "bias"> {
    return {
      kernel: this.#variable(`${name}/kernel`) as tf.Tensor as tf.Tensor4D,
      bias: this.#variable(`${name}/bias`) as tf.Tensor as tf.Tensor1D,
    };
  }

  #convParameters(conv: Of<"conv2d">, norm: Of<"batchNorm">): ConvParameters {
    return {
      ...this.#filter(conv),
      gamma: this.#variable(`${norm.name}/gamma`) as tf.Tensor as tf.Tensor1D,
      beta: this.#variable(`${norm.name}/beta`) as tf.Tensor as tf.Tensor1D,
    };
  }

  /** Moving mean and variance. */
  #statistics({ name }: Of<"batchNorm">): [tf.Tensor1D, tf.Tensor1D] {
    const role = (of: string): tf.Tensor1D => this.#variable(`${name}/${of}`) as tf.Tensor as tf.Tensor1D;
    return [role("moving_mean"), role("moving_variance")];
  }

  #follow(name: string, batch: tf.Tensor): void {
    const { momentum } = BATCH_NORM;
    const variable = this.#variable(name);
    tf.tidy(() => variable.assign(tf.add(tf.mul(variable, momentum), tf.mul(batch, 1 - momentum))));
  }

  #foldedBlock({ shape }: tf.Tensor4D, conv: Of<"conv2d">, norm: Of<"batchNorm">): FoldedBlock {
    let block = this.#folded.get(conv.name);
    if (!block) {
      block = foldBlock(this.#convParameters(conv, norm), ...this.#statistics(norm), { shape, padding: conv.padding });
      // They outlive the tidy around a prediction.
      for (const tensor of Object.values(block) as tf.Tensor[]) tf.keep(tensor);
      this.#folded.set(conv.name, block);
    }
    return block;
  }

  #forgetFolded(): void {
    for (const block of this.#folded.values()) tf.dispose(Object.values(block) as tf.Tensor[]);
    this.#folded.clear();
  }

  #tensor(name: string): TensorSpec {
    const tensor = this.#summary.tensors.find((one) => one.name === name);
    if (!tensor) throw new Error(`The model ${this.spec.name} has no tensor ${name}.`);
    return tensor;
  }

  #variable(name: string): tf.Variable {
    const variable = this.#variables.get(name);
    if (!variable) throw new Error(`The model ${this.spec.name} has no tensor ${name}.`);
    return variable;
  }
}

const ON_WASM = "Our kernels on WebGPU do not show what goes into the last layer: choose wasm.";

/** A batch as our kernels on WebGPU take it. @throws Error where there is a contrast */
function lessonOf({ x, labels, taught, contrast }: Batch, { labelWeights }: StepPlan, seed: number | null): Lesson {
  if (contrast) throw new Error(ON_WASM);
  const [n] = x.shape;
  return {
    image: x.dataSync<"float32">(),
    n,
    seed,
    labels,
    weightOf: (label) => (labelWeights?.[label] ?? 1) / labels.length,
    taught: taught && { logits: taught.logits.dataSync<"float32">(), weights: taught.weights.dataSync<"float32">() },
  };
}

const scopeOf = ({ layers, batchNorm }: StepPlan): Scope => ({
  isHeadOnly: layers === "head",
  isFrozen: batchNorm === "frozen",
});

/** A tensor's part of a flat vector. */
function cut(flat: Float32Array, { offset, size, shape }: TensorSpec): tf.Tensor {
  // WASM takes the numbers into its memory at once; other backends may go on reading what they are given.
  const end = offset + size;
  return tf.tensor(tf.getBackend() === "wasm" ? flat.subarray(offset, end) : flat.slice(offset, end), [...shape]);
}

/** Copies a tensor's numbers to their place in a flat vector. */
async function copyOut(tensor: tf.Tensor, flat: Float32Array, offset: number): Promise<void> {
  const here = onWasm();
  // Nothing may come between the view and its reading: memory that grows takes it away.
  if (here) flat.set(numbersIn(here, tensor), offset);
  else flat.set(await tensor.data<"float32">(), offset);
}

const isLargest = (row: readonly number[], place: number): boolean => row.indexOf(Math.max(...row)) === place;

/** A moment that follows a value: `moment = keep * moment + take * value`, from 0 on. Gives the new one. */
function follow(
  moments: Map<string, tf.Tensor>,
  name: string,
  value: tf.Tensor,
  keep: number,
  take: number,
): tf.Tensor {
  const old = moments.get(name);
  const scaled = tf.mul(value, take);
  const next = tf.keep(old ? tf.add(tf.mul(old, keep), scaled) : scaled);
  old?.dispose();
  moments.set(name, next);
  return next;
}

/** Turns levels 0..255 of N pictures into a network's input: N x height x width x channels, in 0..1 or normalized as its task has it. */
export function picturesToTensor(
  pixels: Uint8Array,
  spec: Pick<ModelSpec, "inputShape" | "normalization">,
): tf.Tensor4D {
  const [height, width, channels] = spec.inputShape;
  const shape: [number, number, number, number] = [
    pixels.length / (height * width * channels),
    height,
    width,
    channels,
  ];
  const here = onWasm();
  // Where the numbers are to lie: an array for each batch would be most of what a training of small networks leaves to be collected.
  const own = here && (emptyTensor(here, shape) as tf.Tensor4D);
  const values = here && own ? numbersIn(here, own) : new Float32Array(pixels.length);
  writeNumbers(pixels, values, spec);
  return own ?? tf.tensor4d(values, shape);
}
