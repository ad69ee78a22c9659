import type { DatasetName } from "../simulation/config";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { nameWithin } from "../ui/names";
import { d } from "../ui/i18n/developer";

/** What a data set's labels are called. */
export const labelsOf = (dataset: DatasetName): readonly string[] =>
  dataset === "mnist"
    ? Array.from({ length: 10 }, (_, i) => String(i))
    : EXPRESSIONS.map((_, i) => nameWithin(i as Label));

/** What a data set is called. */
export const datasetName = (dataset: DatasetName): string => d(`fields.dataset.options.${dataset}`);

/** Colours of ten labels; the seven of the expressions first. */
export const LABEL_COLORS = [
  ...["#ff7a62", "#a9d15a", "#bda6ff", "#ffcf33", "#7fbaff", "#ffa4d4", "#d8c9c0"],
  ...["#4fb3a5", "#c98a4b", "#8a94a6"],
];
