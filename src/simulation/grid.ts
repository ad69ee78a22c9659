import { MODELS, summarize } from "../model/model";
import { STRATEGIES, type AnyStrategy } from "../federation/strategies/registry";
import { parseLabConfig, type LabConfig } from "./config";
import { LabConfigError } from "./config-error";
import { NAMED_RULES } from "./named-rules";
import { optionSchemas, strategyOf } from "./strategy-round";

/** Sweeps: every combination of some settings' values, one run for each, on the page and in a terminal by the same rule. */

/** A setting and the values that it takes, one after the other; `strategyOptions.mu` is one of an object's. */
export interface Axis {
  key: string;
  values: readonly unknown[];
}

/** What a run of a sweep has in the place of what its configuration says, by setting. */
export type Changes = Readonly<Record<string, unknown>>;

/** Runs of one sweep: more are a mistyped one, or weeks. */
export const MOST_RUNS = 1000;

/** Names of the errors that say something of one run of a sweep, and nothing of the others. */
export const OF_ONE_RUN: ReadonlySet<string> = new Set([
  ...["LabConfigError", "PartitionError", "CohortTooLargeError", "DivergedError", "RangeError"],
]);

/** A value as somebody types it: JSON, or else a word. */
export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A value as somebody would type it. */
export const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/**
 * Values with commas between them. A comma within a list, an object or a string of JSON belongs to its value.
 * @throws LabConfigError where one is missing, there twice, or does not end
 */
export function valuesOf(list: string): unknown[] {
  const parts = [""];
  let depth = 0;
  for (const [token] of list.matchAll(/"(?:[^"\\]|\\.)*"|[^]/g)) {
    if (token === "[" || token === "{") depth += 1;
    else if (token === "]" || token === "}") depth -= 1;
    if (token === "," && depth === 0) parts.push("");
    else parts.push((parts.pop() ?? "") + token);
  }
  if (depth !== 0) throw new LabConfigError(`${list}: a bracket has no other one.`);
  const texts = parts.map((part) => part.trim());
  if (texts.includes("")) throw new LabConfigError(`${list}: between two commas, or beside one, there is no value.`);
  const values = texts.map(valueOf);
  const known = new Set<string>();
  for (const value of values) {
    const text = textOf(value);
    if (known.has(text)) throw new LabConfigError(`${list}: ${text} is there twice.`);
    known.add(text);
  }
  return values;
}

/**
 * Every combination of what is swept, the last setting's values next to one another; of no setting the one that changes nothing.
 * @throws LabConfigError
 */
export function gridOf(axes: readonly Axis[]): Changes[] {
  for (const [i, { key }] of axes.entries()) {
    const whole = key.split(".")[0];
    const isTwice = axes
      .slice(0, i)
      .some((other) => [key, whole].includes(other.key) || other.key.split(".")[0] === key);
    if (isTwice) throw new LabConfigError(`${key}: it is swept twice.`);
  }
  const count = axes.reduce((product, { values }) => product * values.length, 1);
  if (count > MOST_RUNS) throw new LabConfigError(`${count} combinations are more than ${MOST_RUNS}.`);
  return axes.reduce<Changes[]>(
    (grid, { key, values }) => grid.flatMap((changes) => values.map((value) => ({ ...changes, [key]: value }))),
    [{}],
  );
}

/**
 * Of a strategy's options, those that another one has, too, where it is one of the lab's own; of none, and of one that is an average or a
 * server optimizer, there are none.
 */
export function optionsFor(strategy: unknown, options: unknown): unknown {
  if (typeof strategy === "string" && !STRATEGIES.has(strategy) && !Object.hasOwn(NAMED_RULES, strategy))
    return options;
  const own = typeof strategy === "string" ? optionSchemas(strategy) : {};
  return Object.fromEntries(Object.entries(options ?? {}).filter(([name]) => Object.hasOwn(own, name)));
}

/** A configuration with some changes, still to be checked. Where they name another strategy, it is left with the options that it has. */
export function changed(config: object, changes: Changes): Record<string, unknown> {
  const next: Record<string, unknown> = { ...config };
  const { strategy } = changes;
  if (strategy !== undefined && (strategy === null || strategy !== next["strategy"])) {
    next["strategyOptions"] = optionsFor(strategy, next["strategyOptions"]);
  }
  for (const [key, value] of Object.entries(changes)) {
    const [whole = "", part] = key.split(".");
    if (part === undefined) next[whole] = value;
    else next[whole] = { ...(typeof next[whole] === "object" ? next[whole] : {}), [part]: value };
  }
  return next;
}

/** What a combination is called. */
export const nameOf = (changes: Changes): string =>
  Object.entries(changes)
    .map(([key, value]) => `${key}=${textOf(value)}`)
    .join(" ");

/** A combination of a sweep: its configuration, or why its settings do not go together. */
export type Combination =
  { changes: Changes; config: LabConfig; problem: null } | { changes: Changes; config: null; problem: string };

/**
 * The configurations of a grid, each checked, with the options of its strategy.
 * @param strategies those that there are, by name
 * @throws LabConfigError that names the combination, of a setting that cannot be as it is, and where none of them can be run
 */
export function configsOf(
  config: object,
  grid: readonly Changes[],
  strategies: ReadonlyMap<string, AnyStrategy> = STRATEGIES,
): Combination[] {
  // Of several strategies each takes those options that it has.
  for (const option of Object.keys((config as { strategyOptions?: object }).strategyOptions ?? {})) {
    const isTaken = grid.some((changes) => Object.hasOwn(changed(config, changes)["strategyOptions"] ?? {}, option));
    if (!isTaken) throw new LabConfigError(`strategyOptions.${option}: none of the strategies takes it.`);
  }
  const combinations = grid.map((changes): Combination => {
    try {
      const one = parseLabConfig(changed(config, changes));
      // Options are the same of whatever model.
      strategyOf(one, summarize(MODELS[one.model]), strategies.get(one.strategy ?? ""));
      return { changes, config: one, problem: null };
    } catch (error) {
      if (!(error instanceof LabConfigError) || grid.length === 1) throw error;
      if (error.isConflict) return { changes, config: null, problem: error.message };
      throw new LabConfigError(`${nameOf(changes)}: ${error.message}`);
    }
  });
  const [first] = combinations;
  if (first?.config === null && combinations.every(({ config }) => config === null)) {
    throw new LabConfigError(`${nameOf(first.changes)}: ${first.problem}`);
  }
  return combinations;
}
