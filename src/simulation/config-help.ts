import * as v from "valibot";
import { describe } from "../federation/described";
import { labConfigSchema } from "./config";

/** What may be said in a configuration, read off its schema: for a terminal's help. */

const { entries } = labConfigSchema.pipe[0];

/** What a value may be, in words: `a number from 0 to 1`. */
function boundsOf(schema: v.GenericSchema): string {
  const found = describe(schema);
  const orNull = found.isNullable ? ", or null" : "";
  switch (found.kind) {
    case "choice":
      return found.values.join(" | ") + orNull;
    case "boolean":
      return "true | false";
    case "string":
      return `text${orNull}`;
    case "array":
      return `a list: see src/simulation/config.ts${orNull}`;
    case "record":
      return "an object";
    case "strict_object":
      return `{${found.keys.map((key) => `"${key}"`).join(", ")}}${orNull}`;
    case "number": {
      const { isWhole, isAbove, least, most } = found;
      const from = least === undefined ? "" : `${isAbove ? "above" : "from"} ${least}`;
      const upTo = most === undefined ? "" : `to ${most}`;
      return [isWhole ? "a whole number" : "a number", from, upTo].filter(Boolean).join(" ") + orNull;
    }
  }
}

/** Each key with what it may be and what it is where nothing is said. */
export function configHelp(): { key: string; bounds: string; otherwise: string }[] {
  return Object.entries(entries).map(([key, schema]) => {
    const said = v.safeParse(schema, undefined);
    return { key, bounds: boundsOf(schema), otherwise: said.success ? JSON.stringify(said.output) : "has to be said" };
  });
}
