import type { Kernel, Size } from "./instance";

/**
 * Convolutions of 3 x 3 and 5 x 5, stride 1, by the kernels of winograd.c. They transform what they read block by block, so that no tensor
 * lies in memory transformed as a whole. How a convolution is divided follows from its shape alone: its bits do not depend on threads.
 */

/** What runs kernels. Places are addresses of float32 in its memory, 0 for none. */
export interface Machine {
  readonly threads: number;
  run: (kernel: Kernel, ...values: number[]) => void;
  sizeOf: (size: Size, ...values: number[]) => number;
  /** Does some work with buffers of so many float32 each, and frees them. */
  withScratch: (sizes: number[], work: (...places: number[]) => void) => void;
}

/** N pictures of H x W with I channels, and what a filter [S, S, I, O] makes of them with so many zeros around. */
export interface Plane {
  N: number;
  H: number;
  W: number;
  I: number;
  O: number;
  S: number;
  pad: number;
}

/** What becomes of a convolution's outputs: `* scale + shift` after `relu(+ bias)`. */
export interface After {
  bias: number;
  relu: boolean;
  scale: number;
  shift: number;
}

/** Outputs that a side of a tile has: six points less what the filter takes. */
const tileSide = (S: number): number => 7 - S;
/** With fewer tiles than this it costs more to transform the filter than is saved. Measured at 64 to 512 channels. */
const FEWEST_TILES = 8;
/** With no more tiles than this the threads share channels instead of tiles: as many as winogradPanels has room for. */
const FEW_TILES = 64;
/**
 * Float32 of the transformed inputs and outputs in the filter's gradient, as many as stay in the second-level cache, and of its sums before
 * they are transformed back.
 */
const [BLOCK, SUMS] = [2 ** 17, 36 * 256 * 256];

/** Tiles that cover the outputs of so many pictures. */
function tilesOf({ N, H, W, S, pad }: Omit<Plane, "I" | "O">): number {
  const [OH, OW] = [H + 2 * pad - S + 1, W + 2 * pad - S + 1];
  return N * Math.ceil(OH / tileSide(S)) * Math.ceil(OW / tileSide(S));
}

/** Whether a convolution is faster so: see the table in docs/architecture.md. I and O are multiples of 8. */
export const isWinograd = (plane: Omit<Plane, "I" | "O">): boolean =>
  (plane.S === 3 || plane.S === 5) && tilesOf(plane) >= FEWEST_TILES;

/**
 * y = conv2d(x, w), and what comes after.
 * @param filter where the filter lies: `w` [S, S, I, O], or turned by 180 degrees [S, S, O, I], or `U` as winogradFilter gives it
 */
export function winogradConv(
  machine: Machine,
  { x, filter, y }: { x: number; filter: { w: number; isTurned: boolean } | { U: number }; y: number },
  plane: Plane,
  { bias, relu, scale, shift }: After,
): void {
  const { N, H, W, I, O, S, pad } = plane;
  const { run, sizeOf, threads } = machine;
  const after = [bias, relu ? 1 : 0, scale, shift];
  const tiles = tilesOf(plane);
  const [w, turned, U] = "U" in filter ? [0, 0, filter.U] : [filter.w, filter.isTurned ? 1 : 0, 0];
  if (tiles <= FEW_TILES) {
    const sizes = [sizeOf("winogradSize", tiles, I), threads * sizeOf("winogradPanelsScratch", I)];
    machine.withScratch(sizes, (V = 0, scratch = 0) => {
      run("winogradInput", x, V, 0, N, H, W, I, S, pad, 0, I, 0, tiles);
      run("winogradPanels", V, w, U, turned, y, ...after, scratch, N, H, W, I, O, S, pad);
    });
    return;
  }
  const sizes = [U ? 0 : sizeOf("winogradFilterSize", I, O), threads * sizeOf("winogradConvScratch", I)];
  machine.withScratch(sizes, (own = 0, scratch = 0) => {
    if (!U) run("winogradFilter", w, own, I, O, S, turned);
    run("winogradConv", x, U || own, y, ...after, scratch, N, H, W, I, O, S, pad);
  });
}

/** dw [S, S, I, O] of a convolution from its input x and the gradient dy of its output. */
export function winogradFilterGradient(
  { run, sizeOf, withScratch }: Machine,
  { x, dy, dw }: { x: number; dy: number; dw: number },
  plane: Plane,
): void {
  const { N, H, W, I, O, S, pad } = plane;
  const tiles = tilesOf(plane);
  // A multiple of four, and at least one four of either.
  const channels = Math.min(I, Math.max(4, Math.floor(SUMS / (36 * O) / 4) * 4));
  const block = Math.min(tiles, Math.max(16, Math.floor(BLOCK / (36 * (channels + O)) / 4) * 4));
  const sizes = [sizeOf("winogradSize", block, channels), sizeOf("winogradSize", block, O), 36 * channels * O];
  withScratch(sizes, (V = 0, D = 0, sums = 0) => {
    for (let c = 0; c < I; c += channels) {
      const C = Math.min(channels, I - c);
      for (let from = 0; from < tiles; from += block) {
        const count = Math.min(block, tiles - from);
        run("winogradInput", x, V, 1, N, H, W, I, S, pad, c, C, from, count);
        // What fits into one block stays for all channels.
        if (c === 0 || block < tiles) {
          run("winogradOutputGradient", dy, D, N, H + 2 * pad - S + 1, W + 2 * pad - S + 1, O, S, from, count);
        }
        run("winogradProducts", V, D, sums, count, C, O, from > 0 ? 1 : 0);
      }
      run("winogradFilterGradient", sums, dw, I, O, S, c, C);
    }
  });
}
