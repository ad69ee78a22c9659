import { wgslFloat } from "./dropout";

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
  /** Strips are kept in half precision, which halves what goes through the workgroup's memory; sums are not. Takes `shader-f16`. */
  halves: boolean;
  /**
   * Four threads that are neighbours in a row read each vector of the first factor's strip once, and hand it to each other. The same
   * numbers are added in the same order, whatever the size of a subgroup. Takes `subgroups`.
   */
  quads: boolean;
}

/** What a tile's kernel asks of the device, by its name in WGSL. */
export const enablesOf = ({ halves, quads }: Tile): ("f16" | "subgroups")[] => {
  const enables: ("f16" | "subgroups")[] = halves ? ["f16"] : [];
  if (quads) enables.push("subgroups");
  return enables;
};

/** Bytes of a workgroup's memory that a tile takes. */
export function memoryOf(tile: Tile): number {
  const { rows, columns, depth, halves, quads } = tile;
  const [, down] = threadsOf(tile);
  const sums = down * columns * 4;
  const strips = halves ? (rows + columns) * depth * 2 + sums : rows * depth * 4 + Math.max(columns * depth * 4, sums);
  return strips + (quads ? 8 : 0);
}

/** The largest number in half precision. */
const MOST_HALF = 65_504;

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
  /**
   * Powers of two that the factors are multiplied by before they are laid into strips in half precision, whose numbers keep all their
   * digits from 6e-5 to 65,504 only; the result is divided by them.
   */
  scales?: { first: number; second: number };
  /** WGSL in the loop over strips, after each has been laid down. @param second WGSL of the second strip's vector at a place */
  perStrip?: (second: (at: string) => string) => string;
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
export function product({ tile, vectors, blocks, declarations, range, scales, perStrip, finish }: Product): string {
  const { rows, columns, depth, threadRows, threadColumns, halves, quads } = tile;
  const [across, down] = threadsOf(tile);
  const threads = across * down;
  const [rowVectors, columnVectors, depthVectors] = [rows / 4, columns / 4, depth / 4];
  const own = threadColumns / 4;
  const { first: scaleA, second: scaleB } = scales ?? { first: 1, second: 1 };
  const lay = (value: string, scale: number): string =>
    halves ? `narrow(${value}${scale === 1 ? "" : ` * ${wgslFloat(scale)}`})` : value;
  const readA = (at: string): string => (halves ? `vec4f(stripA[${at}])` : `stripA[${at}]`);
  const readB = (at: string): string => (halves ? `vec4f(stripB[${at}])` : `stripB[${at}]`);
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
    guarded(
      loadsA,
      i,
      rows * depthVectors,
      `stripA[${at(i)}] = ${lay(`loadA(place${i}, k0 + ${depthOfA(at(i))})`, scaleA)};`,
    ),
  );
  const vectorOfB = (i: number): string =>
    `loadB(k0 + ${at(i)} / ${columnVectors}u, columnBase + (${at(i)} % ${columnVectors}u) * 4u)`;
  const loadB = lines(Math.ceil(loadsB), (i) =>
    blocks === "vector"
      ? guarded(loadsB, i, depth * columnVectors, `stripB[${at(i)}] = ${lay(vectorOfB(i), scaleB)};`)
      : guarded(
          loadsB,
          i,
          depthVectors * columnVectors,
          `{ let k = (${at(i)} % ${depthVectors}u) * 4u; let c = ${at(i)} / ${depthVectors}u;
             let four = loadB(k0 + k, columnBase + c * 4u);
             ${lines(4, (d) => `stripB[(k + ${d}u) * ${columnVectors}u + c] = ${lay(`four[${d}]`, scaleB)};`)} }`,
        ),
  );
  const values = count(threadRows).flatMap((r) => count(own).map((c) => `var v${r}_${c} = vec4f();`));
  const xyzw = ["x", "y", "z", "w"];
  const add = (r: number, a: string, b: (i: number, c: number) => string): string =>
    `{ let a = ${a};
            ${lines(own, (c) => `v${r}_${c} += ${xyzw.map((d, i) => `a.${d} * ${b(i, c)}`).join(" + ")};`)} }`;
  const addRows = (r: number, a: string, b: (c: number) => string): string =>
    `{ let a = ${a};
            ${lines(4, (d) => lines(own, (c) => `v${r * 4 + d}_${c} += a.${xyzw[d] ?? ""} * ${b(c)};`))} }`;
  const cell = (c: number): string => `local.x + ${c * across}u`;
  const fourB = lines(4, (d) =>
    lines(own, (c) => `let b${d}_${c} = ${readB(`(k * 4u + ${d}u) * ${columnVectors}u + ${cell(c)}`)};`),
  );
  const ofB = (d: number, c: number): string => `b${d}_${c}`;
  const alone =
    vectors === "depth"
      ? `for (var k = 0u; k < ${depthVectors}u; k++) {
          ${fourB}
          ${lines(threadRows, (r) => add(r, readA(`(local.y + ${r * down}u) * ${depthVectors}u + k`), ofB))}
        }`
      : `for (var k = 0u; k < ${depth}u; k++) {
          ${lines(own, (c) => `let b${c} = ${readB(`k * ${columnVectors}u + ${cell(c)}`)};`)}
          ${lines(threadRows / 4, (r) => addRows(r, readA(`k * ${rowVectors}u + local.y + ${r * down}u`), (c) => `b${c}`))}
        }`;
  // Of four rows, or of four places along the depth, each thread of a quad reads one.
  const shared =
    vectors === "depth"
      ? `for (var k = 0u; k < ${depthVectors}u; k++) {
          ${fourB}
          ${lines(
            threadRows / 4,
            (h) =>
              `let mine${h} = ${readA(`(local.y + ((thread & 3u) + ${h * 4}u) * ${down}u) * ${depthVectors}u + k`)};`,
          )}
          ${lines(threadRows, (r) => add(r, `quadBroadcast(mine${Math.floor(r / 4)}, ${r % 4}u)`, ofB))}
        }`
      : `for (var k = 0u; k < ${depthVectors}u; k++) {
          ${fourB}
          ${lines(
            threadRows / 4,
            (h) => `let mine${h} = ${readA(`(k * 4u + (thread & 3u)) * ${rowVectors}u + local.y + ${h * down}u`)};`,
          )}
          ${lines(4, (d) => lines(threadRows / 4, (r) => addRows(r, `quadBroadcast(mine${r}, ${d}u)`, (c) => ofB(d, c))))}
        }`;
  // No standard says which threads are a quad's: where they are not four neighbours, each reads for itself.
  const findQuads = `
  let mates = vec4u(quadBroadcast(thread, 0u), quadBroadcast(thread, 1u), quadBroadcast(thread, 2u), quadBroadcast(thread, 3u));
  if (any(mates != (thread & 0xfffffffcu) + vec4u(0u, 1u, 2u, 3u))) { atomicStore(&strangers, 1u); }
  workgroupBarrier();
  if (thread == 0u) { isApart = atomicLoad(&strangers); }
  let readsAlone = workgroupUniformLoad(&isApart) != 0u;`;
  const multiply = quads ? `if (readsAlone) { ${alone} } else { ${shared} }` : alone;
  const scratch = halves ? "sums" : "stripB";
  const sum = (name: string, everywhere = false): string => `
    ${lines(own, (c) => `${scratch}[local.y * ${columnVectors}u + ${cell(c)}] = ${name}_${c};`)}
    workgroupBarrier();
    if (local.y == 0u) {
      for (var y = 1u; y < ${down}u; y++) {
        ${lines(own, (c) => `${name}_${c} += ${scratch}[y * ${columnVectors}u + ${cell(c)}];`)}
      }
    }
    ${
      everywhere
        ? `workgroupBarrier();
    if (local.y == 0u) { ${lines(own, (c) => `${scratch}[${cell(c)}] = ${name}_${c};`)} }
    workgroupBarrier();
    ${lines(own, (c) => `${name}_${c} = ${scratch}[${cell(c)}];`)}`
        : ""
    }
    workgroupBarrier();`;
  const row = (r: number): string =>
    vectors === "depth"
      ? `(rowBase + local.y + ${r * down}u)`
      : `(rowBase + (local.y + ${Math.floor(r / 4) * down}u) * 4u + ${r % 4}u)`;
  const back = wgslFloat(1 / (scaleA * scaleB));
  const unscale = lines(threadRows, (r) => lines(own, (c) => `v${r}_${c} *= ${back};`));
  const memory = halves
    ? `fn narrow(value: vec4f) -> vec4h { return vec4h(clamp(value, vec4f(-${MOST_HALF}.0), vec4f(${MOST_HALF}.0))); }
var<workgroup> stripA: array<vec4h, ${rows * depthVectors}>;
var<workgroup> stripB: array<vec4h, ${depth * columnVectors}>;
var<workgroup> sums: array<vec4f, ${down * columnVectors}>;`
    : `var<workgroup> stripA: array<vec4f, ${rows * depthVectors}>;
var<workgroup> stripB: array<vec4f, ${Math.max(depth, down) * columnVectors}>;`;
  return `
${declarations}
${memory}${quads ? "\nvar<workgroup> strangers: atomic<u32>;\nvar<workgroup> isApart: u32;" : ""}
@compute @workgroup_size(${across}, ${down})
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let thread = local.y * ${across}u + local.x;
  let rowBase = group.x * ${rows}u;
  let columnBase = group.y * ${columns}u;
  ${range}${quads ? findQuads : ""}
  ${placeA}
  ${values.join("\n")}
  for (var k0 = begin; k0 < limit; k0 += ${depth}u) {
    ${loadA}
    ${loadB}
    workgroupBarrier();
    ${multiply}
    ${perStrip?.((place) => (scaleB === 1 || !halves ? readB(place) : `${readB(place)} * ${wgslFloat(1 / scaleB)}`)) ?? ""}
    workgroupBarrier();
  }
  ${halves && scaleA * scaleB !== 1 ? unscale : ""}
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
