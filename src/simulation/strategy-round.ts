import * as v from "valibot";
import type { ModelSummary } from "../model/model";
import { held } from "../federation/strategies/contract";
import { STRATEGIES, type AnyStrategy } from "../federation/strategies/registry";
import {
  examplesMean,
  type StrategyContext,
  type StrategyUpdate,
  type Vectors,
} from "../federation/strategies/strategy";
import type { LabConfig } from "./config";
import { LabConfigError } from "./config-error";
import { NAMED_RULES } from "./named-rules";
import type { LabPool } from "./pool";

/** The files that a strategy of somebody's own is made of: their names beside the first, SHA-256 in hex, and text. */
export type StrategySource = readonly { name: string; sha256: string; text: string }[];

/** A run that is to go on with another strategy than it began with: what came of it would be neither's. */
export class OtherStrategyError extends Error {
  override readonly name = "OtherStrategyError";
  constructor(before: StrategySource | undefined, now: StrategySource | undefined) {
    const other = now?.find(({ sha256 }) => !before?.some((one) => one.sha256 === sha256)) ?? now?.[0];
    super(
      before
        ? `The strategy is not the one that this run began with (${other?.name ?? "its file"}): give it the same, or begin a new run.`
        : "This run was begun by an older version, which did not note its strategy: begin a new one.",
    );
  }
}

/** What a strategy with a state of its own remembers of a run. */
export interface StrategyState {
  server: Vectors;
  /** By client, from its first counted update on. */
  clients: Map<number, Vectors>;
}

/** A run's strategy, with its options checked. */
export interface RunStrategy {
  strategy: AnyStrategy;
  context: StrategyContext<never>;
}

/**
 * The strategy that a configuration names; null for an average and a server optimizer.
 * @param given one that is not among the built-in ones
 * @throws LabConfigError
 */
export function strategyOf(config: LabConfig, model: ModelSummary, given?: AnyStrategy): RunStrategy | null {
  if (config.strategy === null) return null;
  const strategy = given ?? STRATEGIES.get(config.strategy);
  if (!strategy) {
    throw new LabConfigError(
      `strategy: there is no ${config.strategy} here; there are ${[...STRATEGIES.keys(), ...Object.keys(NAMED_RULES)].join(", ")}. A file of your own runs in the terminal.`,
    );
  }
  const context = (options: unknown): StrategyContext<never> => ({
    options: options as never,
    model,
    clients: config.clients,
  });
  const { output, issues } = optionsOf(strategy, config.strategyOptions);
  if (issues.length > 0) {
    throw new LabConfigError(issues.map(({ option, message }) => `strategyOptions.${option}: ${message}`).join("\n"));
  }
  const conflict = scheduleConflict(strategy, config);
  if (conflict !== undefined) throw new LabConfigError(conflict, true);
  return { strategy: held(strategy), context: context(output) };
}

/** What may be said of each option of a strategy of the lab's own; nothing where it has none, or there is no such strategy. */
export function optionSchemas(strategy: string): Readonly<Record<string, v.GenericSchema>> {
  // Each of ours that has options describes them as an object.
  const { options } = STRATEGIES.get(strategy) ?? {};
  return (options as unknown as { entries: Record<string, v.GenericSchema> } | undefined)?.entries ?? {};
}

/** A strategy's options with its defaults, and what it says of those that it does not take. */
export function optionsOf(
  { options: schema }: AnyStrategy,
  given: unknown,
): { output: unknown; issues: { option: string; message: string }[] } {
  if (!schema) return { output: given, issues: [] };
  const { success, output, issues } = v.safeParse(schema, given);
  if (success) return { output, issues: [] };
  return { output, issues: issues.map((issue) => ({ option: v.getDotPath(issue) ?? "", message: issue.message })) };
}

/** Why a strategy that chooses who trains takes no schedule, which has chosen already; undefined where it need not. */
export const scheduleConflict = (
  { server }: AnyStrategy,
  { schedule }: Pick<LabConfig, "schedule">,
): string | undefined =>
  schedule && (server.select ?? server.candidates)
    ? "This strategy chooses who trains, and a schedule has chosen already: choose schedule null, or another strategy."
    : undefined;

/** What a strategy remembers before the first round. @throws StrategyError where that lacks what its clients are to be sent */
export const firstState = ({ strategy, context }: RunStrategy): StrategyState => ({
  server: strategy.server.init?.(context) ?? {},
  clients: new Map(),
});

/** Those of the server's vectors that go down to the clients. */
export const broadcastOf = ({ strategy }: RunStrategy, { server }: StrategyState): Vectors =>
  Object.fromEntries(Object.entries(server).filter(([name]) => strategy.wire.down.includes(name)));

/**
 * Which candidates train, by what the strategy says.
 * @param lossOf w_t on a candidate's own examples
 */
export async function selected(
  { strategy, context }: RunStrategy,
  candidates: readonly number[],
  size: number,
  lossOf: (client: number) => Promise<number>,
): Promise<number[]> {
  if (!strategy.server.select) return candidates.slice(0, size);
  const losses = strategy.wire.losses ? await Promise.all(candidates.map(lossOf)) : candidates.map(() => 0);
  return strategy.server
    .select(context, candidates, losses)
    .slice(0, size)
    .sort((a, b) => a - b);
}

/** Mean loss of weights on some training examples. */
export const lossOn = async (pool: LabPool, weights: Float32Array, examples: Uint32Array): Promise<number> =>
  (await pool.evaluate({ weights, of: "train", examples })).loss;

/**
 * One delta of all updates, statistics averaged by examples, and what the server remembers after it.
 * @throws StrategyError where what the strategy makes is not as its interface wants it
 */
export function aggregated(
  { strategy, context }: RunStrategy,
  updates: readonly StrategyUpdate[],
  weights: Float32Array,
  { server }: StrategyState,
): { delta: Float64Array; server: Vectors } {
  const { delta, state = server } = strategy.server.aggregate(context, updates, server);
  const next = strategy.server.step?.(context, weights, delta, state);
  const whole = next ? delta.map((_, i) => (next[i] as number) - (weights[i] as number)) : delta;
  const { tensors, parameters } = context.model;
  if (tensors.some(({ trainable }) => !trainable)) {
    const plain = examplesMean(updates, parameters);
    for (const { offset, size, trainable } of tensors) {
      if (!trainable) whole.set(plain.subarray(offset, offset + size), offset);
    }
  }
  return { delta: whole, server: state };
}
