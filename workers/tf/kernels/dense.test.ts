import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../../src/base/random";
import { Heap } from "./heap";
import { instantiate } from "./instance";

const module = new WebAssembly.Module(readFileSync(join(import.meta.dirname, "kernels-simd-single.wasm")));
const STACK_BYTES = 65_536;

interface Shape {
  N: number;
  I: number;
  O: number;
}

interface Tensors {
  /** N x I, I x O, O, and N x O. */
  x: Float32Array;
  w: Float32Array;
  b: Float32Array;
  dy: Float32Array;
}

function draw({ N, I, O }: Shape, seed: number): Tensors {
  const random = seededRandom(seed);
  const values = (length: number) => Float32Array.from({ length }, () => random() * 2 - 1);
  return { x: values(N * I), w: values(I * O), b: values(O), dy: values(N * O) };
}

/** What the kernels make of it, their shares run one after the other. */
function found({ N, I, O }: Shape, tensors: Tensors, threads: number) {
  const heap = new Heap();
  const exports = instantiate(module, heap.memory, heap.allocate(STACK_BYTES) + STACK_BYTES);
  const put = (values: Float32Array): number => {
    const place = heap.allocate(values.length * 4);
    heap.floats(place, values.length).set(values);
    return place;
  };
  // What was left there by others may not matter.
  const empty = (length: number): number => put(new Float32Array(length).fill(NaN));
  const [x, w, b, dy] = [put(tensors.x), put(tensors.w), put(tensors.b), put(tensors.dy)];
  const [y, dx, scratch] = [empty(N * O), empty(N * I), empty(exports.denseProductScratch() * threads)];
  for (let t = 0; t < threads; t++) {
    exports.denseProduct(x, w, b, y, 1, scratch, N, I, O, t, threads);
    exports.denseBackward(x, w, dy, dx, N, I, O, t, threads);
  }
  return { y: heap.floats(y, N * O).slice(), dx: heap.floats(dx, N * I).slice() };
}

const shapes = fc.record({
  N: fc.integer({ min: 1, max: 13 }),
  I: fc.integer({ min: 1, max: 20 }).map((n) => n * 8),
  O: fc.integer({ min: 1, max: 9 }).map((n) => n * 8),
});

test("a dense layer and the gradient of its input are those of the definition in float64, whatever the shape", () => {
  fc.assert(
    fc.property(shapes, fc.nat(), (shape, seed) => {
      const { N, I, O } = shape;
      const tensors = draw(shape, seed);
      const { x, w, b, dy } = tensors;
      const { y, dx } = found(shape, tensors, 1);
      for (let n = 0; n < N; n++) {
        for (let o = 0; o < O; o++) {
          let sum = b[o] as number;
          for (let i = 0; i < I; i++) sum += (x[n * I + i] as number) * (w[i * O + o] as number);
          expect(y[n * O + o]).toBeCloseTo(Math.max(0, sum), 4);
        }
        for (let i = 0; i < I; i++) {
          let sum = 0;
          for (let o = 0; o < O; o++) sum += (dy[n * O + o] as number) * (w[i * O + o] as number);
          // Where what went in is no more than 0, a ReLU before it was shut.
          expect(dx[n * I + i]).toBeCloseTo((x[n * I + i] as number) > 0 ? sum : 0, 4);
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("the bits of a dense layer and of its gradient do not depend on the number of threads", () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 2, max: 7 }), fc.nat(), (shape, threads, seed) => {
      const tensors = draw(shape, seed);
      expect(found(shape, tensors, threads)).toEqual(found(shape, tensors, 1));
    }),
    { numRuns: 30 },
  );
});
