import type { Kernel } from "./device";
import { dropoutFactor } from "./dropout";
import { pixelsOf, type ConvLayer } from "./layout";
import { partsFor, wgslParts, type Parts } from "./update";
import { enablesOf, product, type Finish, type Tile } from "./product";

/** Convolution with bias and ReLU, and its two gradients, each as one matrix product. */

/**
 * What gradients are multiplied by before they are kept in half precision: a batch's mean makes them small, 1e-8 in the first layers, and
 * none that a training survives comes near 16.
 */
const SLOPE_SCALE = 4096;

/** What a kernel is told of a convolution's input: the buffer, and how batch normalization is folded into its reading. */
interface Source {
  buffer: string;
  /** Of the scale, which the shift follows, among the constants; null where the buffer has the very values. */
  scale: number | null;
}

function sourceOf({ index }: ConvLayer, before: ConvLayer | undefined): Source {
  if (!before) return { buffer: "image", scale: null };
  if (before.pool) return { buffer: `pooled${index - 1}`, scale: null };
  return { buffer: `active${index - 1}`, scale: before.norm === null ? null : before.constants };
}

const lines = (n: number, line: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => line(i)).join("\n");

/**
 * WGSL of `fn pixels(n: i32, y: i32, x: i32, tap: u32, i: u32) -> vec4f`: four channels i.. of the input at a tap of the filter whose
 * corner lies at (y, x). Where the channels are no multiple of four, four numbers of the filter's window follow each other instead.
 */
function readInput({ H, W, I, S }: ConvLayer, { scale }: Source): string {
  // No branches: where a place lies outside, the first number is read and not used.
  const inside = `let isInside = (k < ${S * S * I}u) & (u32(y) < ${H}u) & (u32(x) < ${W}u);`;
  if (I % 4 !== 0) {
    return `
fn one(n: i32, top: i32, left: i32, k: u32) -> f32 {
  let tap = k / ${I}u; let y = top + i32(tap / ${S}u); let x = left + i32(tap % ${S}u);
  ${inside}
  return select(0.0, x0[select(0u, u32((n * ${H} + y) * ${W} + x) * ${I}u + k % ${I}u, isInside)], isInside);
}
fn window(n: i32, top: i32, left: i32, k: u32) -> vec4f {
  return vec4f(one(n, top, left, k), one(n, top, left, k + 1u), one(n, top, left, k + 2u), one(n, top, left, k + 3u));
}`;
  }
  const value = `x0[select(0u, u32((n * ${H} + y) * ${W} + x) * ${I / 4}u + i / 4u, isInside)]`;
  const normalized =
    scale === null ? value : `${value} * constants[${scale / 4}u + i / 4u] + constants[${(scale + I) / 4}u + i / 4u]`;
  return `
fn window(n: i32, top: i32, left: i32, k: u32) -> vec4f {
  let tap = k / ${I}u; let i = k % ${I}u; let y = top + i32(tap / ${S}u); let x = left + i32(tap % ${S}u);
  ${inside}
  return select(vec4f(), ${normalized}, isInside);
}`;
}

const inputBindings = ({ I }: ConvLayer, { buffer, scale }: Source): Kernel["bindings"] => [
  { name: "x0", type: I % 4 === 0 ? "vec4f" : "f32", buffer },
  ...(scale === null ? [] : [{ name: "constants", type: "vec4f", buffer: "constants" } as const]),
];

/** WGSL that finds input n, row and column of a picture's pixel `p`. */
const split = (height: number, width: number): string =>
  `let n = i32(p / ${height * width}u); let rest = p % ${height * width}u; let row = i32(rest / ${width}u); let column = i32(rest % ${width}u);`;

/**
 * `active = relu(conv2d(x, kernel) + bias)`.
 * @param moments whether each tile's column sums and sums of squares about their mean go to the partial sums
 */
