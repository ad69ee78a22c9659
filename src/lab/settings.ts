import { cameraEntries, labConfigSchema, type LabConfig } from "../simulation/config";
import { STRATEGIES } from "../federation/strategies/registry";
import { optionSchemas } from "../simulation/strategy-round";
import { MODEL_NAMES } from "../model/model";
import {
  AGGREGATION,
  CLIENT_FIELDS,
  CODEC_FIELDS,
  fieldOf,
  SERVER_NUMBERS,
  SERVER_OPTIMIZER,
  STOPPING_FIELDS,
  type Field,
  type Texted,
} from "../ui/fields";
import { d } from "../ui/i18n/developer";
import { language } from "../ui/i18n/language.svelte";

/** What the lab's form asks for, in its sections. */

const { entries } = labConfigSchema.pipe[0];
/** A field of the lab; what a round of the same name says differently has its own texts. */
const labField = (
  key: Texted<LabConfig> | "rounds" | "fraction" | "noise",
  text: Texted<LabConfig> | "labRounds" | "labFraction" | "labNoise" | "labOverSelection" | "labTopology" = key,
): Field => fieldOf(entries[key], key, text);
export const DATA: Field[] = [
  labField("dataset"),
  // Models are called what they are.
  { kind: "choice", key: "model", text: "model", values: MODEL_NAMES, named: false },
  labField("start"),
  labField("seed"),
  labField("testExamples"),
];
const isDirichlet: Field["when"] = ({ partition }) => String(partition).startsWith("dirichlet");
const hasSizes: Field["when"] = ({ partition }) => partition === "iid" || partition === "dirichlet";
export const SHARES: Field[] = [
  labField("clients"),
  labField("examplesPerClient"),
  labField("partition"),
  { ...labField("alpha"), when: isDirichlet },
  { ...labField("labelsPerClient"), when: ({ partition }) => partition === "labels" },
  { ...labField("shardsPerClient"), when: ({ partition }) => partition === "shards" },
  { ...labField("sizeSpread"), when: hasSizes },
  { ...labField("sizePower"), when: hasSizes },
  { ...labField("cameraSpread"), when: ({ dataset }) => dataset !== "mnist" },
  labField("heldOut"),
];
export const ROUNDS: Field[] = [
  labField("rounds", "labRounds"),
  labField("fraction", "labFraction"),
  labField("dropOut"),
  labField("evaluateEvery"),
  labField("target"),
];
const isAsync: Field["when"] = ({ mode }) => mode === "async";
const isGossip: Field["when"] = ({ topology }) => topology === "gossip";
export const MODES: Field[] = [
  labField("mode"),
  { ...labField("overSelection", "labOverSelection"), when: isAsync },
  { ...labField("maxStaleness"), when: isAsync },
  labField("topology", "labTopology"),
  { ...labField("neighbours"), when: isGossip },
  { ...labField("gossipSteps"), when: isGossip },
  labField("durations"),
  labField("meanDuration"),
  { ...labField("durationSpread"), when: ({ durations }) => durations === "log-normal" },
  { ...labField("durationPer"), when: ({ durations }) => durations !== "equal" },
  labField("deadlineSeconds"),
];
export const SERVER: Field[] = [
  AGGREGATION,
  SERVER_OPTIMIZER,
  ...SERVER_NUMBERS,
  ...CODEC_FIELDS,
  { ...labField("errorFeedback"), when: ({ codec }) => codec !== "float32" },
  labField("maxUpdateNorm"),
  labField("maxExamples"),
  labField("maxExamplesRatio"),
  labField("noise", "labNoise"),
  labField("clipQuantile"),
  labField("secure"),
  labField("statistics"),
  labField("averageLast"),
];
export const ATTACK: Field[] = [
  labField("attack"),
  { ...labField("attackers"), when: ({ attack }) => attack !== "none" },
];
export const CAMERA: Field[] = (["gain", "angle", "mirror"] as const).map((key) =>
  fieldOf(cameraEntries[key], key, key),
);
export const STOPPING: Field[] = [...STOPPING_FIELDS, labField("personalEpochs"), labField("central")];

/** What stands for no strategy among its values. */
const NONE = "none";
/** Strategies are called what they are. */
const STRATEGY: Field = {
  kind: "choice",
  key: "strategy",
  text: "strategy",
  values: [NONE, ...STRATEGIES.keys()],
  named: false,
};

