import fc from "fast-check";
import { expect, test } from "vitest";
import { Heap } from "./heap";

test("buffers never overlap, keep what is in them, and leave no gap behind", () => {
  const step = fc.record({ bytes: fc.integer({ min: 0, max: 400_000 }), frees: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const heap = new Heap();
      const held: { start: number; numbers: number; mark: number }[] = [];
      const check = (): void => {
        for (const { start, numbers, mark } of held) {
          expect(start).toBeGreaterThan(0);
          expect(start % 16).toBe(0);
          expect(heap.floats(start, numbers).every((value) => value === mark)).toBe(true);
        }
      };
      steps.forEach(({ bytes, frees }, mark) => {
        const [start, numbers] = [heap.allocate(bytes), Math.floor(bytes / 4)];
        heap.floats(start, numbers).fill(mark);
        held.push({ start, numbers, mark });
        check();
        if (frees % 2 === 0) heap.free((held.splice(frees % held.length, 1)[0] as { start: number }).start);
      });
      check();
      for (const { start } of held) heap.free(start);
      // All of it is one gap again.
      const { size } = heap;
      heap.allocate(size - 16);
      expect(heap.size).toBe(size);
    }),
    { numRuns: 30 },
  );
});

test("what was not taken cannot be given back", () => {
  const heap = new Heap();
  const start = heap.allocate(8);
  expect(() => heap.free(start + 16)).toThrow(RangeError);
  heap.free(start);
  expect(() => heap.free(start)).toThrow(RangeError);
});