export function convForward(layer: ConvLayer, before: ConvLayer | undefined, tile: Tile, moments: boolean): Kernel {
  const { H, W, I, OH, OW, O, S, pad, index, weights } = layer;
  const [K, source] = [S * S * I, sourceOf(layer, before)];
  const finish = ({ rows, vectors, value, row, column, sum }: Finish): string => `
    ${lines(vectors, (c) => `let column${c} = ${column(c)}; let bias${c} = weights[(${weights + K * O}u + column${c}) / 4u];`)}
    ${lines(rows, (r) =>
      lines(
        vectors,
        (c) => `${value(r, c)} = select(vec4f(), max(${value(r, c)} + bias${c}, vec4f()), ${row(r)} < total);
    if ((${row(r)} < total) & (column${c} < ${O}u)) { relu[(${row(r)} * ${O}u + column${c}) / 4u] = ${value(r, c)}; }`,
      ),
    )}
    ${moments ? tileMoments({ rows, vectors, value, row, column, sum }) : ""}`;
  const tileMoments = ({ rows, vectors, value, row, sum }: Finish): string => `
    let size = f32(min(${tile.rows}u, total - rowBase));
    ${lines(vectors, (c) => `var s_${c} = ${list(rows, (r) => value(r, c))};`)}
    ${sum("s", true)}
    ${lines(vectors, (c) => `let mean${c} = s_${c} / size; var q_${c} = vec4f();`)}
    ${lines(rows, (r) => `if (${row(r)} < total) { ${lines(vectors, (c) => `{ let d = ${value(r, c)} - mean${c}; q_${c} += d * d; }`)} }`)}
    ${sum("q")}
    ${storePartials(vectors, O)}`;
  return {
    label: `conv ${index}`,
    enables: enablesOf(tile),
    bindings: [
      ...inputBindings(layer, source),
      { name: "weights", type: "vec4f", buffer: "weights" },
      { name: "relu", type: "vec4f", isWritten: true, buffer: `active${index}` },
      ...(moments ? [{ name: "partials", type: "vec4f", isWritten: true, buffer: "partials" } as const] : []),
    ],
    code: product({
      tile,
      vectors: "depth",
      blocks: "vector",
      finish,
      range: `let total = step.n * ${OH * OW}u; let begin = 0u; let limit = ${K}u;`,
      declarations: `${readInput(layer, source)}
struct Place { n: i32, top: i32, left: i32 }
fn locate(p: u32) -> Place {
  ${split(OH, OW)}
  return Place(n, select(-${H + S}, row - ${pad}, p < step.n * ${OH * OW}u), column - ${pad});
}
fn loadA(place: Place, k: u32) -> vec4f { return window(place.n, place.top, place.left, k); }
fn loadB(k: u32, column: u32) -> vec4f {
  return select(vec4f(), weights[(${weights}u + k * ${O}u + column) / 4u], (k < ${K}u) & (column < ${O}u));
}`,
    }),
    groups: (n) => [Math.ceil((n * OH * OW) / tile.rows), Math.ceil(O / tile.columns)],
    cost: (n) => ({
      read: 4 * (n * H * W * I + (K + 1) * O + (source.scale === null ? 0 : 2 * I)),
      written: 4 * (n * OH * OW * O + (moments ? partialSize(n * OH * OW, O, tile.rows) : 0)),
      flop: 2 * n * OH * OW * K * O,
    }),
  };
}

const list = (n: number, term: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => term(i)).join(" + ");

/** WGSL that stores a tile's two column sums s and q. */
const storePartials = (vectors: number, channels: number): string => `
    if (local.y == 0u) {
      ${lines(
        vectors,
        (c) => `if (column${c} < ${channels}u) {
        partials[(group.x * ${2 * channels}u + column${c}) / 4u] = s_${c};
        partials[(group.x * ${2 * channels}u + ${channels}u + column${c}) / 4u] = q_${c};
      }`,
      )}
    }`;

/** Numbers in the partial sums over so many rows in tiles. */
export const partialSize = (rows: number, channels: number, tileRows: number): number =>
  Math.ceil(rows / tileRows) * 2 * channels;

/**
 * The gradient of a convolution's input from that of its output, `dz`: with respect to the normalized output of the convolution before
 * it, or to its pooled features, through their dropout.
 * @param sums whether the sums that the gradient of that convolution's normalization needs go to the partial sums: of the gradient, and
 * of it times the values' distance from their mean
 */