type OptionText = Parameters<typeof fieldOf>[2];

/** The texts of an option: those of the field of a round that says it, but where the field of that name means something else. */
function optionText(strategy: string, key: string): OptionText {
  if (strategy === "scaffold" && key === "serverLearningRate") return "controlRate";
  return (STRATEGIES.get(strategy)?.live?.named?.[key] ?? key) as OptionText;
}

/** The options of a strategy; none where there is no such strategy. */
export const optionFields = (strategy: string | null): Field[] =>
  strategy === null
    ? []
    : Object.entries(optionSchemas(strategy)).map(([key, schema]) => fieldOf(schema, key, optionText(strategy, key)));

/** What begins the key of an option. */
const OF_STRATEGY = "strategyOptions.";

/** All options, as a sweep calls them: those of one name are one. */
const OPTIONS = new Map<string, { field: Field; strategies: string[] }>();
for (const strategy of STRATEGIES.keys()) {
  for (const field of optionFields(strategy)) {
    const key = OF_STRATEGY + field.key;
    const strategies = [...(OPTIONS.get(key)?.strategies ?? []), strategy];
    const when: Field["when"] = (config) => strategies.includes(String(config["strategy"]));
    OPTIONS.set(key, { field: { ...field, key, when }, strategies });
  }
}

/** Whether a setting is an option of a strategy, which any other refuses. */
export const isOption = (key: string): boolean => key.startsWith(OF_STRATEGY);

export type Section =
  "data" | "camera" | "clients" | "rounds" | "modes" | "training" | "server" | "attack" | "stopping";

/** What may be swept, by the form's sections. */
export const SWEPT: readonly { section: Section; fields: readonly Field[] }[] = [
  { section: "data", fields: DATA },
  { section: "camera", fields: CAMERA.map((field) => ({ ...field, key: `camera.${field.key}` })) },
  { section: "clients", fields: SHARES },
  { section: "rounds", fields: ROUNDS },
  { section: "modes", fields: MODES },
  { section: "training", fields: CLIENT_FIELDS },
  { section: "server", fields: [STRATEGY, ...[...OPTIONS.values()].map(({ field }) => field), ...SERVER] },
  { section: "attack", fields: ATTACK },
  { section: "stopping", fields: STOPPING },
];
const FIELDS = new Map(SWEPT.flatMap(({ fields }) => fields.map((field) => [field.key, field])));

export const fieldNamed = (key: string): Field | undefined => FIELDS.get(key);

/** What a setting is called. */
export function settingName(key: string): string {
  const field = FIELDS.get(key);
  if (!field) return key;
  const name = d(`fields.${field.text}.name`);
  const { strategies } = OPTIONS.get(key) ?? {};
  return strategies ? `${strategies.join(", ")}: ${name}` : name;
}

/** What the values of a choice or a box to tick are, as a configuration has them, with what each is called. */
export function optionsOf(field: Field): { value: string | boolean | null; name: string }[] {
  if (field.kind === "check") {
    return [
      { value: false, name: d("sweep.off") },
      { value: true, name: d("sweep.on") },
    ];
  }
  if (field.kind === "number") return [];
  return field.values.map((value) => {
    if (field === STRATEGY && value === NONE) return { value: null, name: d("sweep.none") };
    return {
      value,
      name: field.named ? d(`fields.${field.text}.options.${value}` as "fields.layers.options.all") : value,
    };
  });
}

/** A number as somebody has typed it, as the language writes it: none loses what tells it from another one. */
export const exactText = (value: number): string =>
  new Intl.NumberFormat(language.current, { maximumSignificantDigits: 15, useGrouping: false }).format(value);

/** What a value of a setting is called. */
export function valueName(key: string, value: unknown): string {
  const field = FIELDS.get(key);
  const option = field && optionsOf(field).find((one) => one.value === value);
  if (option) return option.name;
  if (typeof value === "number") return exactText(value);
  return value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value);
}

/** What a run of a sweep is called: its settings and their values. */
export const changesName = (changes: Readonly<Record<string, unknown>>): string =>
  Object.entries(changes)
    .map(([key, value]) => `${settingName(key)} ${valueName(key, value)}`)
    .join(", ");
