import { BATCH_NORM } from "../../../src/model/model";
import { grid, GROUP_INDEX, type Kernel } from "./device";
import { partialSize, readChosen, sumBindings } from "./conv";
import { dropoutFactor } from "./dropout";
import { pixelsOf, type ConvLayer } from "./layout";

/** Batch normalization: its constants from partial sums over tiles of pixels, and its gradient. */

/** Threads of a workgroup that add up partial sums: so many for each vector of channels, of which there are {@link VECTORS}. */
const [LANES, VECTORS] = [64, 4];

/**
 * WGSL of `fn total(value: vec4f, local: vec3u) -> vec4f`: sums over the lanes, in the same order every time, for all of them.
 */
const TOTAL = `
var<workgroup> lanes: array<vec4f, ${LANES * VECTORS}>;
fn total(value: vec4f, local: vec3u) -> vec4f {
  let at = local.y * ${VECTORS}u + local.x;
  workgroupBarrier();
  lanes[at] = value;
  for (var half = ${LANES / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { lanes[at] += lanes[at + half * ${VECTORS}u]; }
  }
  workgroupBarrier();
  return lanes[local.x];
}`;

const ENTRY = `@compute @workgroup_size(${VECTORS}, ${LANES})
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * ${VECTORS}u + local.x;`;

const normOf = ({ name, norm }: ConvLayer): number => {
  if (norm === null) throw new Error(`${name} is not normalized.`);
  return norm;
};

/**
 * Constants of a batch's normalization from the sums of its tiles (merged as Chan, Golub and LeVeque 1983, equation 1.5), and
 * moving statistics that follow the batch's.
 * @param tileRows pixels of a tile
 */
export function batchConstants(layer: ConvLayer, tileRows: number): Kernel {
  const { O, constants, index } = layer;
  const [V, norm] = [O / 4, normOf(layer)];
  return {
    label: `batch constants ${index}`,
    bindings: [
      { name: "partials", type: "vec4f", buffer: "partials" },
      { name: "weights", type: "vec4f", isWritten: true, buffer: "weights" },
      { name: "constants", type: "vec4f", isWritten: true, buffer: "constants" },
    ],
    code: `${TOTAL}
${ENTRY}
  let pixels = step.n * ${pixelsOf(layer)}u; let tiles = (pixels + ${tileRows - 1}u) / ${tileRows}u;
  var sum = vec4f();
  if (c < ${V}u) { for (var t = local.y; t < tiles; t += ${LANES}u) { sum += partials[t * ${2 * V}u + c]; } }
  let mean = total(sum, local) / f32(pixels);
  var squares = vec4f();
  if (c < ${V}u) {
    for (var t = local.y; t < tiles; t += ${LANES}u) {
      let size = f32(min(${tileRows}u, pixels - t * ${tileRows}u));
      let apart = partials[t * ${2 * V}u + c] / size - mean;
      squares += partials[t * ${2 * V}u + ${V}u + c] + size * apart * apart;
    }
  }
  let variance = total(squares, local) / f32(pixels);
  if (c < ${V}u && local.y == 0u) {
    let gamma = weights[${norm / 4}u + c]; let beta = weights[${norm / 4 + V}u + c];
    let deviation = 1.0 / sqrt(variance + ${BATCH_NORM.epsilon});
    constants[${constants / 4}u + c] = gamma * deviation;
    constants[${constants / 4 + V}u + c] = beta - mean * gamma * deviation;
    constants[${constants / 4 + 2 * V}u + c] = mean;
    constants[${constants / 4 + 3 * V}u + c] = deviation;
    let place = ${norm / 4 + 2 * V}u + c;
    if (step.momentum < 1.0) {
      weights[place] = weights[place] * step.momentum + mean * (1.0 - step.momentum);
      weights[place + ${V}u] = weights[place + ${V}u] * step.momentum + variance * (1.0 - step.momentum);
    }
  }
}`,
    groups: () => [Math.ceil(V / VECTORS)],
    cost: (n) => ({ read: 4 * (partialSize(n * pixelsOf(layer), O, tileRows) + 4 * O), written: 24 * O, flop: 0 }),
  };
}

