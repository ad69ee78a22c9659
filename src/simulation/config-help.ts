import * as v from "valibot";
import { labConfigSchema } from "./config";

/** What may be said in a configuration, read off its schema: for a terminal's help. */

type Schema = v.GenericSchema & { pipe?: readonly Schema[]; wrapped?: Schema; options?: readonly unknown[] };
type Bound = { type: string; requirement?: number };

const { entries } = labConfigSchema.pipe[0];

/** What a value may be, in words: `a number from 0 to 1`. */
function boundsOf(schema: Schema): string {
  if (schema.type === "optional") return boundsOf(schema.wrapped as Schema);
  if (schema.type === "nullable") return `${boundsOf(schema.wrapped as Schema)}, or null`;
  // A schema with rules for itself wraps the one that says what it is: its own bounds come from both.
  const inner = schema.pipe ?? [];
  const first = inner[0];
  if (first && first !== schema && first.type !== schema.type) return boundsOf(first);
  if (schema.type === "picklist") return (schema.options ?? []).join(" | ");
  if (schema.type === "boolean") return "true | false";
  if (schema.type === "string") return "text";
  if (schema.type === "array") return "a list of lists of client numbers";
  if (schema.type === "strict_object") return '{"gain", "angle", "mirror"}';
  const bounds = new Map(flat(schema).map(({ type, requirement }) => [type, requirement]));
  const whole = bounds.has("integer") ? "a whole number" : "a number";
  const least = bounds.get("min_value");
  const above = bounds.get("gt_value");
  const most = bounds.get("max_value");
  const from = above !== undefined ? `above ${above}` : least !== undefined ? `from ${least}` : "";
  return [whole, from, most !== undefined ? `to ${most}` : ""].filter(Boolean).join(" ");
}

/** All actions of nested pipes. */
const flat = (schema: Schema): Bound[] =>
  (schema.pipe ?? []).flatMap((one) => (one !== schema && one.pipe ? flat(one) : [one as unknown as Bound]));

/** Each key with what it may be and what it is where nothing is said. */
export function configHelp(): { key: string; bounds: string; otherwise: string }[] {
  return Object.entries(entries).map(([key, schema]) => {
    // Metadata lies around an optional schema: what is optional is then the first of its pipe.
    const whole = schema as unknown as Schema;
    const optional = [whole, ...(whole.pipe ?? [])].find(({ type }) => type === "optional") as
      { default?: unknown } | undefined;
    const otherwise = optional ? JSON.stringify(optional.default) : "has to be said";
    return { key, bounds: boundsOf(whole), otherwise };
  });
}
