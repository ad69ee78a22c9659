import { EXPRESSIONS, type Label } from "../model/expressions";
import { isBuiltIn, taskNamed, type TaskName } from "../federation/tasks/registry";
import type { Words } from "../federation/tasks/task";
import { language, t } from "./i18n/language.svelte";

/** The name of a label's expression in the language of the page. */
export const nameOf = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.name`);

/** The same within a sentence. */
export const nameWithin = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.within`);

/** Words in the language of the page, or English. */
const inLanguage = (words: Words): string =>
  words[language.current] ?? words[language.current.split("-")[0] ?? ""] ?? words.en;

/** What a task is called. */
export function taskTitle(task: TaskName): string {
  if (isBuiltIn(task)) return t(`tasks.${task}`);
  const { words } = taskNamed(task);
  return words ? inLanguage(words.title) : task;
}

/** What a task's labels are called, in their order: the expressions within a sentence, digits as they are written. */
export function labelNames(task: TaskName): readonly string[] {
  const { examples, labels, words } = taskNamed(task);
  if (words) return words.labels.map(inLanguage);
  return examples === "face" ? EXPRESSIONS.map((_, label) => nameWithin(label as Label)) : labels;
}
