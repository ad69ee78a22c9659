import { CODEC_NAMES, CODECS } from "../federation/codecs/registry";
import { AGGREGATION_NAMES } from "../federation/aggregation/registry";
import { SERVER_OPTIMIZER_NAMES } from "../federation/server-optimizers/registry";
import type { en } from "./messages/developer/en";

/** What a form asks for, one entry a field: the form's own component draws them, with the texts of src/ui/messages/developer. */

type FieldTexts = typeof en.fields;
/** A field's texts: its key, unless another form's field of that key says something else. */
type FieldText = keyof FieldTexts;
type TextOf<Kind extends object> = {
  [K in FieldText]: FieldTexts[K] extends Kind ? K : never;
}[FieldText];
/** Those that have help, and those of them that have names of options. */
type HelpText = TextOf<{ help: string }>;
type ChoiceText = TextOf<{ help: string; options: object }>;

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

export const number = (
  text: HelpText,
  min: number,
  max: number,
  step: number | "any" = 1,
  key: string = text,
): NumberField => ({ kind: "number", key, text, min, max, step, optional: false });

/** A choice: the type checker names a value that has no text. */
export const choice = <K extends ChoiceText>(
  text: K,
  values: readonly (keyof (FieldTexts[K] & { options: unknown })["options"] & string)[],
): ChoiceField => ({ kind: "choice", key: text, text, values, named: true });

export const check = (text: FieldText): CheckField => ({ kind: "check", key: text, text });

export const SERVER_OPTIMIZER = choice("serverOptimizer", SERVER_OPTIMIZER_NAMES);
export const AGGREGATION = choice("aggregation", AGGREGATION_NAMES);

/** What belongs to those two. */
export const SERVER_NUMBERS = [
  number("serverLearningRate", 0.00001, 100, "any"),
  number("serverMomentum", 0, 0.9999, "any"),
  number("serverBeta2", 0, 0.99999, "any"),
  number("serverTau", 1e-9, 1, "any"),
  number("updateClip", 0, 1e6, "any"),
  number("prior", 0, 1e6, "any"),
  number("byzantine", 0, 400),
  number("q", 0, 10, "any"),
];

/** What an update is sent as. */
export const CODEC_FIELDS: Field[] = [
  choice("codec", CODEC_NAMES),
  {
    ...number("topShare", 0.0001, 1, "any"),
    when: ({ codec }) => CODEC_NAMES.some((name) => name === codec && CODECS[name].isSparse),
  },
];

/** How a client trains. */
export const CLIENT_FIELDS: Field[] = [
  number("epochs", 1, 100),
  number("batchSize", 1, 512),
  number("learningRate", 0.00001, 10, "any"),
  number("proximal", 0, 100, "any"),
  number("distill", 0, 100, "any"),
  number("rehearse", 0, 100, "any"),
  number("clipNorm", 0, 1e6, "any"),
  number("patience", 0, 100),
  choice("optimizer", ["sgd", "momentum", "adam"]),
  choice("layers", ["all", "head"]),
  choice("batchNorm", ["average", "local", "frozen"]),
  check("augment"),
  check("balanceLabels"),
];

/** When a run ends by itself. */
export const STOPPING_FIELDS: Field[] = [
  number("stopPatience", 0, 1000),
  number("stopDelta", 0, 100, "any"),
  choice("atPlateau", ["stop", "lower-rate", "go-on"]),
  {
    ...number("tolerance", 0, 1000, "any"),
    optional: true,
  },
];