/** Constants of normalization with the moving statistics. */
export function movingConstants(layer: ConvLayer): Kernel {
  const { O, constants, index } = layer;
  const [V, norm] = [O / 4, normOf(layer)];
  return {
    label: `moving constants ${index}`,
    bindings: [
      { name: "weights", type: "vec4f", buffer: "weights" },
      { name: "constants", type: "vec4f", isWritten: true, buffer: "constants" },
    ],
    code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x; if (c >= ${V}u) { return; }
  let place = ${norm / 4}u + c;
  let scale = weights[place] / sqrt(weights[place + ${3 * V}u] + ${BATCH_NORM.epsilon});
  constants[${constants / 4}u + c] = scale;
  constants[${constants / 4 + V}u + c] = weights[place + ${V}u] - weights[place + ${2 * V}u] * scale;
}`,
    groups: () => [Math.ceil(V / 64)],
    cost: () => ({ read: 16 * O, written: 8 * O, flop: 0 }),
  };
}

/**
 * Gradients of gamma and beta, and what the gradient of the normalized values takes off (Ioffe and Szegedy 2015, section 3), from sums
 * over tiles of the rows that the gradient came in.
 * @param source rows of the partial sums for each input, and in a tile
 * @param place of gamma's gradient in the buffer of gradients, which beta's follows
 */
export function normGradient(layer: ConvLayer, source: { rows: number; tileRows: number }, place: number): Kernel {
  const { O, constants, index } = layer;
  const [V, { rows, tileRows }] = [O / 4, source];
  return {
    label: `norm gradient ${index}`,
    bindings: [
      { name: "partials", type: "vec4f", buffer: "partials" },
      { name: "constants", type: "vec4f", isWritten: true, buffer: "constants" },
      { name: "gradients", type: "vec4f", isWritten: true, buffer: "gradients" },
    ],
    code: `${TOTAL}
${ENTRY}
  let pixels = f32(step.n * ${pixelsOf(layer)}u); let tiles = (step.n * ${rows}u + ${tileRows - 1}u) / ${tileRows}u;
  var own = vec4f(); var apart = vec4f();
  if (c < ${V}u) {
    for (var t = local.y; t < tiles; t += ${LANES}u) {
      own += partials[t * ${2 * V}u + c];
      apart += partials[t * ${2 * V}u + ${V}u + c];
    }
  }
  let sum = total(own, local);
  let slope = total(apart, local);
  if (c < ${V}u && local.y == 0u) {
    let deviation = constants[${constants / 4 + 3 * V}u + c];
    gradients[${place / 4}u + c] = slope * deviation;
    gradients[${place / 4 + V}u + c] = sum;
    constants[${constants / 4 + 4 * V}u + c] = sum / pixels;
    constants[${constants / 4 + 5 * V}u + c] = slope * deviation * deviation / pixels;
  }
}`,
    groups: () => [Math.ceil(V / VECTORS)],
    cost: (n) => ({ read: 4 * (partialSize(n * rows, O, tileRows) + O), written: 16 * O, flop: 0 }),
  };
}

/**
 * `dz`, the gradient before ReLU, from `dy`, that of the normalized values, or of what pooling chose of them.
 * @param norm whether normalization followed the batch, stood still, or is not there
 */
export function reluGradient(layer: ConvLayer, norm: "batch" | "still" | "none"): Kernel {
  const { O, OH, OW, constants, index, pool } = layer;
  const V = O / 4;
  const at = (place: number): string => `constants[${constants / 4 + place * V}u + c]`;
  const slope = {
    batch: `${at(0)} * (d - ${at(4)} - (a - ${at(2)}) * ${at(5)})`,
    still: `${at(0)} * d`,
    none: "d",
  };
  /** Sums what comes back from every window that a pixel lies in and was chosen by. */
  const gather = pool
    ? `
