import * as v from "valibot";
import { PART_RULES, VISIBLE } from "../federation/tasks/description";

/** Rules of a task's description that the page says in its own language; `other` is what only the description's own schema says, in English. */
export type Rule =
  | "missing"
  | "unknown"
  | "text"
  | "number"
  | "whole"
  | "list"
  | "object"
  | "oneOf"
  | "least"
  | "most"
  | "fewOf"
  | "manyOf"
  | "empty"
  | "long"
  | "labelName"
  | "layerName"
  | "language"
  | "control"
  | keyof typeof PART_RULES
  | "other";

/** One thing that is wrong with a description. */
export interface BrokenRule {
  /** Where, as in JavaScript: `labels[2].name`; empty where it is the whole. */
  path: string;
  rule: Rule;
  /** What the rule's words name: what was found there, and what is taken. */
  values: { found: string; taken: string };
}

/** A step from a value to one in it. */
interface Step {
  key: unknown;
  origin: string;
}

const TYPES: Partial<Record<string, Rule>> = {
  string: "text",
  number: "number",
  integer: "whole",
  array: "list",
  record: "object",
  variant: "oneOf",
  picklist: "oneOf",
  min_value: "least",
  max_value: "most",
};

/** What rules a description breaks, each by the field that it is broken at. */
export function brokenRules(issues: readonly v.BaseIssue<unknown>[]): BrokenRule[] {
  return issues.flatMap((issue) => brokenBy(issue, []));
}

function brokenBy(issue: v.BaseIssue<unknown>, before: readonly Step[]): BrokenRule[] {
  const steps: Step[] = [...before, ...((issue.path ?? []) as readonly Step[])];
  // Of what may be one of a list or an object, an object is told what is wrong within it.
  const within = issue.issues?.filter(
    ({ type, expected, path }) => type !== "picklist" && (path ?? expected !== "Object"),
  );
  if (issue.type === "union" && within && within.length > 0) return within.flatMap((one) => brokenBy(one, steps));
  return [
    {
      path: pathOf(steps),
      rule: ruleOf(issue, steps),
      values: { found: issue.received, taken: takenBy(issue) },
    },
  ];
}

function ruleOf(
  { type, expected, received, requirement, input, message }: v.BaseIssue<unknown>,
  steps: readonly Step[],
): Rule {
  if (received === "undefined") return "missing";
  if (type === "strict_object" || type === "object") return expected === "never" ? "unknown" : "object";
  const isText = typeof input === "string";
  if (type === "min_length") return isText ? "empty" : "fewOf";
  if (type === "max_length") return isText ? "long" : "manyOf";
  if (type === "union") return "oneOf";
  if (type === "regex" && requirement instanceof RegExp) {
    if (requirement === VISIBLE) return "empty";
    if (steps.at(-1)?.origin === "key") return "language";
    const keys = steps.map(({ key }) => key);
    if (keys.at(-1) !== "name") return "control";
    return keys.includes("labels") ? "labelName" : keys.includes("layers") ? "layerName" : "other";
  }
  const part = (Object.keys(PART_RULES) as (keyof typeof PART_RULES)[]).find((rule) => PART_RULES[rule] === message);
  return part ?? TYPES[type] ?? "other";
}

/** What is taken, without the signs that the library puts around it. */
function takenBy({ expected, message, type, requirement }: v.BaseIssue<unknown>): string {
  if (type === "min_value" || type === "max_value" || type === "min_length" || type === "max_length") {
    return String(requirement);
  }
  if (type === "union" || type === "picklist" || type === "variant") {
    return (expected ?? "")
      .replace(/[()]/g, "")
      .split(" | ")
      .filter((one) => one !== "Object")
      .join(", ");
  }
  return message;
}

/** Where a path leads, as one writes it in JavaScript. */
function pathOf(steps: readonly Step[]): string {
  return steps
    .map(({ key }, i) => (typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`))
    .join("");
}
