import type { PictureKind } from "../data/own-labels";
import type { DatasetName } from "../simulation/config";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { nameWithin } from "../ui/names";
import { d } from "../ui/i18n/developer";

/** What a data set's labels are called. @param kind what its pictures are, where they are of somebody's own */
export const labelsOf = (dataset: DatasetName, kind?: PictureKind): readonly string[] =>
  kind?.labels ??
  (dataset === "mnist"
    ? Array.from({ length: 10 }, (_, i) => String(i))
    : EXPRESSIONS.map((_, i) => nameWithin(i as Label)));

/** What a data set is called. */
export const datasetName = (dataset: DatasetName): string => d(`fields.dataset.options.${dataset}`);

/** Colours of ten labels; the seven of the expressions first. */
const LABEL_COLORS = [
  ...["#ff7a62", "#a9d15a", "#bda6ff", "#ffcf33", "#7fbaff", "#ffa4d4", "#d8c9c0"],
  ...["#4fb3a5", "#c98a4b", "#8a94a6"],
];

/** Of a label; of the eleventh and those that follow each a hue that is far from its neighbours' (the golden angle). */
export const labelColor = (label: number): string =>
  LABEL_COLORS[label] ?? `hsl(${Math.round(label * 137.5) % 360} 55% 62%)`;