fn back(p: u32, c: u32) -> vec4f {
  let n = p / ${OH * OW}u; let y = (p / ${OW}u) % ${OH}u; let x = p % ${OW}u;
  var sum = vec4f();
  for (var row = (max(y, ${pool.window - 1}u) - ${pool.window - 1}u + 1u) / 2u; row <= min(y / 2u, ${pool.H - 1}u); row++) {
    for (var column = (max(x, ${pool.window - 1}u) - ${pool.window - 1}u + 1u) / 2u; column <= min(x / 2u, ${pool.W - 1}u); column++) {
      let tap = (y - row * 2u) * ${pool.window}u + x - column * 2u;
      let place = ((n * ${pool.H}u + row) * ${pool.W}u + column) * ${V}u + c;
      let four = (vec4u(taps[place]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
      sum += select(vec4f(), dy[place], four == vec4u(tap));
    }
  }
  return sum;
}`
    : "";
  return {
    label: `relu gradient ${index}`,
    bindings: [
      { name: "dy", type: "vec4f", buffer: "dy" },
      { name: "relu", type: "vec4f", buffer: `active${index}` },
      { name: "dz", type: "vec4f", isWritten: true, buffer: "dz" },
      ...(pool ? [{ name: "taps", type: "u32", buffer: `taps${index}` } as const] : []),
      ...(norm === "none" ? [] : [{ name: "constants", type: "vec4f", buffer: "constants" } as const]),
    ],
    code: `${gather}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let i = ${GROUP_INDEX} * 256u + local;
  if (i >= step.n * ${OH * OW * V}u) { return; }
  let c = i % ${V}u;
  let a = relu[i];
  let d = ${pool ? `back(i / ${V}u, c)` : "dy[i]"};
  dz[i] = select(vec4f(), ${slope[norm]}, a > vec4f());
}`,
    groups: (n) => grid(Math.ceil((n * OH * OW * V) / 256)),
    cost: (n) => ({
      read: 4 * n * O * (OH * OW + (pool ? 1.25 * pool.H * pool.W : OH * OW)),
      written: 4 * n * OH * OW * O,
      flop: 0,
    }),
  };
}

/** Rows of the tiles that {@link featureGradient} sums over. */
export const FEATURE_ROWS = 64;

/**
 * What the dense layers send back to the last pooled features, through their dropout, in place; with the sums that the gradient of
 * the normalization before it needs where `sums`.
 */
export function featureGradient(layer: ConvLayer, sums: boolean): Kernel {
  const { O, constants, pool } = layer;
  if (!pool) throw new Error(`${layer.name} is not pooled.`);
  const V = O / 4;
  const rows = pool.H * pool.W;
  return {
    label: "feature gradient",
    bindings: [{ name: "dy", type: "vec4f", isWritten: true, buffer: "dy" }, ...(sums ? sumBindings(layer) : [])],
    code: `${dropoutFactor(pool.dropout)}${sums ? readChosen(layer) : ""}
var<workgroup> lanes: array<vec4f, 256>;
fn total(value: vec4f, local: vec3u) -> vec4f {
  workgroupBarrier();
  lanes[local.y * 16u + local.x] = value;
  workgroupBarrier();
  var sum = vec4f();
  for (var y = 0u; y < 16u; y++) { sum += lanes[y * 16u + local.x]; }
  return sum;
}
@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.y * 16u + local.x;
  var s = vec4f(); var q = vec4f();
  for (var r = local.y; r < ${FEATURE_ROWS}u; r += 16u) {
    let p = group.x * ${FEATURE_ROWS}u + r;
    if (p < step.n * ${rows}u && c < ${V}u) {
      let d = dy[p * ${V}u + c]${pool.dropout ? ` * factors((p * ${V}u + c) * 4u)` : ""};
      dy[p * ${V}u + c] = d;
      ${sums ? `s += d; q += d * (chosen(p, c * 4u) - constants[${constants / 4 + 2 * V}u + c]);` : ""}
    }
  }
  ${
    sums
      ? `let sum = total(s, local); let slope = total(q, local);
  if (local.y == 0u && c < ${V}u) {
    partials[group.x * ${2 * V}u + c] = sum;
    partials[group.x * ${2 * V}u + ${V}u + c] = slope;
  }`
      : ""
  }
}`,
    groups: (n) => [Math.ceil((n * rows) / FEATURE_ROWS), Math.ceil(V / 16)],
    cost: (n) => ({
      read: 4 * n * rows * O * (sums ? 2.25 : 1),
      written: 4 * (n * rows * O + (sums ? partialSize(n * rows, O, FEATURE_ROWS) : 0)),
      flop: 0,
    }),
  };
}

/** Max pooling of the normalized values, with dropout; `taps` remembers which of each window was the first largest. */
export function maxPool(layer: ConvLayer): Kernel {
  const { O, OH, OW, constants, index, norm, pool } = layer;
  if (!pool) throw new Error(`${layer.name} is not pooled.`);
  const V = O / 4;
  const { window, H, W } = pool;
  return {
    label: `pool ${index}`,
    bindings: [
      { name: "relu", type: "vec4f", buffer: `active${index}` },
      { name: "pooled", type: "vec4f", isWritten: true, buffer: `pooled${index}` },
      { name: "taps", type: "u32", isWritten: true, buffer: `taps${index}` },
      ...(norm === null ? [] : [{ name: "constants", type: "vec4f", buffer: "constants" } as const]),
    ],
    code: `${dropoutFactor(pool.dropout)}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let i = ${GROUP_INDEX} * 256u + local;
  if (i >= step.n * ${H * W * V}u) { return; }
  let c = i % ${V}u; let p = i / ${V}u;
  let corner = ((p / ${H * W}u) * ${OH}u + (p / ${W}u) % ${H}u * 2u) * ${OW}u + (p % ${W}u) * 2u;
  ${norm === null ? "" : `let scale = constants[${constants / 4}u + c]; let shift = constants[${constants / 4 + V}u + c];`}
  var best = vec4f(); var chosen = vec4u();
  for (var tap = 0u; tap < ${window * window}u; tap++) {
    let value = relu[(corner + (tap / ${window}u) * ${OW}u + tap % ${window}u) * ${V}u + c]${norm === null ? "" : " * scale + shift"};
    let isMore = (value > best) | vec4<bool>(tap == 0u);
    best = select(best, value, isMore);
    chosen = select(chosen, vec4u(tap), isMore);
  }
  pooled[i] = best${pool.dropout ? " * factors(i * 4u)" : ""};
  taps[i] = chosen.x | (chosen.y << 8u) | (chosen.z << 16u) | (chosen.w << 24u);
}`,
    groups: (n) => grid(Math.ceil((n * H * W * V) / 256)),
    cost: (n) => ({ read: 4 * n * OH * OW * O, written: 5 * n * H * W * O, flop: 0 }),
  };
}
