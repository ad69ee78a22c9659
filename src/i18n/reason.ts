import { noteError } from "../client/report";
import { t } from "./language.svelte";
import { en } from "../messages/en";

/** Errors that the browser's own machinery throws, by name: their messages say nothing to a player. */
const MACHINERY = new Set([
  ...["TypeError", "RangeError", "ReferenceError", "SyntaxError", "CompileError", "LinkError", "RuntimeError"],
  ...["ThreadStartError", "DataCloneError", "InvalidStateError", "NotSupportedError", "OperationError"],
]);

const isKey = <K extends string>(texts: Record<K, string>, key: string): key is K => Object.hasOwn(texts, key);

/**
 * Why something failed, in words for a player: in the language of the page where it is known by name (what a worker throws comes
 * without its class), or by the code of an edge's refusal; what the machinery says goes to the console and into the report of the
 * device check; else as the error says it, in English.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { name } = error;
  if ("code" in error && typeof error.code === "string" && isKey(en.reasons.refusals, error.code)) {
    return t(`reasons.refusals.${error.code}`);
  }
  if (MACHINERY.has(name)) {
    noteError(error);
    return t("reasons.machinery");
  }
  return isKey(en.reasons.errors, name) ? t(`reasons.errors.${name}`) : error.message;
}
