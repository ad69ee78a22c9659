import { grid, GROUP_INDEX, type Kernel } from "./device";
import { pixelsOf, type ConvLayer } from "./layout";
import type { Tile } from "./product";

/** The end of a step: gradients are summed over their parts, and an optimizer takes its step with all weights at once. */

/** A stretch of the flat weights whose gradient lies in parts. */
export interface Stretch {
  /** In the weights, and its length. */
  start: number;
  size: number;
  /** Of the first part in the buffer of gradients; the others follow. */
  place: number;
  parts: Parts;
}

/** Into how many parts a gradient is cut: the fewest that have at most {@link PART_PIXELS} pixels each, and not more than `most`. */
export interface Parts {
  most: number;
  /** Pixels of one input; 0 where there is one part. */
  pixels: number;
}
export const ONE_PART: Parts = { most: 1, pixels: 0 };

const PART_PIXELS = 128;
/** Workgroups that a filter's gradient is cut into, at least, by parts of the pixels. */
const FILTER_GROUPS = 512;
const MOST_PARTS = 64;

/** The parts of a filter's gradient: more where its tiles are few. */
export function filterParts(layer: ConvLayer, { rows, columns }: Tile): Parts {
  const tiles = Math.ceil((layer.S ** 2 * layer.I) / rows) * Math.ceil(layer.O / columns);
  return { most: Math.min(MOST_PARTS, Math.ceil(FILTER_GROUPS / tiles)), pixels: pixelsOf(layer) };
}

/** It follows from the batch alone, so that the same batch is summed in the same order whatever came before it. */
export const partsFor = ({ most, pixels }: Parts, n: number): number =>
  Math.max(1, Math.min(most, Math.ceil((n * pixels) / PART_PIXELS)));
/** The same in WGSL. */
export const wgslParts = (most: string, pixels: string): string =>
  `max(1u, min(${most}, (step.n * ${pixels} + ${PART_PIXELS - 1}u) / ${PART_PIXELS}u))`;

/** Weights of a workgroup. */
const BLOCK = 1024;
/** Numbers that say which weights a workgroup works on. */
const BLOCK_NUMBERS = 8;

/** Cuts stretches into the workgroups' blocks: start, size, place, most parts, how far apart they are, and pixels. */
export function blocksOf(stretches: readonly Stretch[]): Uint32Array<ArrayBuffer> {
  const blocks = stretches.flatMap(({ start, size, place, parts }) =>
    Array.from({ length: Math.ceil(size / BLOCK) }, (_, i) => {
      const from = i * BLOCK;
      return [start + from, Math.min(BLOCK, size - from), place + from, parts.most, size, parts.pixels, 0, 0];
    }),
  );
  return Uint32Array.from(blocks.flat());
}

export const blockCount = (stretches: readonly Stretch[]): number =>
  stretches.reduce((sum, { size }) => sum + Math.ceil(size / BLOCK), 0);

export interface UpdatePlan {
  optimizer: "sgd" | "momentum" | "adam";
  isProximal: boolean;
  isClipped: boolean;
}

const BLOCK_OF_GROUP = `let b = ${GROUP_INDEX};
  if (b >= BLOCKSu) { return; }
  let first = blocks[b * ${BLOCK_NUMBERS / 4}u]; let second = blocks[b * ${BLOCK_NUMBERS / 4}u + 1u];
  let parts = ${wgslParts("first.w", "second.y")};`;

const ENTRY = `@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32, @builtin(workgroup_id) group: vec3u) {`;

const SUM_PARTS = `var g = 0.0;
    for (var part = 0u; part < parts; part++) { g += gradients[first.z + part * second.x + i]; }`;

/** FedProx's term (Li et al. 2020, arXiv 1812.06127, equation 2). */
const proximal = (isProximal: boolean): string =>
  isProximal ? "g += step.proximal * (weights[first.x + i] - anchor[first.x + i]);" : "";

const anchorBinding = (isProximal: boolean): Kernel["bindings"] =>
  isProximal ? [{ name: "anchor", type: "f32", buffer: "anchor" }] : [];

/** One direction of each optimizer: see `Network`, which says where the formulas are from. */
const DIRECTIONS = {
  sgd: "let direction = g;",
  momentum: "let direction = 0.9 * moments[at] + g; moments[at] = direction;",
  adam: `let m = 0.9 * moments[at] + 0.1 * g; let v = 0.999 * squares[at] + 0.001 * g * g;
    moments[at] = m; squares[at] = v;
    let direction = m / step.firstCorrection / (sqrt(v / step.secondCorrection) + 1e-8);`,
};

const partsRead = (stretches: readonly Stretch[], n: number): number =>
  stretches.reduce((sum, { size, parts }) => sum + size * partsFor(parts, n), 0);
