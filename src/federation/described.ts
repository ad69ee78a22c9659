import type { GenericSchema } from "valibot";

/** What a value of a configuration may be. */
export type Description =
  | {
      kind: "number";
      isWhole: boolean;
      /** The least that it may be; with `isAbove` it must be more than that. Undefined where there is no bound. */
      least: number | undefined;
      isAbove: boolean;
      most: number | undefined;
      isNullable: boolean;
    }
  | { kind: "choice"; values: readonly string[]; isNullable: boolean }
  | { kind: "boolean" | "string" | "array" | "record"; isNullable: boolean }
  | { kind: "strict_object"; keys: readonly string[]; isNullable: boolean };

/** The parts of Valibot's schemas and actions that are read here. */
interface Part {
  type: string;
  requirement?: number;
  options?: readonly string[];
  entries?: Readonly<Record<string, unknown>>;
  wrapped?: Part;
  pipe?: readonly Part[];
}

/** A schema's parts, of whatever wraps them: the schema itself, what it makes optional or nullable, and the actions of its pipes. */
function partsOf(schema: Part): Part[] {
  // A pipe begins with a copy of the schema that it is of.
  const piped = (schema.pipe ?? []).flatMap((part) => (part.pipe === schema.pipe ? [] : partsOf(part)));
  return [schema, ...piped, ...(schema.wrapped ? partsOf(schema.wrapped) : [])];
}

/** What a schema's own value may be, so that nobody else has to list it: not the form, and not the terminal's help. */
export function describe(schema: GenericSchema): Description {
  const parts = partsOf(schema);
  const isNullable = parts.some(({ type }) => type === "nullable");
  const choices = parts.find(({ type }) => type === "picklist");
  if (choices) return { kind: "choice", values: choices.options ?? [], isNullable };
  const object = parts.find(({ type }) => type === "strict_object");
  if (object) return { kind: "strict_object", keys: Object.keys(object.entries ?? {}), isNullable };
  const plain = parts.find(({ type }) => ["boolean", "string", "array", "record"].includes(type));
  if (plain) return { kind: plain.type as "boolean", isNullable };
  const bound = (type: string): number | undefined => parts.find((part) => part.type === type)?.requirement;
  const above = bound("gt_value");
  return {
    kind: "number",
    isWhole: parts.some(({ type }) => type === "integer"),
    least: above ?? bound("min_value"),
    isAbove: above !== undefined,
    most: bound("max_value"),
    isNullable,
  };
}
