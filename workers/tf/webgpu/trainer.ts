import { convFilterGradient, convForward, convInputGradient, partialSize } from "./conv";
import type { GradientHook } from "../../../src/federation/strategies/strategy";
import { answerSize, denseGradients, head, lessonSize } from "./dense";
import { Device, isPipelineError, type Kernel, type Parameters } from "./device";
import { featuresOf, pixelsOf, type ConvLayer, type Layout } from "./layout";
import {
  batchConstants,
  FEATURE_ROWS,
  featureGradient,
  maxPool,
  movingConstants,
  normGradient,
  reluGradient,
} from "./norm";
import { tune } from "./tune";
import { agree } from "./agreement";
import {
  defaultTiles,
  hasHalves,
  isPlain,
  LEAST_ROWS,
  lessAndLess,
  tileKey,
  type ProductName,
  type Tiles,
} from "./tiles";
import type { Tile } from "./product";
import {
  blockCount,
  blocksOf,
  clipFactor,
  filterParts,
  ONE_PART,
  sumGradients,
  takeStep,
  type Parts,
  type Stretch,
  type UpdatePlan,
} from "./update";

/** What is trained, and how batch normalization takes part. */
export interface Scope {
  isHeadOnly: boolean;
  /** Normalization stands still at its moving statistics. */
  isFrozen: boolean;
}

/** A batch as the kernels take it. */
export interface Lesson {
  /** Grey levels in 0..1 of n inputs. */
  image: Float32Array;
  n: number;
  /** Of the first inputs; those that follow have none. */
  labels: Uint8Array;
  /** How much a face of a label counts in the loss. */
  weightOf: (label: number) => number;
  /** What a teacher says of each input, and how much that counts. */
  taught?: { logits: Float32Array; weights: Float32Array } | undefined;
  /** Of the dropout masks; null leaves dropout out. */
  seed: number | null;
}

export interface Update extends UpdatePlan {
  rate: number;
  proximal: number;
  clipNorm: number;
  /** Adam's, of its first and second moment. */
  corrections: readonly [number, number];
  /** Changes the gradient before it is clipped and stepped by. */
  hook?: GradientHook | undefined;
}

/** What a step tells of each input. */
export interface Answers {
  loss: number;
  hits: number;
  /** N x classes, one row after the other. */
  logits: Float32Array<ArrayBuffer>;
}

/**
 * Which tiles a model takes.
 * @param find finds the fastest, in some seconds at most
 * @param settle takes back, of their variants, what does not agree with plain tiles on the step's batch
 */
export type ChooseTiles = (find: () => Promise<Tiles>, settle: (tiles: Tiles) => Promise<Tiles>) => Promise<Tiles>;

/** Milliseconds that are spent, once, on finding the tiles that are fastest, and on their variants. */
const TUNING_MS = 1_500;
/** Steps after which half precision has to agree again: gradients become smaller as a model learns. */
const SETTLED_STEPS = 128;

/** Of a step that changes nothing. */
export const PARAMETER_DEFAULTS: Parameters = {
  n: 0,
  seed: 0,
  isDropping: 0,
  taught: 0,
  momentum: 1,
  rate: 0,
  proximal: 0,
  clipNorm: 0,
  firstCorrection: 1,
  secondCorrection: 1,
};

/** A model on a WebGPU device, in our own kernels: what it says, and its steps of SGD. */
export class WebGpuTrainer {
  readonly device: Device;
  readonly #layout: Layout;
  #tiles: Tiles;
  #chooseTiles: ChooseTiles | undefined;
  #stepsSinceSettled = 0;
  #anchor: Float32Array | undefined;
  /** Inputs that the buffers hold. */
  #capacity = 0;
  #kernels = new Map<string, Kernel[]>();
  #blocksOf = "";
  #filterPlaces: { parts: Parts; place: number }[] = [];
  #normPlaces: number[] = [];
  #densePlaces: number[] = [];

  /** @param chooseTiles says before the first step which tiles it and those after it take */
  constructor(layout: Layout, gpu: GPUDevice, tiles = defaultTiles(layout), chooseTiles?: ChooseTiles) {
    this.#layout = layout;
    this.#tiles = tiles;
    this.#chooseTiles = chooseTiles;
    this.device = new Device(gpu);
    this.device.reserve("weights", layout.parameters);
    this.#placeGradients();
  }