const weightsOf = (stretches: readonly Stretch[]): number => stretches.reduce((sum, { size }) => sum + size, 0);

/** Sums the parts into the flat gradient, adds FedProx's term, and leaves each workgroup's sum of squares for the clipping. */
export function sumGradients(stretches: readonly Stretch[], isProximal: boolean, label = "sum of gradients"): Kernel {
  const count = blockCount(stretches);
  return {
    label,
    bindings: [
      { name: "blocks", type: "vec4u", buffer: "blocks" },
      { name: "gradients", type: "f32", buffer: "gradients" },
      { name: "flat", type: "f32", isWritten: true, buffer: "gradient" },
      { name: "lengths", type: "f32", isWritten: true, buffer: "lengths" },
      ...(isProximal ? [{ name: "weights", type: "f32", buffer: "weights" } as const] : []),
      ...anchorBinding(isProximal),
    ],
    code: `var<workgroup> lanes: array<f32, 256>;
${ENTRY}
  ${BLOCK_OF_GROUP.replace("BLOCKS", String(count))}
  var square = 0.0;
  for (var i = t; i < first.y; i += 256u) {
    ${SUM_PARTS}
    ${proximal(isProximal)}
    flat[first.x + i] = g;
    square += g * g;
  }
  lanes[t] = square;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (t < half) { lanes[t] += lanes[t + half]; }
  }
  if (t == 0u) { lengths[b + 1u] = lanes[0]; }
}`,
    groups: () => grid(count),
    cost: (n) => ({
      read: 4 * (partsRead(stretches, n) + (isProximal ? 2 : 0) * weightsOf(stretches)),
      written: 4 * weightsOf(stretches),
      flop: partsRead(stretches, n),
    }),
  };
}

/** What clipping multiplies the gradient g by, `min(1, c / |g|)` (Pascanu et al. 2013, algorithm 1). */
export function clipFactor(stretches: readonly Stretch[]): Kernel {
  const count = blockCount(stretches);
  return {
    label: "clip factor",
    bindings: [{ name: "lengths", type: "f32", isWritten: true, buffer: "lengths" }],
    code: `var<workgroup> lanes: array<f32, 256>;
${ENTRY}
  var sum = 0.0;
  for (var i = t; i < ${count}u; i += 256u) { sum += lengths[i + 1u]; }
  lanes[t] = sum;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (t < half) { lanes[t] += lanes[t + half]; }
  }
  if (t == 0u) { lengths[0] = min(1.0, step.clipNorm / (sqrt(lanes[0]) + 1e-12)); }
}`,
    groups: () => [1],
    cost: () => ({ read: 4 * count, written: 4, flop: count }),
  };
}

/** The optimizer's step with every weight; without clipping it sums the parts of the gradient itself. */
export function takeStep(stretches: readonly Stretch[], { optimizer, isProximal, isClipped }: UpdatePlan): Kernel {
  const count = blockCount(stretches);
  const moments = { sgd: 0, momentum: 1, adam: 2 }[optimizer];
  return {
    label: `step of ${optimizer}`,
    bindings: [
      { name: "blocks", type: "vec4u", buffer: "blocks" },
      { name: "weights", type: "f32", isWritten: true, buffer: "weights" },
      ...(isClipped
        ? ([
            { name: "flat", type: "f32", buffer: "gradient" },
            { name: "lengths", type: "f32", buffer: "lengths" },
          ] as const)
        : ([{ name: "gradients", type: "f32", buffer: "gradients" }, ...anchorBinding(isProximal)] as const)),
      ...(moments > 0 ? [{ name: "moments", type: "f32", isWritten: true, buffer: "moments" } as const] : []),
      ...(moments > 1 ? [{ name: "squares", type: "f32", isWritten: true, buffer: "squares" } as const] : []),
    ],
    code: `${ENTRY}
  ${BLOCK_OF_GROUP.replace("BLOCKS", String(count))}
  for (var i = t; i < first.y; i += 256u) {
    let at = first.x + i;
    ${isClipped ? "let g = flat[at] * lengths[0];" : `${SUM_PARTS}\n    ${proximal(isProximal)}`}
    ${DIRECTIONS[optimizer]}
    weights[at] -= step.rate * direction;
  }
}`,
    groups: () => grid(count),
    cost: (n) => {
      const weights = weightsOf(stretches);
      return {
        read: 4 * ((isClipped ? weights : partsRead(stretches, n)) + weights * (1 + moments + (isProximal ? 1 : 0))),
        written: 4 * weights * (1 + moments),
        flop: partsRead(stretches, n),
      };
    },
  };
}
