import { noteError } from "../report";
import { t } from "./language.svelte";
import { en } from "../messages/en";

/**
 * Errors that the machinery throws, by name, for what a worker throws comes without its class: those of the language and of the
 * platform (Web IDL's DOMExceptions), and tfjs's, which have none but `Error`. Their messages say nothing to a player; each error
 * that is meant for people has a name of its own.
 */
const MACHINERY = new Set([
  ...["Error", "TypeError", "RangeError", "ReferenceError", "SyntaxError", "CompileError", "LinkError", "RuntimeError"],
  ...["ThreadStartError", "DataCloneError", "InvalidStateError", "NotSupportedError", "OperationError"],
  ...["AbortError", "ConstraintError", "DataError", "EncodingError", "InvalidAccessError", "InvalidCharacterError"],
  ...["NetworkError", "NotAllowedError", "NotFoundError", "NotReadableError", "QuotaExceededError", "ReadOnlyError"],
  ...["AggregateError", "GPUPipelineError", "InternalError", "ValiError"],
  ...["SecurityError", "TimeoutError", "TransactionInactiveError", "UnknownError", "VersionError"],
]);

const isKey = <K extends string>(texts: Record<K, string>, key: string): key is K => Object.hasOwn(texts, key);

/**
 * Why something failed, in words for a person: in the language of the page where it is known by name, or by the code of an edge's
 * refusal; what the machinery says goes to the console and into the report of the device check; else as the error says it, in
 * English.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) {
    noteError(new Error(String(error)));
    return t("reasons.machinery");
  }
  const { name } = error;
  if ("code" in error && typeof error.code === "string" && isKey(en.reasons.refusals, error.code)) {
    return t(`reasons.refusals.${error.code}`);
  }
  if (isKey(en.reasons.errors, name)) return t(`reasons.errors.${name}`);
  if (!MACHINERY.has(name)) return error.message;
  noteError(error);
  return t("reasons.machinery");
}