  setWeights(flat: Float32Array): void {
    this.device.write("weights", flat);
  }

  getWeights(): Promise<Float32Array<ArrayBuffer>> {
    return this.device.read("weights", this.#layout.parameters);
  }

  setAnchor(flat: Float32Array): void {
    this.#anchor = flat;
    this.device.reserve("anchor", flat.length);
    this.device.write("anchor", flat);
  }

  /** An optimizer's moments, laid out like the weights. */
  setMoments(name: "moments" | "squares", flat: Float32Array | null): void {
    this.device.reserve(name, this.#layout.parameters);
    this.device.write(name, flat ?? new Float32Array(this.#layout.parameters));
  }

  getMoments(name: "moments" | "squares"): Promise<Float32Array<ArrayBuffer>> {
    return this.device.read(name, this.#layout.parameters);
  }

  /** Logits of n inputs, dropout off, with the moving statistics: a new buffer of n x classes numbers. */
  logits(image: Float32Array, n: number): GPUBuffer {
    const { gpu } = this.device;
    this.#reserve(n);
    this.device.write("image", image);
    this.device.setParameters({ ...PARAMETER_DEFAULTS, n });
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const logits = gpu.createBuffer({ label: "logits", size: n * this.#layout.classes * 4, usage });
    this.device.runTo(this.#predict(), n, "answers", logits);
    return logits;
  }

  /** Finds the tiles that are fastest on batches of n. */
  #findTiles(n: number): Promise<Tiles> {
    this.#reserve(n);
    this.#reserveTraining(n);
    this.device.setParameters({ ...PARAMETER_DEFAULTS, n });
    return tune(this.#layout, this.device, n, TUNING_MS);
  }

  /** The most of tiles' variants that agrees with plain tiles on a batch, loss and gradients: at least the plain tiles themselves. */
  async #settle(tiles: Tiles, lesson: Lesson, scope: Scope): Promise<Tiles> {
    if (isPlain(tiles)) return tiles;
    const choices = lessAndLess(tiles);
    const plain = choices.pop() ?? tiles;
    const compute = (choice: Tiles): ReturnType<WebGpuTrainer["gradients"]> => {
      this.#useTiles(choice);
      return this.gradients(lesson, scope);
    };
    const reference = await compute(plain);
    for (const choice of choices) {
      try {
        if (agree(await compute(choice), reference, this.#stretches(scope))) return choice;
      } catch (error) {
        if (!isPipelineError(error)) throw error;
      }
    }
    return plain;
  }

  /** Tiles before a step: chosen before the first, and settled again now and then where they are in half precision. */
  async #chooseFor(lesson: Lesson, scope: Scope): Promise<void> {
    if (scope.isHeadOnly) return;
    const settle = (tiles: Tiles): Promise<Tiles> => this.#settle(tiles, lesson, scope);
    const choose = this.#chooseTiles;
    if (choose) this.#useTiles(await choose(() => this.#findTiles(lesson.n), settle));
    else if (hasHalves(this.#tiles) && ++this.#stepsSinceSettled >= SETTLED_STEPS)
      this.#useTiles(await settle(this.#tiles));
    else return;
    this.#chooseTiles = undefined;
    this.#stepsSinceSettled = 0;
  }

  /** Which tiles it takes, by product. */
  get tiles(): Tiles {
    return this.#tiles;
  }

  #useTiles(tiles: Tiles): void {
    if (JSON.stringify(tiles) === JSON.stringify(this.#tiles)) return;
    this.#tiles = tiles;
    this.#kernels.clear();
    this.#blocksOf = "";
    this.#placeGradients();
  }

  /** One step: forward, backward, and the optimizer with all weights. Moving statistics follow the batch's with `momentum`. */
  async step(lesson: Lesson, scope: Scope, update: Update, momentum: number): Promise<Answers> {
    await this.#chooseFor(lesson, scope);
    if (update.hook) return this.#hookedStep(lesson, scope, update, momentum, update.hook);
    const key = JSON.stringify(["step", scope, update.optimizer, update.isProximal, update.isClipped]);
    const stretches = this.#stretches(scope);
    const kernels = this.#once(key, () => [
      ...this.#train(scope),
      ...(update.isClipped ? [sumGradients(stretches, update.isProximal), clipFactor(stretches)] : []),
      takeStep(stretches, update),
    ]);
    const [firstCorrection, secondCorrection] = update.corrections;
    const { rate, proximal, clipNorm } = update;
    const own = {
      momentum: scope.isFrozen ? 1 : momentum,
      rate,
      proximal,
      clipNorm,
      firstCorrection,
      secondCorrection,
    };
    return this.#runLesson(kernels, lesson, scope, own);
  }

  /** A step whose gradient comes out and goes back: a hook is a program of the processor's, as are FedProx and clipping after it. */
  async #hookedStep(
    lesson: Lesson,
    scope: Scope,
    { optimizer, isProximal, isClipped, rate, proximal, clipNorm, corrections }: Update,
    momentum: number,
    hook: GradientHook,
  ): Promise<Answers> {
    const stretches = this.#stretches(scope);
    const forward = this.#once(JSON.stringify(["gradients", scope]), () => [
      ...this.#train(scope),
      sumGradients(stretches, false),
    ]);
    const answers = await this.#runLesson(forward, lesson, scope, { momentum: scope.isFrozen ? 1 : momentum });
    const gradient = await this.device.read("gradient", this.#layout.parameters);
    const weights = await this.getWeights();
    hook(gradient, weights);
    const trained = new Float32Array(gradient.length);
    let square = 0;
    for (const { start, size } of stretches) {
      for (let i = start; i < start + size; i++) {
        const apart = isProximal ? (weights[i] ?? NaN) - (this.#anchor?.[i] ?? NaN) : 0;
        const g = (gradient[i] ?? NaN) + proximal * apart;
        trained[i] = g;
        square += g * g;
      }
    }
    this.device.write("gradient", trained);
    this.device.write("lengths", Float32Array.of(isClipped ? Math.min(1, clipNorm / (Math.sqrt(square) + 1e-12)) : 1));
    const [firstCorrection, secondCorrection] = corrections;
    this.device.setParameters({ ...PARAMETER_DEFAULTS, n: lesson.n, rate, firstCorrection, secondCorrection });
    const step = this.#once(JSON.stringify(["hooked", scope, optimizer]), () => [
      takeStep(stretches, { optimizer, isProximal: false, isClipped: true }),
    ]);
    await this.device.prepare(step);
    this.device.run(step, lesson.n);
    return answers;
  }

  /** Milliseconds of each kernel of a step of SGD on n inputs, with what it computes and moves; the weights are of no use afterwards. */
  async profile(n: number): Promise<{ kernel: string; ms: number; gigaflops: number; gigabytesPerSecond: number }[]> {
    const scope = { isHeadOnly: false, isFrozen: false };
    this.#reserve(n);
    this.#reserveTraining(n);
    this.#writeBlocks(scope);
    this.device.setParameters({ ...PARAMETER_DEFAULTS, n });
    const sgd = { optimizer: "sgd", isProximal: false, isClipped: false } as const;
    const rows = [];
    for (const kernel of [...this.#train(scope), takeStep(this.#stretches(scope), sgd)]) {
      const ms = await this.device.time(kernel, n, 4);
      const { read, written, flop } = kernel.cost(n);
      rows.push({
        kernel: kernel.label,
        ms,
        gigaflops: flop / ms / 1e6,
        gigabytesPerSecond: (read + written) / ms / 1e6,
      });
    }
    return rows;
  }

  /** Every gradient of a batch, laid out like the weights, and what the network said; nothing is changed. */
  async gradients(lesson: Lesson, scope: Scope): Promise<Answers & { flat: Float32Array<ArrayBuffer> }> {
    const kernels = this.#once(JSON.stringify(["gradients", scope]), () => [
      ...this.#train(scope),
      sumGradients(this.#stretches(scope), false),
    ]);
    const answers = await this.#runLesson(kernels, lesson, scope, {});
    return { ...answers, flat: await this.device.read("gradient", this.#layout.parameters) };
  }

  async #runLesson(
    kernels: readonly Kernel[],
    lesson: Lesson,
    scope: Scope,
    own: Partial<Parameters>,
  ): Promise<Answers> {
    const { image, n, taught, seed } = lesson;
    this.#reserve(n);
    this.#reserveTraining(n);
    this.#writeBlocks(scope);
    await this.device.prepare(kernels);
    this.device.write("image", image);
    this.device.write("lessons", this.#tell(lesson));
    const ofSeed = { seed: (seed ?? 0) >>> 0, isDropping: seed === null ? 0 : 1 };
    this.device.setParameters({ ...PARAMETER_DEFAULTS, n, ...ofSeed, taught: taught ? 1 : 0, ...own });
    const { classes } = this.#layout;
    const size = answerSize(this.#layout);
    const answers = await this.device.runAndRead(kernels, n, "answers", n * size);
    let [loss, hits] = [0, 0];
    const logits = new Float32Array(n * classes);
    for (let i = 0; i < n; i++) {
      loss += answers[i * size] ?? NaN;
      hits += answers[i * size + 1] ?? NaN;
      logits.set(answers.subarray(i * size + 2, (i + 1) * size), i * classes);
    }
    return { loss, hits, logits };
  }

  /** What a step is told of each input: label (-1 for none), its weight in the loss, the teacher's, and the teacher's logits. */
  #tell({ n, labels, weightOf, taught }: Lesson): Float32Array {
    const { classes } = this.#layout;
    const size = lessonSize(this.#layout);
    const told = new Float32Array(n * size);
    for (let i = 0; i < n; i++) {
      const label = labels[i];
      told.set(label === undefined ? [-1, 0] : [label, weightOf(label)], i * size);
      if (!taught) continue;
      told[i * size + 2] = taught.weights[i] ?? 0;
      told.set(taught.logits.subarray(i * classes, (i + 1) * classes), i * size + 3);
    }
    return told;
  }

  dispose(): void {
    this.device.dispose();
  }

  #tile(name: ProductName, layer: ConvLayer): Tile {
    const tile = this.#tiles[tileKey(name, layer)];
    if (!tile) throw new Error(`There is no tile for ${tileKey(name, layer)}.`);
    return tile;
  }

  #once(key: string, make: () => Kernel[]): Kernel[] {
    let kernels = this.#kernels.get(key);
    if (!kernels) this.#kernels.set(key, (kernels = make()));
    return kernels;
  }

  #predict(): Kernel[] {
    return this.#once("predict", () => [...this.#forward("still", { isExact: true }), head(this.#layout, "predict")]);
  }

  /**
   * The convolutions, up to the features.
   * @param isExact in single precision: half precision has agreed in training, with the batch's statistics
   */
  #forward(norm: "batch" | "still", { isExact = false } = {}): Kernel[] {
    const { convs } = this.#layout;
    return convs.flatMap((layer, i) => {
      const chosen = this.#tile("forward", layer);
      const tile = isExact ? { ...chosen, halves: false } : chosen;
      const isBatch = norm === "batch" && layer.norm !== null;
      const constants = isBatch
        ? [batchConstants(layer, tile.rows)]
        : layer.norm === null
          ? []
          : [movingConstants(layer)];
      return [convForward(layer, convs[i - 1], tile, isBatch), ...constants, ...(layer.pool ? [maxPool(layer)] : [])];
    });
  }

  /** Forward and backward, to the parts of every gradient. */
  #train(scope: Scope): Kernel[] {
    const { convs } = this.#layout;
    const isDeep = !scope.isHeadOnly && convs.length > 0;
    const isBatch = !scope.isHeadOnly && !scope.isFrozen;
    return [
      ...this.#forward(isBatch ? "batch" : "still"),
      head(this.#layout, isDeep ? "trainAll" : "train"),
      denseGradients(this.#layout, this.#densePlaces),
      ...(isDeep ? this.#backward(isBatch) : []),
    ];
  }

  #backward(isBatch: boolean): Kernel[] {
    const { convs } = this.#layout;
    const hasSums = ({ norm }: ConvLayer): boolean => isBatch && norm !== null;
    return convs.toReversed().flatMap((layer) => {
      const { index, pool, norm } = layer;
      const [before, after] = [convs[index - 1], convs[index + 1]];
      const isLast = !after && pool !== null;
      const source = after
        ? { rows: after.H * after.W, tileRows: this.#tile("input", after).rows }
        : { rows: featuresOf(this.#layout) / layer.O, tileRows: FEATURE_ROWS };
      const place = this.#filterPlaces[index] ?? { parts: ONE_PART, place: 0 };
      const sums = hasSums(layer);
      return [
        ...(isLast && (sums || pool.dropout) ? [featureGradient(layer, sums)] : []),
        ...(sums ? [normGradient(layer, source, this.#normPlaces[index] ?? 0)] : []),
        reluGradient(layer, norm === null ? "none" : isBatch ? "batch" : "still"),
        convFilterGradient(layer, before, this.#tile("filter", layer), place),
        ...(before ? [convInputGradient(layer, before, this.#tile("input", layer), hasSums(before))] : []),
      ];
    });
  }

  /** Gives every gradient, with all its parts, a place. */
  #placeGradients(): void {
    let end = 0;
    const take = (numbers: number): number => {
      const place = end;
      end += Math.ceil(numbers / 4) * 4;
      return place;
    };
    const { convs, dense } = this.#layout;
    this.#filterPlaces = convs.map((layer) => {
      const parts = filterParts(layer, this.#tile("filter", layer));
      return { parts, place: take(parts.most * (layer.S ** 2 * layer.I + 1) * layer.O) };
    });
    this.#normPlaces = convs.map(({ norm, O }) => (norm === null ? 0 : take(2 * O)));
    this.#densePlaces = dense.map(({ K, O }) => take((K + 1) * O));
    this.device.reserve("gradients", end);
  }

  #stretches({ isHeadOnly, isFrozen }: Scope): Stretch[] {
    const { convs, dense } = this.#layout;
    const ofHead = dense.map(({ weights, K, O }, i) => ({
      start: weights,
      size: (K + 1) * O,
      place: this.#densePlaces[i] ?? 0,
      parts: ONE_PART,
    }));
    if (isHeadOnly) return ofHead;
    const ofConvs = convs.flatMap(({ weights, S, I, O, norm, index }) => [
      { start: weights, size: (S * S * I + 1) * O, ...(this.#filterPlaces[index] ?? { place: 0, parts: ONE_PART }) },
      ...(norm === null || isFrozen
        ? []
        : [{ start: norm, size: 2 * O, place: this.#normPlaces[index] ?? 0, parts: ONE_PART }]),
    ]);
    return [...ofConvs, ...ofHead];
  }

  #writeBlocks(scope: Scope): void {
    const key = JSON.stringify(scope);
    if (this.#blocksOf === key) return;
    const stretches = this.#stretches(scope);
    const blocks = blocksOf(stretches);
    this.device.reserve("blocks", blocks.length);
    this.device.reserve("lengths", blockCount(stretches) + 1);
    this.device.write("blocks", blocks);
    // Places that this scope does not train have no gradient.
    this.device.reserve("gradient", this.#layout.parameters);
    this.device.write("gradient", new Float32Array(this.#layout.parameters));
    this.#blocksOf = key;
  }

  /** Makes room for n inputs. */
  #reserve(n: number): void {
    if (n <= this.#capacity) return;
    const { convs, constants, inputs, classes } = this.#layout;
    const { device } = this;
    device.reserve("image", n * inputs);
    device.reserve("constants", constants);
    device.reserve("answers", n * (classes + 2));
    for (const layer of convs) {
      device.reserve(`active${layer.index}`, n * pixelsOf(layer) * layer.O);
      if (!layer.pool) continue;
      const pooled = n * layer.pool.H * layer.pool.W * layer.O;
      device.reserve(`pooled${layer.index}`, pooled);
      device.reserve(`taps${layer.index}`, pooled / 4);
    }
    this.#capacity = n;
  }

  #reserveTraining(n: number): void {
    const { convs, hidden } = this.#layout;
    const { device } = this;
    device.reserve("lessons", n * lessonSize(this.#layout));
    device.reserve("hidden", n * 2 * hidden);
    const largest = (numbers: (layer: ConvLayer) => number): number => Math.max(0, ...convs.map(numbers));
    device.reserve(
      "dz",
      largest((layer) => n * pixelsOf(layer) * layer.O),
    );
    device.reserve(
      "dy",
      Math.max(
        n * featuresOf(this.#layout),
        largest(({ H, W, I }) => n * H * W * I),
      ),
    );
    const partials = convs.flatMap((layer) => {
      const { H, W, I, O, pool } = layer;
      const own = [partialSize(n * pixelsOf(layer), O, LEAST_ROWS)];
      own.push(partialSize(n * H * W, I, LEAST_ROWS));
      if (pool) own.push(partialSize(n * pool.H * pool.W, O, FEATURE_ROWS));
      return own;
    });
    device.reserve("partials", Math.max(0, ...partials));
  }
}
