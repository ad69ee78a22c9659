import { seededRandom } from "../../src/base/random";
import { MODELS, summarize } from "../../src/model/model";
import { Heap } from "../../workers/tf/kernels/heap";
import { instantiate, type Kernel } from "../../workers/tf/kernels/instance";
import kernels from "../../workers/tf/kernels/kernels-relaxed-single.wasm?url";
import { winogradConv, winogradFilterGradient, type Machine, type Plane } from "../../workers/tf/kernels/winograd";

/** A pass through one of the seed CNN's convolutions on one thread, directly and by Winograd's algorithm. */
export interface LayerPass {
  layer: string;
  pass: "forward" | "input gradient" | "filter gradient";
  directMs: number;
  winogradMs: number;
  /** Share of Winograd's time that goes to transforms. */
  transforms: number;
  /** Both count the products and sums of the direct convolution. */
  directGflops: number;
  winogradGflops: number;
  /** The norm of the error as a share of the result's, against float64, of the first picture. */
  directError: number;
  winogradError: number;
}

const REPEATS = 5;
const NOTHING = { bias: 0, relu: false, scale: 0, shift: 0 };

/** Kernels on one thread and the milliseconds that each has taken. */
async function startMachine(): Promise<{ machine: Machine; heap: Heap; spent: Map<Kernel, number> }> {
  const heap = new Heap();
  const stack = 65_536;
  const module = await WebAssembly.compileStreaming(fetch(kernels));
  const exports = instantiate(module, heap.memory, heap.allocate(stack) + stack);
  const spent = new Map<Kernel, number>();
  const machine: Machine = {
    threads: 1,
    run: (kernel, ...values) => {
      const begun = performance.now();
      exports[kernel](...values, 0, 1);
      spent.set(kernel, (spent.get(kernel) ?? 0) + performance.now() - begun);
    },
    sizeOf: (size, ...values) => exports[size](...values),
    withScratch: (sizes, work) => {
      const places = sizes.map((size) => heap.allocate(size * 4));
      work(...places);
      for (const place of places) heap.free(place);
    },
  };
  return { machine, heap, spent };
}

/** The least milliseconds of a few runs: others' work on the same processor only adds to it. */
function least(work: () => void): number {
  let best = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const begun = performance.now();
    work();
    best = Math.min(best, performance.now() - begun);
  }
  return best;
}

/** y, dx and dw of one picture in float64, by the definition. */
function exact({ H, W, I, O, pad }: Plane, x: Float32Array, w: Float32Array, dy: Float32Array): Float64Array[] {
  const [OH, OW] = [H + 2 * pad - 2, W + 2 * pad - 2];
  const [y, dx, dw] = [new Float64Array(OH * OW * O), new Float64Array(H * W * I), new Float64Array(9 * I * O)];
  for (let pixel = 0; pixel < OH * OW; pixel++) {
    for (let tap = 0; tap < 9; tap++) {
      const row = Math.floor(pixel / OW) + Math.floor(tap / 3) - pad;
      const column = (pixel % OW) + (tap % 3) - pad;
      if (row < 0 || row >= H || column < 0 || column >= W) continue;
      for (let i = 0; i < I; i++) {
        const at = (row * W + column) * I + i;
        const value = x[at] as number;
        let back = 0;
        for (let o = 0, k = pixel * O, j = (tap * I + i) * O; o < O; o++, j++, k++) {
          y[k] = (y[k] as number) + value * (w[j] as number);
          back += (dy[k] as number) * (w[j] as number);
          dw[j] = (dw[j] as number) + value * (dy[k] as number);
        }
        dx[at] = (dx[at] as number) + back;
      }
    }
  }
  return [y, dx, dw];
}

function error(found: Float32Array, expected: Float64Array): number {
  let [difference, whole] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += ((found[i] as number) - (expected[i] as number)) ** 2;
    whole += (expected[i] as number) ** 2;
  }
  return Math.sqrt(difference / whole);
}

/** Every convolution of the seed CNN but the first, whose one channel is no case for Winograd, over N pictures. */
export async function layers(N: number): Promise<LayerPass[]> {
  const { layers: specs } = MODELS.seed;
  const shapes = summarize(MODELS.seed).layers.map(({ outputShape }) => outputShape);
  const passes: LayerPass[] = [];
  for (const [at, layer] of specs.entries()) {
    const [H = 0, W = 0, I = 1] = shapes[at - 1] ?? [];
    if (layer.kind === "conv2d" && I > 1) {
      const plane = { N, H, W, I, O: layer.filters, S: 3, pad: layer.padding === "same" ? 1 : 0 };
      // Each in a memory of its own, which is free again after it.
      passes.push(...measure(layer.name, plane, await startMachine()));
    }
  }
  return passes;
}

