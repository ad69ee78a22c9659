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
  halves: false,
  quads: false,
});

/** Which variants of a tile a device can run. */
export interface Abilities {
  halves: boolean;
  quads: boolean;
}

export const abilitiesOf = ({ features }: Pick<GPUDevice, "features">): Abilities => ({
  halves: features.has("shader-f16"),
  quads: features.has("subgroups"),
});

/** A tile and its variants that a device can run, the plain one first. */
export function variantsOf(one: Tile, can: Abilities): Tile[] {
  const kinds = [{ halves: false, quads: false }];
  if (can.quads) kinds.push({ halves: false, quads: true });
  if (can.halves) kinds.push({ halves: true, quads: false });
  if (can.halves && can.quads) kinds.push({ halves: true, quads: true });
  return kinds.map(({ halves, quads }) => ({ ...one, halves, quads }));
}

/** Tiles with some variants taken back, by a product's name. */
const without = (tiles: Tiles, kind: keyof Abilities, isMeant: (name: string) => boolean): Tiles =>
  Object.fromEntries(
    Object.entries(tiles).map(([key, one]) => [
      key,
      isMeant(key.split(" ")[0] ?? "") ? { ...one, [kind]: false } : one,
    ]),
  );

const hasVariant = (tiles: Tiles, kind: keyof Abilities): boolean => Object.values(tiles).some((one) => one[kind]);
export const hasHalves = (tiles: Tiles): boolean => hasVariant(tiles, "halves");
export const isPlain = (tiles: Tiles): boolean => !hasHalves(tiles) && !hasVariant(tiles, "quads");

/**
 * Choices that are tried one after the other until one agrees with the plain tiles, which come last: what errs in half precision in the
 * forward pass errs everywhere behind it, in a gradient of the input in the layers before it, and in a filter's gradient nowhere else.
 */
export function lessAndLess(tiles: Tiles): Tiles[] {
  const backward = without(tiles, "halves", (name) => name === "forward");
  const filters = without(backward, "halves", (name) => name === "input");
  const quads = without(filters, "halves", () => true);
  const plain = without(quads, "quads", () => true);
  const all = [tiles, backward, filters, quads, plain];
  return all.filter((one, i) => i === 0 || JSON.stringify(one) !== JSON.stringify(all[i - 1]));
}

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

/** Whether tiles that were kept are a choice that there is still, for every product of a model and on this device. */
export function isSuited(kept: unknown, layout: Layout, can: Abilities): kept is Tiles {
  if (typeof kept !== "object" || kept === null) return false;
  const tiles = new Map<string, unknown>(Object.entries(kept));
  return productsOf(layout).every(([name, layer]) => {
    const one = JSON.stringify(tiles.get(tileKey(name, layer)));
    return suited(name, layer)
      .flatMap((candidate) => variantsOf(candidate, can))
      .some((candidate) => JSON.stringify(candidate) === one);
  });
}

/** Suits an adapter that is a program: larger blocks compile twice as long and compute no faster. */
const SOFTWARE = tile(16, 16, 16, 4, 4);

/** Before anything is measured: the first that suits. */
export function defaultTiles(layout: Layout, isSoftware = false): Tiles {
  return Object.fromEntries(
    productsOf(layout).map(([name, layer]) => {
      const [best = SOFTWARE] = suited(name, layer);
      return [tileKey(name, layer), isSoftware ? SOFTWARE : best] as const;
    }),
  );
}
