import { EXPRESSIONS, type Label } from "../model/expressions";
import { TASKS, type TaskName } from "../federation/tasks/registry";
import { t } from "./i18n/language.svelte";

/** The name of a label's expression in the language of the page. */
export const nameOf = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.name`);

/** The same within a sentence. */
export const nameWithin = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.within`);

/** What a task's labels are called, in their order: the expressions within a sentence, digits as they are written. */
export const labelNames = (task: TaskName): readonly string[] =>
  TASKS[task].examples === "face" ? EXPRESSIONS.map((_, label) => nameWithin(label as Label)) : TASKS[task].labels;
