import { EXPRESSIONS, type Label } from "../model/expressions";
import { t } from "./i18n/language.svelte";

/** The name of a label's expression in the language of the page. */
export const nameOf = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.name`);

/** The same within a sentence. */
export const nameWithin = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.within`);
