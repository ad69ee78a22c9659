import { BATCH_NORM, summarize, type LayerSpec, type ModelSpec } from "../../../src/model/model";
import { writeNumbers } from "../../../src/model/levels";
import { Heap } from "./heap";
import { instantiate, type Kernel } from "./instance";

type Of<K extends LayerSpec["kind"]> = Extract<LayerSpec, { kind: K }>;

/** Gives a tensor by its name, such as `block1_conv1/kernel`. Each is asked for once, in the order in which the model has them. */
export type WeightSource = (tensor: string) => Promise<Float32Array>;

/** A layer whose weights lie in the heap. */
interface Step {
  /** Numbers of a picture that go in, and that come out. */
  inputs: number;
  outputs: number;
  weights: number[];
  /** Takes N pictures' numbers from one place to another. */
  run: (N: number, from: number, to: number) => void;
}

/** Height, width and channels. */
type Shape = readonly [number, number, number];

/** Bytes of the kernels' stack. */
const STACK_BYTES = 65_536;
/** Output channels that `conv` makes at once. */
const PANEL = 8;
/** Bytes that the pictures that go through a block together take before and after its widest layer. */
const GROUP_BYTES = 1 << 23;

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * A model's inference by our kernels alone: one thread, no tfjs, and in memory no more than a block's weights (a block goes on to the
 * next pooling) and what goes in and comes out of it. It runs wherever there is WASM with SIMD, and with kernels that are not
 * relaxed it answers the same everywhere, bit for bit. Its memory never shrinks: keep one, for one inference after the other.
 */
export class Forward {
  readonly #heap = new Heap();
  readonly #run: (kernel: Kernel, ...values: number[]) => void;

