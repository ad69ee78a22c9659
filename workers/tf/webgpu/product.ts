/**
 * The matrix product that convolutions are made of (implicit GEMM: Chetlur et al. 2014, arXiv 1410.0759, section 3): a workgroup
 * computes one tile of the result from strips of both factors that it lays into its memory, a thread a block of it in registers.
 */

/** How a product is cut up. Rows and columns are multiples of 4, `depth` too. */
export interface Tile {
  rows: number;
  columns: number;
  /** Of the strips. */
  depth: number;
  /** Of a thread's block. */
  threadRows: number;
  threadColumns: number;
}

export const threadsOf = ({ rows, columns, threadRows, threadColumns }: Tile): readonly [number, number] => [
  columns / threadColumns,
  rows / threadRows,
];

const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = (n: number, line: (i: number) => string): string => count(n).map(line).join("\n");

export interface Product {
  tile: Tile;
  /**
   * Along what the vectors of four lie in which the first factor is read: its rows, or the depth over which is summed. It is read by
   * `fn locate(row: u32) -> Place` and `fn loadA(place: Place, k: u32) -> vec4f`, which gives 0 past the ends.
   */
  vectors: "rows" | "depth";
  /**
   * How the second factor is read, 0 past its ends: by `fn loadB(k: u32, column: u32) -> vec4f` along its columns, or by
   * `fn loadB(k: u32, column: u32) -> mat4x4f`, the vectors along the columns of four k at a time.
   */
  blocks: "vector" | "matrix";
  /** WGSL of Place, locate, loadA, loadB, and of what else is declared. */
  declarations: string;
  /** WGSL that sets `begin` and `limit`: a workgroup's part of the depth. */
  range: string;
  /** WGSL in the loop over strips, after each has been laid down. */
  perStrip?: string;
  /** WGSL at the end: `values(r, c)` names the vector of the thread's row r and column c (times 4). */
  finish: (threads: Finish) => string;
}

/** What the end of a product works with. */
export interface Finish {
  /** Rows of the thread, and vectors of columns. */
  rows: number;
  vectors: number;
  value: (row: number, vector: number) => string;
  /** WGSL of the row's and the column's number in the whole result. */
  row: (row: number) => string;
  column: (vector: number) => string;
  /**
   * WGSL that sums vectors over the workgroup's rows of threads, always in one order. `name`_v are the threads' own, and then, in all
   * threads of the first row of them, the sums; `everywhere` in all threads.
   */
  sum: (name: string, everywhere?: boolean) => string;
}

