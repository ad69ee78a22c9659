/**
 * Ways to compute with WebAssembly, best first: whether our kernels use fused multiply-add (relaxed SIMD), and whether they
 * run on every core or on one thread. Each is a build of kernels.c.
 */
export const RUNGS = ["relaxed", "simd", "relaxed-single", "simd-single"] as const;
export type Rung = (typeof RUNGS)[number];

export const isThreaded = (rung: Rung): boolean => !rung.endsWith("-single");

/** How WebAssembly was started, read off what really runs. */
export interface Started {
  rung: Rung;
  /** That were started and can take a share of each kernel. */
  threads: number;
  /** That do: fewer where those were faster. */
  active: number;
  /** From the first call to the first kernel's result, in milliseconds. */
  startMs: number;
}