  /** @param kernels kernels-simd-single.wasm, compiled */
  constructor(kernels: WebAssembly.Module) {
    const exports = instantiate(kernels, this.#heap.memory, this.#heap.allocate(STACK_BYTES) + STACK_BYTES);
    this.#run = (kernel, ...values) => exports[kernel](...values, 0, 1);
  }

  /** Bytes of memory that the largest inference so far has taken. */
  get bytes(): number {
    return this.#heap.size;
  }

  /**
   * What a model says of N pictures, with dropout off and batch normalization's moving statistics.
   * @param pixels grey levels 0..255 of the pictures, one after the other
   * @returns logits, one row of classes after the other
   * @throws RangeError where the model has a layer that the kernels do not take
   */
  async logits(model: ModelSpec, weights: WeightSource, pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    const { classes, layers } = summarize(model);
    const N = pixels.length / sizeOf(model.inputShape);
    let x = this.#heap.allocate(pixels.length * 4);
    let block: Step[] = [];
    const leave = (): void => {
      for (const pointer of [x, ...block.flatMap((step) => step.weights)]) this.#heap.free(pointer);
    };
    try {
      writeNumbers(pixels, this.#heap.floats(x, pixels.length), model);
      for (const [i, layer] of model.layers.entries()) {
        const shape = (layers[i - 1]?.outputShape ?? model.inputShape) as Shape;
        const next = model.layers[i + 1];
        if (layer.kind === "conv2d") {
          block.push(await this.#conv(shape, layer, next?.kind === "batchNorm" ? next : null, weights));
        } else if (layer.kind === "dense") block.push(await this.#dense(sizeOf(shape), layer, weights));
        else if (layer.kind === "maxPool") block.push(this.#pool(shape, layer));
        // Dropout does nothing here, a normalization is done with the convolution before it, and numbers lie flat as they are.
        if (block.length === 0 || (layer.kind !== "maxPool" && next)) continue;
        const y = this.#through(N, x, block);
        leave();
        [x, block] = [y, []];
      }
      return this.#heap.floats(x, N * classes).slice();
    } finally {
      leave();
    }
  }

  /** Takes N pictures' numbers through a block, in groups, to a new place. */
  #through(N: number, x: number, block: readonly Step[]): number {
    const widest = Math.max(...block.map(({ inputs, outputs }) => inputs + outputs));
    const group = Math.max(1, Math.floor(GROUP_BYTES / (4 * widest)));
    const [first, last] = [block[0], block.at(-1)] as [Step, Step];
    const y = this.#heap.allocate(N * last.outputs * 4);
    for (let n = 0; n < N; n += group) {
      const count = Math.min(group, N - n);
      let from = x + n * first.inputs * 4;
      for (const step of block) {
        const to = step === last ? y + n * last.outputs * 4 : this.#heap.allocate(count * step.outputs * 4);
        step.run(count, from, to);
        if (step !== first) this.#heap.free(from);
        from = to;
      }
    }
    return y;
  }

  /** `relu(conv2d(x, kernel) + bias)`, and then `* scale + shift` where a normalization follows. */
  async #conv(
    [H, W, I]: Shape,
    { name, size, filters: O, padding }: Of<"conv2d">,
    norm: Of<"batchNorm"> | null,
    weights: WeightSource,
  ): Promise<Step> {
    if (O % PANEL !== 0) throw new RangeError(`${name} has ${O} filters, which is no multiple of ${PANEL}.`);
    const pad = padding === "same" ? (size - 1) / 2 : 0;
    const [height, width] = [H + 2 * pad - size + 1, W + 2 * pad - size + 1];
    // A single input channel: a matrix product over the neighbourhood of each pixel, in a multiple of four columns.
    const rows = I === 1 ? Math.ceil(size ** 2 / 4) * 4 : size ** 2 * I;
    const kernel = await weights(`${name}/kernel`);
    const bias = await weights(`${name}/bias`);
    const folded = norm && (await foldNorm(norm, weights));
    const [w, b, zeros] = [this.#pack(kernel, rows, O), this.#put(bias), this.#put(new Float32Array(I))];
    const constants = folded?.map((values) => this.#put(values)) ?? [];
    const [scale = 0, shift = 0] = constants;
    const run: Step["run"] = (N, from, to) => {
      if (I > 1) {
        this.#run("conv", from, w, to, b, 1, scale, shift, zeros, N, H, W, I, O, size, pad);
        return;
      }
      const near = this.#heap.allocate(N * height * width * rows * 4);
      this.#run("neighbours", from, near, N, H, W, size, rows, pad);
      this.#run("conv", near, w, to, b, 1, scale, shift, 0, N, height, width, rows, O, 1, 0);
      this.#heap.free(near);
    };
    return { inputs: H * W * I, outputs: height * width * O, weights: [w, b, zeros, ...constants], run };
  }

  #pool([H, W, C]: Shape, { name, window }: Of<"maxPool">): Step {
    if (C % 4 !== 0) throw new RangeError(`${name} pools ${C} channels, which is no multiple of 4.`);
    const outputs = (Math.floor((H - window) / 2) + 1) * (Math.floor((W - window) / 2) + 1) * C;
    const run: Step["run"] = (N, from, to) => {
      const taps = this.#heap.allocate(N * outputs);
      this.#run("maxPool", from, to, taps, N, H, W, C, window);
      this.#heap.free(taps);
    };
    return { inputs: H * W * C, outputs, weights: [], run };
  }

  async #dense(I: number, { name, units, activation }: Of<"dense">, weights: WeightSource): Promise<Step> {
    // The last layer's few classes are made to fill a panel, with columns of zeros that nobody reads.
    const O = Math.ceil(units / PANEL) * PANEL;
    const kernel = await weights(`${name}/kernel`);
    const bias = await weights(`${name}/bias`);
    const [w, b] = [this.#pack(widen(kernel, units, O), I, O), this.#put(widen(bias, units, O))];
    const relu = activation === "relu" ? 1 : 0;
    const run: Step["run"] = (N, from, to) => {
      const wide = O === units ? to : this.#heap.allocate(N * O * 4);
      this.#run("conv", from, w, wide, b, relu, 0, 0, 0, N, 1, 1, I, O, 1, 0);
      if (wide === to) return;
      const [rows, narrow] = [this.#heap.floats(wide, N * O), this.#heap.floats(to, N * units)];
      for (let n = 0; n < N; n++) narrow.set(rows.subarray(n * O, n * O + units), n * units);
      this.#heap.free(wide);
    };
    return { inputs: I, outputs: units, weights: [w, b], run };
  }

  /** A matrix of `rows` x `columns` as `conv` reads it; rows that `values` lacks are zero. */
  #pack(values: Float32Array, rows: number, columns: number): number {
    const plain = this.#heap.allocate(rows * columns * 4);
    const view = this.#heap.floats(plain, rows * columns);
    view.set(values);
    view.fill(0, values.length);
    const packed = this.#heap.allocate(rows * columns * 4);
    this.#run("pack", plain, packed, rows, columns);
    this.#heap.free(plain);
    return packed;
  }

  #put(values: Float32Array): number {
    const pointer = this.#heap.allocate(values.length * 4);
    this.#heap.floats(pointer, values.length).set(values);
    return pointer;
  }
}

/** Batch normalization with fixed statistics as `x * scale + shift` (Ioffe and Szegedy 2015, algorithm 2): scale and shift. */
async function foldNorm({ name }: Of<"batchNorm">, weights: WeightSource): Promise<[Float32Array, Float32Array]> {
  const gamma = await weights(`${name}/gamma`);
  const beta = await weights(`${name}/beta`);
  const mean = await weights(`${name}/moving_mean`);
  const variance = await weights(`${name}/moving_variance`);
  const scale = gamma.map((value, i) => value / Math.sqrt((variance[i] as number) + BATCH_NORM.epsilon));
  return [scale, beta.map((value, i) => value - (mean[i] as number) * (scale[i] as number))];
}

/** Rows of `from` numbers as rows of `to`, with zeros behind. */
function widen(values: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return values;
  const wide = new Float32Array((values.length / from) * to);
  for (let row = 0; row * from < values.length; row++) {
    wide.set(values.subarray(row * from, (row + 1) * from), row * to);
  }
  return wide;
}
