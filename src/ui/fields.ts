import type { GenericSchema } from "valibot";
import { CODEC_NAMES, CODECS } from "../federation/codecs/registry";
import { describe } from "../federation/described";
import { roundConfigSchema, type RoundConfig } from "../federation/protocol";
import { isOptionOf, LIVE_OPTIONS } from "../federation/strategies/live";
import type { en } from "./messages/developer/en";

/**
 * What a form asks for, one entry a field: the form's own component draws them, with the texts of src/ui/messages/developer. What a field
 * may be, its schema says.
 */

type FieldTexts = typeof en.fields;
/** A field's texts: its key, unless another form's field of that key says something else. */
type FieldText = keyof FieldTexts;
type TextOf<Kind extends object> = {
  [K in FieldText]: FieldTexts[K] extends Kind ? K : never;
}[FieldText];
/** Those that have help. */
type HelpText = TextOf<{ help: string }>;

/** The keys of a configuration that have all the texts that their values need: the type checker names one that lacks some. */
export type Texted<Config> = {
  [K in FieldText & keyof Config]: FieldTexts[K] extends TextsFor<Config[K]> ? K : never;
}[FieldText & keyof Config];
type TextsFor<Value> = [Value] extends [boolean]
  ? { name: string }
  : [Value] extends [string]
    ? { name: string; help: string; options: Record<Value, string> }
    : { name: string; help: string };

export interface NumberField {
  kind: "number";
  key: string;
  text: HelpText;
  min: number;
  max: number;
  step: number | "any";
  /** Empty is null, and not an error. */
  optional: boolean;
}

export interface ChoiceField {
  kind: "choice";
  key: string;
  text: HelpText;
  /** What may be chosen. */
  values: readonly string[];
  /** What to call them: the names of the field's texts, or, with false, what they are. */
  named: boolean;
}

export interface CheckField {
  kind: "check";
  key: string;
  text: FieldText;
}

/** A field, and when it is asked for at all. */
export type Field = (NumberField | ChoiceField | CheckField) & { when?: (config: Record<string, unknown>) => boolean };

/** A number that must be above a bound is at least so much above it: a browser's form knows no open intervals. */
const ABOVE = 1e-9;

/**
 * A field as its schema describes it.
 * @param text whose texts it has
 * @throws Error where a form cannot ask for such a value
 */
export function fieldOf(schema: GenericSchema, key: string, text: FieldText): Field {
  const found = describe(schema);
  switch (found.kind) {
    case "choice":
      return { kind: "choice", key, text: text as HelpText, values: found.values, named: true };
    case "boolean":
      return { kind: "check", key, text };
    case "number": {
      const { least = -Infinity, most = Infinity, isAbove, isWhole, isNullable } = found;
      return {
        kind: "number",
        key,
        text: text as HelpText,
        min: isAbove ? least + ABOVE : least,
        max: most,
        step: isWhole ? 1 : "any",
        optional: isNullable,
      };
    }
    default:
      throw new Error(`No form asks for ${key}.`);
  }
}

/** A field of a round. */
export const roundField = (key: Texted<RoundConfig>): Field => fieldOf(roundConfigSchema.entries[key], key, key);

export const SERVER_OPTIMIZER = roundField("serverOptimizer");
export const AGGREGATION = roundField("aggregation");

/** What belongs to those two. */
export const SERVER_NUMBERS = (
  [
    "serverLearningRate",
    "serverMomentum",
    "serverBeta2",
    "serverTau",
    "serverEpsilon",
    "updateClip",
    "prior",
    "byzantine",
    "q",
  ] as const
).map(roundField);

/** What an update is sent as. */
export const CODEC_FIELDS: Field[] = [
  roundField("codec"),
  {
    ...roundField("topShare"),
    when: ({ codec }) => CODEC_NAMES.some((name) => name === codec && CODECS[name].isSparse),
  },
];

/** How a client trains. */
export const CLIENT_FIELDS: Field[] = (
  [
    "epochs",
    "batchSize",
    "learningRate",
    "proximal",
    "distill",
    "rehearse",
    "clipNorm",
    "patience",
    "optimizer",
    "layers",
    "batchNorm",
    "augment",
    "balanceLabels",
  ] as const
).map(roundField);

/** A live round's strategy with a memory, and its options. */
export const STRATEGY_FIELDS: Field[] = [
  roundField("strategy"),
  ...LIVE_OPTIONS.map((key) => ({
    ...roundField(key),
    when: ({ strategy }: Record<string, unknown>) => isOptionOf(strategy, key),
  })),
];

/** When a run ends by itself. */
export const STOPPING_FIELDS: Field[] = (["stopPatience", "stopDelta", "atPlateau", "tolerance"] as const).map(
  roundField,
);
