import { seededRandom, shuffle } from "../../src/base/random";

/** The batches of one epoch: the indices of all `count` faces, shuffled by seed and epoch, in groups of `batchSize`. */
export function batchesOf(count: number, batchSize: number, seed: number, epoch: number): number[][] {
  const order = shuffle(
    Array.from({ length: count }, (_, i) => i),
    seededRandom((seed ^ Math.imul(epoch + 1, 0x9e3779b9)) >>> 0),
  );
  const batches: number[][] = [];
  for (let i = 0; i < count; i += batchSize) batches.push(order.slice(i, i + batchSize));
  return batches;
}
