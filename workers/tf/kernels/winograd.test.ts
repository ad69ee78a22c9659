import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../../src/base/random";
import { Heap } from "./heap";
import { instantiate } from "./instance";
import { winogradConv, winogradFilterGradient, type Machine, type Plane } from "./winograd";

// Node 20 reads the variants without relaxed SIMD.
const module = new WebAssembly.Module(readFileSync(join(import.meta.dirname, "kernels-simd-single.wasm")));
const STACK_BYTES = 65_536;

/** Runs the kernels' shares of so many threads one after the other. */
function machineOf(threads: number): { machine: Machine; heap: Heap } {
  const heap = new Heap();
  const exports = instantiate(module, heap.memory, heap.allocate(STACK_BYTES) + STACK_BYTES);
  const machine: Machine = {
    threads,
    run: (kernel, ...values) => {
      for (let t = 0; t < threads; t++) exports[kernel](...values, t, threads);
    },
    sizeOf: (size, ...values) => exports[size](...values),
    withScratch: (sizes, work) => {
      const places = sizes.map((size) => heap.allocate(size * 4));
      // What was left there by others may not matter.
      places.forEach((place, i) => heap.floats(place, sizes[i] ?? 0).fill(NaN));
      work(...places);
      for (const place of places) heap.free(place);
    },
  };
  return { machine, heap };
}

interface Tensors {
  /** N x H x W x I, S x S x I x O, N x OH x OW x O, and one of each of O channels. */
  x: Float32Array;
  w: Float32Array;
  dy: Float32Array;
  bias: Float32Array;
  scale: Float32Array;
  shift: Float32Array;
}

const outputOf = ({ H, W, S, pad }: Plane): [number, number] => [H + 2 * pad - S + 1, W + 2 * pad - S + 1];

function draw(plane: Plane, seed: number): Tensors {
  const { N, H, W, I, O, S } = plane;
  const [OH, OW] = outputOf(plane);
  const random = seededRandom(seed);
  const values = (length: number) => Float32Array.from({ length }, () => random() * 2 - 1);
  const [x, w, dy] = [values(N * H * W * I), values(S * S * I * O), values(N * OH * OW * O)];
  return { x, w, dy, bias: values(O), scale: values(O), shift: values(O) };
}

/** The convolution as it is defined, in float64: what `visit` is told of are all its products, by places in x, w and y. */
function products(plane: Plane, visit: (x: number, w: number, y: number) => void): void {
  const { N, H, W, I, O, S, pad } = plane;
  const [OH, OW] = outputOf(plane);
  for (let pixel = 0; pixel < N * OH * OW; pixel++) {
    const [n, oh, ow] = [Math.floor(pixel / (OH * OW)), Math.floor(pixel / OW) % OH, pixel % OW];
    for (let tap = 0; tap < S * S; tap++) {
      const [h, w] = [oh + Math.floor(tap / S) - pad, ow + (tap % S) - pad];
      if (h < 0 || h >= H || w < 0 || w >= W) continue;
      for (let i = 0; i < I; i++) {
        for (let o = 0; o < O; o++) visit(((n * H + h) * W + w) * I + i, (tap * I + i) * O + o, pixel * O + o);
      }
    }
  }
}

type Results = Record<"y" | "folded" | "transformed" | "dx" | "dw", Float64Array | Float32Array>;

function expected(plane: Plane, { x, w, dy, bias, scale, shift }: Tensors): Results {
  const sums = new Float64Array(dy.length);
  const [dx, dw] = [new Float64Array(x.length), new Float64Array(w.length)];
  products(plane, (i, j, k) => {
    sums[k] = (sums[k] as number) + (x[i] as number) * (w[j] as number);
    dx[i] = (dx[i] as number) + (dy[k] as number) * (w[j] as number);
    dw[j] = (dw[j] as number) + (dy[k] as number) * (x[i] as number);
  });
  const channel = (values: Float32Array, place: number): number => values[place % plane.O] as number;
  const active = (sum: number, place: number): number => Math.max(0, sum + channel(bias, place));
  const y = sums.map((sum, k) => active(sum, k) * channel(scale, k) + channel(shift, k));
  return { y, folded: y, transformed: sums, dx, dw };
}