export function convInputGradient(layer: ConvLayer, before: ConvLayer, tile: Tile, sums: boolean): Kernel {
  const { H, W, I, OH, OW, O, S, pad, index, weights } = layer;
  const K = S * S * O;
  const { pool } = before;
  const finish = ({ rows, vectors, value, row, column, sum }: Finish): string => `
    ${lines(vectors, (c) => `let column${c} = ${column(c)};`)}
    ${sums ? lines(vectors, (c) => `var s_${c} = vec4f(); var q_${c} = vec4f(); let mean${c} = constants[(${before.constants + 2 * I}u + column${c}) / 4u];`) : ""}
    ${lines(rows, (r) =>
      lines(
        vectors,
        (c) => `if ((${row(r)} < total) & (column${c} < ${I}u)) {
      let at = ${row(r)} * ${I}u + column${c};
      let d = ${value(r, c)}${pool?.dropout ? ` * factors(at)` : ""};
      dy[at / 4u] = d;
      ${sums ? `s_${c} += d; q_${c} += d * (${pool ? `chosen(${row(r)}, column${c})` : "relu[at / 4u]"} - mean${c});` : ""}
    }`,
      ),
    )}
    ${sums ? sum("s") + sum("q") + storePartials(vectors, I) : ""}`;
  return {
    label: `input gradient ${index}`,
    enables: enablesOf(tile),
    bindings: [
      { name: "dz", type: "vec4f", buffer: "dz" },
      { name: "weights", type: "vec4f", buffer: "weights" },
      { name: "dy", type: "vec4f", isWritten: true, buffer: "dy" },
      ...(sums ? sumBindings(before) : []),
    ],
    code: product({
      tile,
      vectors: "depth",
      blocks: "matrix",
      scales: { first: SLOPE_SCALE, second: 1 },
      finish,
      range: `let total = step.n * ${H * W}u; let begin = 0u; let limit = ${K}u;`,
      declarations: `${dropoutFactor(pool?.dropout ?? null)}${sums && pool ? readChosen(before) : ""}
struct Place { n: i32, bottom: i32, right: i32 }
fn locate(p: u32) -> Place {
  ${split(H, W)}
  return Place(n, select(-${OH + S}, row + ${pad}, p < step.n * ${H * W}u), column + ${pad});
}
fn loadA(place: Place, k: u32) -> vec4f {
  let tap = k / ${O}u; let y = place.bottom - i32(tap / ${S}u); let x = place.right - i32(tap % ${S}u);
  let isInside = (k < ${K}u) & (u32(y) < ${OH}u) & (u32(x) < ${OW}u);
  let at = u32((place.n * ${OH} + y) * ${OW} + x) * ${O / 4}u + (k % ${O}u) / 4u;
  return select(vec4f(), dz[select(0u, at, isInside)], isInside);
}
fn loadB(k: u32, column: u32) -> mat4x4f {
  let isInside = (k < ${K}u) & (column < ${I}u);
  let at = select(0u, (${weights}u + ((k / ${O}u) * ${I}u + column) * ${O}u + k % ${O}u) / 4u, isInside);
  return transpose(mat4x4f(
    select(vec4f(), weights[at], isInside),
    select(vec4f(), weights[at + ${O / 4}u], isInside),
    select(vec4f(), weights[at + ${(2 * O) / 4}u], isInside),
    select(vec4f(), weights[at + ${(3 * O) / 4}u], isInside)));
}`,
    }),
    groups: (n) => [Math.ceil((n * H * W) / tile.rows), Math.ceil(I / tile.columns)],
    cost: (n) => ({
      read: 4 * (n * OH * OW * O + S * S * I * O + (sums ? n * H * W * I * (pool ? 1.25 : 1) : 0)),
      written: 4 * (n * H * W * I + (sums ? partialSize(n * H * W, I, tile.rows) : 0)),
      flop: 2 * n * OH * OW * S * S * I * O,
    }),
  };
}

/** What the sums for a normalization's gradient are made of. */
export const sumBindings = ({ index, pool }: ConvLayer): Kernel["bindings"] => [
  { name: "constants", type: "vec4f", buffer: "constants" },
  { name: "relu", type: pool ? "f32" : "vec4f", buffer: `active${index}` },
  ...(pool ? [{ name: "taps", type: "u32", buffer: `taps${index}` } as const] : []),
  { name: "partials", type: "vec4f", isWritten: true, buffer: "partials" },
];

