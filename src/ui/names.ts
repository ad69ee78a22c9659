import { EXPRESSIONS, type Label } from "../model/expressions";
import { isBuiltIn, showsExpressions, taskNamed, type TaskName } from "../federation/tasks/registry";
import { LABEL_PLACE, type ExampleKind, type Words } from "../federation/tasks/task";
import { language, t } from "./i18n/language.svelte";

/** The name of a label's expression in the language of the page. */
export const nameOf = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.name`);

/** The same within a sentence. */
export const nameWithin = (label: Label): string => t(`expressions.${EXPRESSIONS[label]}.within`);

/** Which form of a text speaks of a task: that of its examples' kind; faces that show no expressions have their own. */
export function contextOf(task: TaskName): ExampleKind | "acted" {
  const description = taskNamed(task);
  return description.examples === "face" && !showsExpressions(description) ? "acted" : description.examples;
}

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

/** What a task says of how to act, draw or hold a label; undefined where it says nothing. */
export function labelHow(task: TaskName, label: number): string | undefined {
  const how = taskNamed(task).words?.how?.[label];
  return how ? inLanguage(how) : undefined;
}

/** What a task asks of its players, before and behind the label's words, as it spaces them; undefined where it says nothing of it. */
export function askOf(task: TaskName): readonly [before: string, behind: string] | undefined {
  const { words } = taskNamed(task);
  if (!words?.ask) return undefined;
  const [before = "", behind] = inLanguage(words.ask).split(LABEL_PLACE);
  return behind === undefined ? [`${before} `, ""] : [before, behind];
}