function measure(
  layer: string,
  plane: Plane,
  { machine, heap, spent }: Awaited<ReturnType<typeof startMachine>>,
): LayerPass[] {
  const { N, H, W, I, O, pad } = plane;
  const [OH, OW] = [H + 2 * pad - 2, W + 2 * pad - 2];
  const random = seededRandom(48);
  const put = (length: number, draw?: () => number): number => {
    const place = heap.allocate(length * 4);
    const values = heap.floats(place, length);
    for (let i = 0; i < length; i++) values[i] = draw?.() ?? 0;
    return place;
  };
  const sizes = { x: N * H * W * I, w: 9 * I * O, y: N * OH * OW * O };
  // What a layer gets is some 1, give or take; what comes back has no sign of its own.
  const signed = (): number => random() * 2 - 1;
  const [x, w, dy] = [put(sizes.x, () => random() * 2), put(sizes.w, signed), put(sizes.y, signed)];
  const [y, dx, dw, zeros, packed] = [put(sizes.y), put(sizes.x), put(sizes.w), put(Math.max(I, O)), put(sizes.w)];
  const back = { N, H: OH, W: OW, I: O, O: I, S: 3, pad: 2 - pad };
  const one = [y, dx, dw];
  const lengths = [OH * OW * O, H * W * I, 9 * I * O];
  const begin = { x: heap.floats(x, H * W * I).slice(), w: heap.floats(w, sizes.w).slice() };
  const references = exact(plane, begin.x, begin.w, heap.floats(dy, OH * OW * O).slice());
  const direct = [
    (n: number) => {
      machine.run("pack", w, packed, 9 * I, O);
      machine.run("conv", x, packed, y, 0, 0, 0, 0, zeros, n, H, W, I, O, 3, pad);
    },
    (n: number) => {
      machine.run("packTurned", w, packed, 9, I, O);
      machine.run("conv", dy, packed, dx, 0, 0, 0, 0, zeros, n, OH, OW, O, I, 3, 2 - pad);
    },
    (n: number) => {
      machine.withScratch([machine.sizeOf("filterGradientScratch", n, H, W, O, 3, pad)], (scratch = 0) => {
        machine.run("filterGradient", x, dy, dw, scratch, 0, n, H, W, I, O, 3, pad);
      });
    },
  ];
  const winograd = [
    (n: number) => winogradConv(machine, { x, filter: { w, isTurned: false }, y }, { ...plane, N: n }, NOTHING),
    (n: number) => winogradConv(machine, { x: dy, filter: { w, isTurned: true }, y: dx }, { ...back, N: n }, NOTHING),
    (n: number) => winogradFilterGradient(machine, { x, dy, dw }, { ...plane, N: n }),
  ];
  return (["forward", "input gradient", "filter gradient"] as const).map((pass, k): LayerPass => {
    const run = { direct: direct[k] as (n: number) => void, winograd: winograd[k] as (n: number) => void };
    const errorOf = (work: (n: number) => void): number => {
      work(1);
      return error(heap.floats(one[k] as number, lengths[k] as number), references[k] as Float64Array);
    };
    const errors = { direct: errorOf(run.direct), winograd: errorOf(run.winograd) };
    const directMs = least(() => run.direct(N));
    const winogradMs = least(() => run.winograd(N));
    const gflop = (2 * N * OH * OW * 9 * I * O) / 1e6;
    return {
      layer,
      pass,
      directMs,
      winogradMs,
      transforms: transforms(pass, k === 1 ? back : plane, { machine, heap, spent }, run.winograd) / winogradMs,
      directGflops: gflop / directMs,
      winogradGflops: gflop / winogradMs,
      directError: errors.direct,
      winogradError: errors.winograd,
    };
  });
}

/** Milliseconds of a pass that go to transforms. */
function transforms(
  pass: LayerPass["pass"],
  { N, H, W, I, O, pad }: Plane,
  { machine, heap, spent }: Awaited<ReturnType<typeof startMachine>>,
  run: (n: number) => void,
): number {
  if (pass === "filter gradient") {
    const parts = ["winogradInput", "winogradOutputGradient", "winogradFilterGradient"] as const;
    const times = Array.from({ length: REPEATS }, () => {
      spent.clear();
      run(N);
      return parts.reduce((sum, kernel) => sum + (spent.get(kernel) ?? 0), 0);
    });
    return Math.min(...times);
  }
  // Those of an output are a part of the kernel that multiplies: what that takes with next to nothing to multiply, picture by picture.
  const few = 4;
  const [OH, OW] = [H + 2 * pad - 2, W + 2 * pad - 2];
  const tiles = Math.ceil(OH / 4) * Math.ceil(OW / 4);
  const sizes = [
    H * W * I,
    9 * I * O,
    machine.sizeOf("winogradFilterSize", I, O),
    machine.sizeOf("winogradSize", tiles, I),
    machine.sizeOf("winogradPanelsScratch", few) + (tiles + 4) * 288,
    OH * OW * O,
  ].map((size) => heap.allocate(size * 4));
  const [x = 0, w = 0, U = 0, V = 0, scratch = 0, y = 0] = sizes;
  const filter = least(() => machine.run("winogradFilter", w, U, I, O, 3, 0));
  const input = least(() => machine.run("winogradInput", x, V, 0, 1, H, W, I, 3, pad, 0, I, 0, tiles));
  const output = least(() =>
    machine.run("winogradPanels", V, 0, U, 0, y, 0, 0, 0, 0, scratch, 1, H, W, few, O, 3, pad),
  );
  for (const place of sizes) heap.free(place);
  return filter + N * (input + output);
}