/** The WGSL of a product's kernel. */
export function product({ tile, vectors, blocks, declarations, range, perStrip = "", finish }: Product): string {
  const { rows, columns, depth, threadRows, threadColumns } = tile;
  const [across, down] = threadsOf(tile);
  const threads = across * down;
  const [rowVectors, columnVectors, depthVectors] = [rows / 4, columns / 4, depth / 4];
  const own = threadColumns / 4;
  const loadsA = (rows * depthVectors) / threads;
  const loadsB = (blocks === "vector" ? depth * columnVectors : depthVectors * columnVectors) / threads;
  const guarded = (loads: number, i: number, total: number, body: string): string =>
    Number.isInteger(loads) ? body : `if (thread + ${i * threads}u < ${total}u) { ${body} }`;
  const [rowOfA, depthOfA] =
    vectors === "depth"
      ? [(at: string) => `(${at} / ${depthVectors}u)`, (at: string) => `(${at} % ${depthVectors}u) * 4u`]
      : [(at: string) => `(${at} % ${rowVectors}u) * 4u`, (at: string) => `(${at} / ${rowVectors}u)`];
  const at = (i: number): string => `(thread + ${i * threads}u)`;
  const placeA = lines(Math.ceil(loadsA), (i) => `let place${i} = locate(rowBase + ${rowOfA(at(i))});`);
  const loadA = lines(Math.ceil(loadsA), (i) =>
    guarded(loadsA, i, rows * depthVectors, `stripA[${at(i)}] = loadA(place${i}, k0 + ${depthOfA(at(i))});`),
  );
  const loadB = lines(Math.ceil(loadsB), (i) =>
    blocks === "vector"
      ? guarded(
          loadsB,
          i,
          depth * columnVectors,
          `stripB[${at(i)}] = loadB(k0 + ${at(i)} / ${columnVectors}u, columnBase + (${at(i)} % ${columnVectors}u) * 4u);`,
        )
      : guarded(
          loadsB,
          i,
          depthVectors * columnVectors,
          `{ let k = (${at(i)} % ${depthVectors}u) * 4u; let c = ${at(i)} / ${depthVectors}u;
             let four = loadB(k0 + k, columnBase + c * 4u);
             ${lines(4, (d) => `stripB[(k + ${d}u) * ${columnVectors}u + c] = four[${d}];`)} }`,
        ),
  );
  const values = count(threadRows).flatMap((r) => count(own).map((c) => `var v${r}_${c} = vec4f();`));
  const xyzw = ["x", "y", "z", "w"];
  const multiply =
    vectors === "depth"
      ? `for (var k = 0u; k < ${depthVectors}u; k++) {
          ${lines(4, (d) => lines(own, (c) => `let b${d}_${c} = stripB[(k * 4u + ${d}u) * ${columnVectors}u + local.x + ${c * across}u];`))}
          ${lines(
            threadRows,
            (r) => `{ let a = stripA[(local.y + ${r * down}u) * ${depthVectors}u + k];
            ${lines(own, (c) => `v${r}_${c} += ${xyzw.map((d, i) => `a.${d} * b${i}_${c}`).join(" + ")};`)} }`,
          )}
        }`
      : `for (var k = 0u; k < ${depth}u; k++) {
          ${lines(own, (c) => `let b${c} = stripB[k * ${columnVectors}u + local.x + ${c * across}u];`)}
          ${lines(
            threadRows / 4,
            (r) => `{ let a = stripA[k * ${rowVectors}u + local.y + ${r * down}u];
            ${lines(4, (d) => lines(own, (c) => `v${r * 4 + d}_${c} += a.${xyzw[d] ?? ""} * b${c};`))} }`,
          )}
        }`;
  const cell = (c: number): string => `local.x + ${c * across}u`;
  const sum = (name: string, everywhere = false): string => `
    ${lines(own, (c) => `stripB[local.y * ${columnVectors}u + ${cell(c)}] = ${name}_${c};`)}
    workgroupBarrier();
    if (local.y == 0u) {
      for (var y = 1u; y < ${down}u; y++) {
        ${lines(own, (c) => `${name}_${c} += stripB[y * ${columnVectors}u + ${cell(c)}];`)}
      }
    }
    ${
      everywhere
        ? `workgroupBarrier();
    if (local.y == 0u) { ${lines(own, (c) => `stripB[${cell(c)}] = ${name}_${c};`)} }
    workgroupBarrier();
    ${lines(own, (c) => `${name}_${c} = stripB[${cell(c)}];`)}`
        : ""
    }
    workgroupBarrier();`;
  const row = (r: number): string =>
    vectors === "depth"
      ? `(rowBase + local.y + ${r * down}u)`
      : `(rowBase + (local.y + ${Math.floor(r / 4) * down}u) * 4u + ${r % 4}u)`;
  return `
${declarations}
var<workgroup> stripA: array<vec4f, ${rows * depthVectors}>;
var<workgroup> stripB: array<vec4f, ${Math.max(depth, down) * columnVectors}>;
@compute @workgroup_size(${across}, ${down})
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let thread = local.y * ${across}u + local.x;
  let rowBase = group.x * ${rows}u;
  let columnBase = group.y * ${columns}u;
  ${range}
  ${placeA}
  ${values.join("\n")}
  for (var k0 = begin; k0 < limit; k0 += ${depth}u) {
    ${loadA}
    ${loadB}
    workgroupBarrier();
    ${multiply}
    ${perStrip}
    workgroupBarrier();
  }
  ${finish({
    rows: threadRows,
    vectors: own,
    value: (r, c) => `v${r}_${c}`,
    row,
    sum,
    column: (c) => `(columnBase + (${cell(c)}) * 4u)`,
  })}
}
`;
}