function found(plane: Plane, tensors: Tensors, threads: number): Results {
  const { machine, heap } = machineOf(threads);
  const { N, I, O, S, pad } = plane;
  const [OH, OW] = outputOf(plane);
  const put = (values: Float32Array): number => {
    const place = heap.allocate(values.length * 4);
    heap.floats(place, values.length).set(values);
    return place;
  };
  const { x, w, dy, bias, scale, shift } = tensors;
  const places = { x: put(x), w: put(w), dy: put(dy), bias: put(bias), scale: put(scale), shift: put(shift) };
  const made = (length: number, make: (place: number) => void): Float32Array => {
    const place = put(new Float32Array(length).fill(NaN));
    make(place);
    return heap.floats(place, length).slice();
  };
  const filter = { w: places.w, isTurned: false };
  const U = heap.allocate(machine.sizeOf("winogradFilterSize", I, O) * 4);
  machine.run("winogradFilter", places.w, U, I, O, S, 0);
  const after = { bias: places.bias, relu: true, scale: places.scale, shift: places.shift };
  const nothing = { bias: 0, relu: false, scale: 0, shift: 0 };
  const turned = { w: places.w, isTurned: true };
  const back = { N, H: OH, W: OW, I: O, O: I, S, pad: S - 1 - pad };
  return {
    y: made(dy.length, (y) => winogradConv(machine, { x: places.x, filter, y }, plane, after)),
    folded: made(dy.length, (y) => winogradConv(machine, { x: places.x, filter: { U }, y }, plane, after)),
    transformed: made(dy.length, (y) => winogradConv(machine, { x: places.x, filter: { U }, y }, plane, nothing)),
    dx: made(x.length, (y) => winogradConv(machine, { x: places.dy, filter: turned, y }, back, nothing)),
    dw: made(w.length, (dw) => winogradFilterGradient(machine, { x: places.x, dy: places.dy, dw }, plane)),
  };
}

/** The norm of the difference as a share of what is expected. */
function error(of: ArrayLike<number>, reference: ArrayLike<number>): number {
  let [difference, whole] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    difference += ((of[i] as number) - (reference[i] as number)) ** 2;
    whole += (reference[i] as number) ** 2;
  }
  return Math.sqrt(difference / whole);
}

const NAMES = ["y", "folded", "transformed", "dx", "dw"] as const;

const planes = fc.record({
  N: fc.integer({ min: 1, max: 5 }),
  H: fc.integer({ min: 5, max: 15 }),
  W: fc.integer({ min: 5, max: 15 }),
  // dx has as many channels as x, and comes in panels of eight; dy's are read in eights.
  I: fc.constantFrom(8, 16, 24, 40),
  O: fc.constantFrom(8, 16, 24, 40),
  S: fc.constantFrom(3, 5),
  pad: fc.constantFrom(0, 1, 2),
});

test("Winograd's convolution and both gradients are those of the definition in float64, whatever the shape", () => {
  fc.assert(
    fc.property(planes, fc.nat(), (plane, seed) => {
      const tensors = draw(plane, seed);
      const [reference, results] = [expected(plane, tensors), found(plane, tensors, 1)];
      for (const name of NAMES) {
        expect(error(results[name], reference[name]), `${name} of ${JSON.stringify(plane)}`).toBeLessThan(2e-6);
      }
    }),
    {
      numRuns: 40,
      examples: [
        // One output, one tile; more tiles than threads share channels of.
        [{ N: 1, H: 3, W: 3, I: 8, O: 8, S: 3, pad: 0 }, 1],
        [{ N: 1, H: 5, W: 5, I: 8, O: 8, S: 5, pad: 0 }, 1],
        [{ N: 5, H: 15, W: 13, I: 8, O: 16, S: 3, pad: 1 }, 2],
        [{ N: 5, H: 15, W: 13, I: 8, O: 16, S: 5, pad: 2 }, 2],
      ],
    },
  );
});

test.each([3, 5])(
  "what does not fit into one block of the gradient of a filter of %i comes one block after the other",
  (S) => {
    const plane = { N: 3, H: 9, W: 8, I: 136, O: 512, S, pad: 1 };
    const tensors = draw(plane, 3);
    const dw = new Float64Array(tensors.w.length);
    products(plane, (i, j, k) => {
      dw[j] = (dw[j] as number) + (tensors.dy[k] as number) * (tensors.x[i] as number);
    });
    expect(error(found(plane, tensors, 1).dw, dw)).toBeLessThan(2e-6);
  },
);

test("the bits of a convolution and its gradients do not depend on the number of threads", () => {
  fc.assert(
    fc.property(planes, fc.integer({ min: 2, max: 7 }), fc.nat(), (plane, threads, seed) => {
      const tensors = draw(plane, seed);
      const [one, many] = [found(plane, tensors, 1), found(plane, tensors, threads)];
      for (const name of NAMES) expect(many[name], name).toEqual(one[name]);
    }),
    { numRuns: 20, examples: [[{ N: 5, H: 15, W: 15, I: 24, O: 8, S: 3, pad: 1 }, 3, 4]] },
  );
});