/** WGSL of `fn chosen(p: u32, c: u32) -> vec4f`: the four values of `active` that pooling chose for its result's pixel p, channels c... */
export function readChosen({ OH, OW, O, pool }: ConvLayer): string {
  if (!pool) return "";
  const { window } = pool;
  return `
fn tapped(corner: u32, tap: u32, c: u32) -> f32 {
  return relu[(corner + (tap / ${window}u) * ${OW}u + tap % ${window}u) * ${O}u + c];
}
fn chosen(p: u32, c: u32) -> vec4f {
  let rest = p % ${pool.H * pool.W}u;
  let corner = ((p / ${pool.H * pool.W}u) * ${OH}u + (rest / ${pool.W}u) * 2u) * ${OW}u + (rest % ${pool.W}u) * 2u;
  let taps4 = taps[(p * ${O}u + c) / 4u];
  return vec4f(tapped(corner, taps4 & 255u, c), tapped(corner, (taps4 >> 8u) & 255u, c + 1u),
    tapped(corner, (taps4 >> 16u) & 255u, c + 2u), tapped(corner, taps4 >> 24u, c + 3u));
}`;
}

/**
 * The gradient of a convolution's filter and, in the row after it, of its bias, in parts over ranges of the pixels that are still to be
 * summed.
 * @param place of the first part in the buffer of gradients
 */
export function convFilterGradient(
  layer: ConvLayer,
  before: ConvLayer | undefined,
  tile: Tile,
  { parts, place }: { parts: Parts; place: number },
): Kernel {
  const { H, W, I, OH, OW, O, S, pad, index } = layer;
  const [rows, source] = [S * S * I, sourceOf(layer, before)];
  const size = (rows + 1) * O;
  const finish = ({ rows: own, vectors, value, row, column, sum }: Finish): string => `
    let base = ${place}u + group.z * ${size}u;
    ${lines(vectors, (c) => `let column${c} = ${column(c)};`)}
    ${lines(own, (r) =>
      lines(
        vectors,
        (c) =>
          `if ((${row(r)} < ${rows}u) & (column${c} < ${O}u)) { gradients[(base + ${row(r)} * ${O}u + column${c}) / 4u] = ${value(r, c)}; }`,
      ),
    )}
    if (group.x == 0u) {
      ${sum("bias")}
      if (local.y == 0u) {
        ${lines(vectors, (c) => `if (column${c} < ${O}u) { gradients[(base + ${rows * O}u + column${c}) / 4u] = bias_${c}; }`)}
      }
    }`;
  const [across, down] = [tile.columns / tile.threadColumns, tile.rows / tile.threadRows];
  const vectors = tile.threadColumns / 4;
  return {
    label: `filter gradient ${index}`,
    enables: enablesOf(tile),
    bindings: [
      ...inputBindings(layer, source),
      { name: "dz", type: "vec4f", buffer: "dz" },
      { name: "gradients", type: "vec4f", isWritten: true, buffer: "gradients" },
    ],
    code: product({
      tile,
      vectors: "rows",
      blocks: "vector",
      scales: { first: 1, second: SLOPE_SCALE },
      finish,
      range: `let total = step.n * ${OH * OW}u;
  let parts = ${wgslParts(`${parts.most}u`, `${parts.pixels}u`)};
  let part = ((total + parts - 1u) / parts + ${tile.depth - 1}u) / ${tile.depth}u * ${tile.depth}u;
  let begin = group.z * part; let limit = min(total, begin + part);
  ${lines(vectors, (c) => `var bias_${c} = vec4f();`)}`,
      perStrip: (second) => `if (group.x == 0u) { for (var k = local.y; k < ${tile.depth}u; k += ${down}u) {
        ${lines(vectors, (c) => `bias_${c} += ${second(`k * ${tile.columns / 4}u + local.x + ${c * across}u`)};`)} } }`,
      declarations: `${readInput(layer, source)}
fn locate(row: u32) -> u32 { return row; }
fn loadA(m: u32, p: u32) -> vec4f {
  ${split(OH, OW)}
  return window(n, select(-${H + S}, row - ${pad}, p < step.n * ${OH * OW}u), column - ${pad}, m);
}
fn loadB(p: u32, column: u32) -> vec4f {
  let isInside = (p < step.n * ${OH * OW}u) & (column < ${O}u);
  return select(vec4f(), dz[select(0u, (p * ${O}u + column) / 4u, isInside)], isInside);
}`,
    }),
    groups: (n) => [Math.ceil(rows / tile.rows), Math.ceil(O / tile.columns), partsFor(parts, n)],
    cost: (n) => ({
      read: 4 * (n * H * W * I + n * pixelsOf(layer) * O),
      written: 4 * partsFor(parts, n) * size,
      flop: 2 * n * OH * OW * rows * O,
    }),
  };
}
