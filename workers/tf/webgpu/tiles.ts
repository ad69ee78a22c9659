import type { ConvLayer, Layout } from "./layout";
import type { Tile } from "./product";

/** Which tile each convolution's products are cut into. */

export type ProductName = "forward" | "input" | "filter";
/** By a product's name and the convolution's place. */
export type Tiles = Readonly<Record<string, Tile>>;

export const tileKey = (name: ProductName, { index }: ConvLayer): string => `${name} ${index}`;

const tile = (rows: number, columns: number, depth: number, threadRows: number, threadColumns: number): Tile => ({
  rows,
  columns,
  depth,
  threadRows,
  threadColumns,
});

/**
 * Tiles to choose from, those first that suit most where nothing has been measured: at most 256 threads and 16 KB of memory, which every
 * device has.
 */
export const CANDIDATES: readonly Tile[] = [
  tile(64, 64, 16, 8, 8),
  tile(64, 64, 16, 4, 4),
  tile(64, 64, 16, 8, 4),
  tile(128, 64, 16, 8, 8),
  tile(128, 128, 16, 8, 8),
  tile(32, 64, 16, 4, 4),
  tile(64, 32, 16, 8, 4),
  tile(32, 32, 16, 4, 4),
  tile(64, 16, 16, 8, 4),
  tile(16, 64, 16, 4, 4),
  tile(16, 16, 16, 4, 4),
];

export const LEAST_ROWS = Math.min(...CANDIDATES.map(({ rows }) => rows));

/** Candidates that suit a product: no wider, and for a filter's gradient no higher, than its result, or as small as can be. */
export function suited(name: ProductName, { S, I, O }: ConvLayer): readonly Tile[] {
  const columns = Math.max(16, name === "input" ? I : O);
  const rows = name === "filter" ? Math.max(16, S ** 2 * I) : Infinity;
  return CANDIDATES.filter((one) => one.columns <= columns && one.rows <= rows);
}

const productsOf = ({ convs }: Layout): (readonly [ProductName, ConvLayer])[] =>
  convs.flatMap((layer) => (["forward", "input", "filter"] as const).map((name) => [name, layer] as const));

/** Whether tiles that were kept are a choice that there is still, for every product of a model. */
export function isSuited(kept: unknown, layout: Layout): kept is Tiles {
  if (typeof kept !== "object" || kept === null) return false;
  const tiles = new Map<string, unknown>(Object.entries(kept));
  return productsOf(layout).every(([name, layer]) => {
    const one = JSON.stringify(tiles.get(tileKey(name, layer)));
    return suited(name, layer).some((candidate) => JSON.stringify(candidate) === one);
  });
}

/** Suits an adapter that is a program: few threads with large blocks, since each number that it takes from its strips costs. */
const SOFTWARE = tile(32, 64, 16, 16, 8);

/** Before anything is measured: the first that suits. */
export function defaultTiles(layout: Layout, isSoftware = false): Tiles {
  const first = ([best = tile(16, 16, 16, 4, 4)]: readonly Tile[]): Tile =>
    isSoftware && best.columns === SOFTWARE.columns && best.rows > SOFTWARE.rows ? SOFTWARE : best;
  return Object.fromEntries(
    productsOf(layout).map(([name, layer]) => [tileKey(name, layer), first(suited(name, layer))] as const),
  );
}
