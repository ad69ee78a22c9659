import type { ConvLayer, Layout } from "./layout";
import type { Tile } from "./product";

/** Which tile each convolution's products are cut into. */

export type ProductName = "forward" | "input" | "filter";
/** By a product's name and the convolution's place. */
export type Tiles = Readonly<Record<string, Tile>>;

export const tileKey = (name: ProductName, { index }: ConvLayer): string => `${name} ${index}`;

const tile = (rows: number, columns: number, depth: number, threadRows: number, threadColumns: number): Tile => ({
  ...{ rows, columns, depth, threadRows, threadColumns },
});

/** Tiles to choose from: from such as suit a card with many cores to such as suit few. At most 256 threads and 16 KB of memory. */
export const CANDIDATES: readonly Tile[] = [
  tile(64, 64, 16, 4, 4),
  tile(64, 64, 16, 8, 4),
  tile(128, 64, 16, 8, 4),
  tile(64, 64, 16, 8, 8),
  tile(32, 64, 16, 4, 4),
  tile(64, 32, 16, 4, 4),
  tile(32, 32, 16, 4, 4),
  tile(64, 16, 16, 4, 4),
  tile(16, 64, 16, 4, 4),
];

/** Columns of a product's result: more than a quarter of a tile that lies past them would be computed in vain. */
export const columnsOf = (name: ProductName, { I, O }: ConvLayer): number => (name === "input" ? I : O);
/** Candidates that suit a product. */
export function suited(name: ProductName, layer: ConvLayer): readonly Tile[] {
  const columns = columnsOf(name, layer);
  const rows = name === "filter" ? layer.S ** 2 * layer.I : Infinity;
  const isFitting = (tile: Tile): boolean =>
    (tile.columns <= columns || tile.columns <= 16) && tile.rows <= Math.max(rows, 16);
  return CANDIDATES.filter(isFitting);
}

/** Before anything is measured: the first that suits. */
export function defaultTiles({ convs }: Layout): Tiles {
  const names = ["forward", "input", "filter"] as const;
  return Object.fromEntries(
    convs.flatMap((layer) =>
      names.map((name) => [tileKey(name, layer), suited(name, layer)[0] ?? tile(16, 16, 16, 4, 4)] as const),
    ),
  );
}
